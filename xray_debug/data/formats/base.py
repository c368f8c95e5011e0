"""What a dataset format is, and the registry of formats."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pandas as pd

from xray_debug.config import PrepareConfig
from xray_debug.data.check import Finding
from xray_debug.data.registry import Registry


class LayoutError(ValueError):
    """A dataset that cannot be read as it lies; `problems` lists every fault, one sentence each."""

    def __init__(self, problems: list[str] | str):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(self.problems[0] + more)


class Format(Protocol):
    """A layout of images and labels. `expects`: what a folder of this format holds, in a few words for an error."""

    expects: str

    def recognises(self, root: Path, config: PrepareConfig) -> bool:
        """Whether the folder looks like this format, complete or not; quick, opens no image."""

    def rows(self, root: Path, config: PrepareConfig) -> list[dict]:
        """One row per image a label names, keys as in data.manifest.ROW and any attributes (`attr_...`).

        `path` is relative to `root` in POSIX form; `split` is train, val (only where the dataset brings its own) or
        test; `problem` is "" or "kind: what is wrong" (kinds: label, missing, outside). LayoutError only where the
        layout itself is unclear.
        """

    def check(self, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> list[Finding]:
        """What is remarkable about the folder beyond its manifest `frame`, for example images no label names."""

    def write_labels(self, path: Path, frame: pd.DataFrame) -> None:
        """The labels of one folder of images (patient_id image_id label source), so that `rows` reads them back."""


FORMATS = Registry("format", "xray_debug.formats")

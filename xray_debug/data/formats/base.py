"""What a dataset format is, and the registry of formats."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

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
    """A layout of images and labels. `expects`: what a dataset of this format is, in a few words for an error."""

    expects: str

    def recognises(self, root: Path, config: PrepareConfig) -> bool:
        """Whether the folder (or table) looks like this format, complete or not; quick, opens no image."""

    def rows(self, root: Path, config: PrepareConfig) -> list[dict]:
        """One row per image a label names, keys as in data.manifest.ROW and any attributes (`attr_...`).

        `path` is relative to `root` (`images_root` where the format has that) in POSIX form; `split` is train, val
        (only where the dataset brings its own), test, or "" where the dataset has no split; `problem` is "" or
        "kind: what is wrong" (kinds: label, missing, outside, view). LayoutError only where the layout is unclear.
        """

    def check(self, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> list[Finding]:
        """What is remarkable about the folder beyond its manifest `frame`, for example images no label names."""


@runtime_checkable
class LabelWriter(Protocol):
    """A format whose labels lie in a file of their own for each folder of images."""

    def write_labels(self, path: Path, frame: pd.DataFrame) -> None:
        """The labels of one folder of images (patient_id image_id label source), so that `rows` reads them back."""


@runtime_checkable
class WritesBack(Protocol):
    """A format whose cleaned dataset has the layout that it came in; others are written as COVIDx."""

    def place(self, row: dict) -> str:
        """Where a manifest's row has its image, POSIX, below the folder of the dataset that is written."""

    def write_back(self, out: Path, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> None:
        """The labels, for the images of `frame`: path (of the original, as in the manifest), split, test_set,
        patient_id, label, source, and `place`, where each image lies below `out` now."""


FORMATS = Registry("format", "xray_debug.formats")


def images_root(kind: Format, root: Path, config: PrepareConfig) -> Path:
    """The folder that the paths of a format's rows start from: `root`, but for tables."""
    own = getattr(kind, "images_root", None)
    return root if own is None else own(root, config)

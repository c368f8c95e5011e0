"""Where a cleaned dataset has its images and labels: in the layout that the dataset came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from xray_debug.config import PrepareConfig
from xray_debug.data.formats.base import FORMATS, Format, WritesBack
from xray_debug.data.formats.covidx import Covidx


@dataclass(frozen=True)
class Layout:
    """A format, the dataset (a folder or a table) and the options that it was read with."""

    kind: Format | Covidx = field(default_factory=Covidx)
    data: Path = Path()
    config: PrepareConfig = field(default_factory=PrepareConfig)

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> Layout:
        """From what prepare wrote of the dataset; a format that does not write, or an older run: COVIDx."""
        if "format" not in recorded:
            return cls()
        kind = FORMATS[recorded["format"]]()
        if not isinstance(kind, WritesBack):
            return cls()
        return cls(kind, Path(recorded["data"]), PrepareConfig(**recorded["options"]))

    @property
    def one_folder(self) -> bool:
        """Whether names are told apart without their folders."""
        return isinstance(self.kind, Covidx)

    def place(self, row: Mapping[str, Any]) -> str:
        """Below the cleaned dataset, POSIX, of a manifest's row, before its suffix may change."""
        return self.kind.place(row)

    def write(self, out: Path, frame: pd.DataFrame) -> None:
        """The labels, of `frame` as WritesBack.write_back has it."""
        self.kind.write_back(out, self.data, self.config, frame)

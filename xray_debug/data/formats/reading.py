"""A dataset folder of any format -> rows, manifest, faults."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from xray_debug.config import PrepareConfig
from xray_debug.data.check import Finding, manifest_findings
from xray_debug.data.formats.base import FORMATS, Format, LayoutError, images_root
from xray_debug.data.formats.dicom import add_tags
from xray_debug.data.formats.tables import SUFFIXES, is_table
from xray_debug.data.likeness import SHAPE
from xray_debug.data.manifest import ROW, finish_manifest, mark_repeated
from xray_debug.data.scan import ScanWorker
from xray_debug.data.views import Views

BATCH = 16  # images between two calls of progress at most
Progress = Callable[[int, int], None]


def find_format(root: str | Path, config: PrepareConfig | None = None) -> str:
    """The name of the format that recognises the folder; LayoutError where none does, or several do."""
    root, config = Path(root), config or PrepareConfig()
    if not root.exists():
        raise LayoutError(f"{root}: no such dataset folder")
    if not root.is_dir() and not is_table(root):
        raise LayoutError(f"{root}: expected a folder or a table ({', '.join(SUFFIXES)})")
    fitting = [name for name in FORMATS if FORMATS[name]().recognises(root, config)]
    if not fitting:
        wanted = "; or ".join(f"{name}: {FORMATS[name].expects}" for name in FORMATS)
        raise LayoutError(f"{root}: not a dataset of a known format, expected {wanted}")
    if len(fitting) > 1:
        raise LayoutError(f"{root}: fits several formats ({', '.join(fitting)}), expected one; choose with "
                          "prepare.format")  # fmt: skip
    return fitting[0]


def format_of(root: str | Path, config: PrepareConfig) -> str:
    """The name of the dataset's format: prepare.format, else the one that recognises the folder or table."""
    chosen = config.format or find_format(root, config)
    FORMATS.check(chosen, "prepare.format")
    return chosen


def open_format(root: str | Path, config: PrepareConfig, name: str | None = None) -> Format:
    """The format called `name` (default: format_of)."""
    chosen = name or format_of(root, config)
    FORMATS.check(chosen, "prepare.format")
    return FORMATS[chosen]()


def read_rows(root: str | Path, config: PrepareConfig | None = None, name: str | None = None,
              tags: bool = True) -> list[dict]:  # fmt: skip
    """The rows of a dataset, keys ROW and attributes, image_id unique; those repeated have that for a problem.

    An image whose patient nobody names is a patient of its own. `tags`: DICOM headers are read for the patient and
    attributes that the format does not give.

    LayoutError where the folder is of no known format, or its layout is unclear.
    """
    root, config = Path(root), config or PrepareConfig()
    kind = open_format(root, config, name)
    rows = [ROW | row for row in kind.rows(root, config)]
    if not tags:
        return mark_repeated(rows)
    rows = mark_repeated(add_tags(images_root(kind, root, config), rows))
    for row in rows:
        row["patient_id"] = row["patient_id"] or row["image_id"]
    return rows


def images_folder(root: str | Path, config: PrepareConfig) -> Path:
    """The folder that the paths in a dataset's rows and manifest start from."""
    return images_root(open_format(root, config), Path(root), config)


def build_manifest(root: str | Path, config: PrepareConfig | None = None, seed: int = 0,
                   progress: Progress | None = None) -> pd.DataFrame:  # fmt: skip
    """The manifest (see finish_manifest) of a dataset folder, all in this thread. LayoutError as read_rows."""
    rows = read_rows(root, config)
    with tempfile.TemporaryFile() as file:
        facts, outlines = _scan(images_folder(root, config or PrepareConfig()), rows, progress, file)
        return finish_manifest(rows, facts, config, seed, outlines)


def _scan(root: Path, rows: list[dict], progress: Progress | None, file: IO[bytes]) -> tuple[list[dict], Views | None]:
    """The facts of the rows that can be used, and their outlines, which are kept in `file`."""
    todo, facts = [row for row in rows if not row["problem"]], []
    if not todo:
        return [], None
    kept = np.memmap(file, np.uint8, "w+", shape=(len(todo), *SHAPE))
    worker = ScanWorker(root)
    worker.open()
    for start in range(0, len(todo), BATCH):
        batch = todo[start : start + BATCH]
        for row, found in zip(batch, worker(batch), strict=True):
            kept[len(facts)] = found.pop("outline")
            facts.append({"image_id": row["image_id"]} | found)
        if progress:
            progress(len(facts), len(todo))
    return facts, Views.of(kept)


def check_dataset(root: str | Path, config: PrepareConfig | None = None,
                  progress: Progress | None = None) -> list[Finding]:  # fmt: skip
    """Everything wrong or remarkable about a dataset folder; nothing is changed, nothing raised for a bad dataset.

    Kinds: layout; those of manifest_findings; and what the format adds (unlisted).
    """
    root, config = Path(root), config or PrepareConfig()
    try:
        kind = open_format(root, config)
        frame = build_manifest(root, config, progress=progress)
        return [*manifest_findings(frame), *kind.check(root, config, frame)]
    except LayoutError as error:
        return [Finding("layout", "", message) for message in error.problems]

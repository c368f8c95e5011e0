"""clean.keep: which boxes of text hold a laterality letter, and so stay in the cleaned images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_debug.config import PipelineConfig
from xray_debug.run.folder import RunError
from xray_debug.run.store import BOX, split_boxes
from xray_debug.stages.base import Context
from xray_debug.stages.readers import packages_of

if TYPE_CHECKING:
    import pandas as pd

    from xray_debug.run.engine import Engine

MOST = 64
RECOGNISER = "ppocr"  # the extra


def check_keep(config: PipelineConfig) -> None:
    """RunError where letters shall stay and nothing here can read them."""
    if config.clean.keep and (missing := packages_of(RECOGNISER).partition("not installed: ")[2]):
        raise RunError(f"clean.keep: {config.clean.keep} needs the extra {RECOGNISER}, which reads letters: "
                       f"pip install 'xray-debug[{RECOGNISER}]' (missing: {missing})")  # fmt: skip


def letters_of(engine: Engine, files: pd.DataFrame, boxes: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """The laterality letters that stay: one row a letter, image_id x0 y0 x1 y1 text.

    `files`: image_id, file and sha256; `boxes`: image_id -> (N, 4) of text; `folder`: for the engine's parts.
    """
    import pandas as pd

    from xray_debug.run.engine import TableRows
    from xray_debug.text.laterality import LateralityWorker

    columns = ["image_id", "file", "sha256"]
    table = files[files["image_id"].isin([name for name, own in boxes.items() if len(own)])][columns]
    rows = TableRows(table.reset_index(drop=True), lambda part: [{**r, "boxes": boxes[r["image_id"]]} for r in part])
    whole = replace(engine, part=None, merge=False)  # small: everyone who shares the work makes it
    parts = whole.run(LateralityWorker(), rows, folder, "read letters", most=MOST)
    found = [(row["image_id"], *box, side) for row in parts.rows() if not row["problem"]
             for box, side in zip(row["letters"], row["sides"], strict=True)]  # fmt: skip
    return pd.DataFrame(found, columns=["image_id", *BOX, "text"])


def kept_letters(context: Context, manifest: pd.DataFrame) -> dict[str, Any]:
    """image_id -> boxes of the letters that stay, also written down; none without clean.keep."""
    store = context.store
    if not context.config.clean.keep:
        return {}
    root = store.dataset_root()
    files = manifest[["image_id", "sha256"]].assign(file=[str(root / path) for path in manifest["path"]])
    letters = letters_of(context.engine, files, store.boxes(), context.scratch / "letters")
    store.write_table("letters", letters)
    context.say(f"{len(letters)} laterality letters in {letters['image_id'].nunique()} images stay (clean.keep)")
    return split_boxes(letters)

"""The manifest: one row per image a label names, with everything known about it.

It is made in three steps: a format gives the rows (data/formats), every file is scanned (scan.py), and here the two
become one table. A row that cannot be used stays in it with its `problem` ("kind: what is wrong"; kinds: label,
repeated, missing, outside, view, unreadable, blank); nothing stops at one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from xray_debug.config import PrepareConfig
from xray_debug.data.duplicates import mark_duplicates
from xray_debug.data.scan import FACTS
from xray_debug.data.splits import cut_validation, shared_patients
from xray_debug.data.views import Views

MANIFEST_COLUMNS = [
    "image_id", "split", "patient_id", "label", "source", "path", "width", "height", "bit_depth", "sha256", "problem",
    "line", "phash", "looks_like", "duplicate_of", "near_duplicate_of", "shared_patient", "test_set", "label_file",
    "note",
]  # fmt: skip
ATTRIBUTE = "attr_"  # prefix of columns that could be a shortcut
ROW = {
    "image_id": "", "path": "", "split": "", "patient_id": "", "label": "", "source": "", "test_set": "",
    "label_file": "", "line": 0, "note": "", "problem": "",
}  # fmt: skip
"""What a format says of an image, and what stands where it says nothing."""


def mark_repeated(rows: list[dict]) -> list[dict]:
    """`rows`, in which later ones of a name, or of a file on disk, are a problem and have an image_id of their own."""
    names: dict[str, dict] = {}
    files: dict[str, dict] = {}
    for row in rows:
        first = names.setdefault(row["image_id"], row)
        if first is row and row["path"]:
            first = files.setdefault(row["path"], row)
        if first is not row:
            other = "" if first["label"] == row["label"] else f" as {first['label']}"
            what = "named before" if first["image_id"] == row["image_id"] else f"same file as {first['image_id']}"
            row["problem"] = f"repeated: {what}, {first['label_file']}:{first['line']}{other}"
            row["image_id"] += f" ({row['label_file']}:{row['line']})"
    return rows


def finish_manifest(
    rows: list[dict], facts: Iterable[Mapping[str, Any]], config: PrepareConfig | None = None, seed: int = 0,
    outlines: Views | None = None, progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """The manifest, columns MANIFEST_COLUMNS and then any attributes (`attr_...`), in the order of `rows`.

    Args:
        rows: what a format gave (ROW), image_id unique as mark_repeated makes it.
        facts: what was found out about the rows without a problem, each with its image_id (ScanWorker); other columns
            than FACTS and attributes are left out, absent values are those of a file not known.
        outlines: one for each row without a problem, in their order; None: near-duplicates are not looked for.
        progress: of the search for them, called with (pairs looked at, of all).
        config: the agreement of near-duplicates and the share of val, which is cut from train where there is no val.

    `image_id` is unique; split is train, val or test (rows that come with "" are cut by
    config.test_fraction); `test_set` is "" for train and val, "test" for the dataset's
    own test, else the name in config.extra_tests; `path` is relative to the dataset's folder; `phash` is 16 hex
    digits; `looks_like` is as FACTS says. A row with `problem` != "" is set aside: it is counted, and used nowhere.
    """
    config = config or PrepareConfig()
    found = {entry["image_id"]: _known(entry) for entry in facts}
    unknown = [row["image_id"] for row in rows if not row["problem"] and row["image_id"] not in found]
    if unknown:
        raise ValueError(f"{unknown[0]}: expected what its file holds, got nothing ({len(unknown)} images)")
    frame = pd.DataFrame([ROW | FACTS | row | found.get(row["image_id"], {}) for row in rows])
    frame = frame.reindex(columns=[*MANIFEST_COLUMNS, *(name for name in frame if name.startswith(ATTRIBUTE))])
    frame = frame.astype({name: "int64" if empty == 0 else object for name, empty in (ROW | FACTS).items()})
    if outlines is not None:
        place = np.cumsum([not row["problem"] for row in rows]) - 1
        outlines = outlines.rows(np.maximum(place, 0))
    mark_duplicates(frame, outlines, config.near_duplicate_agreement, progress)
    _cut_test(frame, config, seed)
    frame["shared_patient"] = shared_patients(frame)
    usable = (frame["split"] == "train") & (frame["problem"] == "")
    if not (frame["split"] == "val").any() and usable.any():
        val = frame.index[usable][cut_validation(frame[usable], config.val_fraction, seed)]
        frame.loc[val, "split"] = "val"
    return frame


def _cut_test(frame: pd.DataFrame, config: PrepareConfig, seed: int) -> None:
    """Rows without a split become train and test, by patient; those that are set aside become train."""
    usable = (frame["split"] == "") & (frame["problem"] == "")
    rows = frame.index[usable]
    frame.loc[frame["split"] == "", "split"] = "train"
    if len(rows):
        test = rows[cut_validation(frame.loc[rows], config.test_fraction, seed, "test")]
        frame.loc[test, ["split", "test_set"]] = "test"


def _known(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What counts of one image's facts; a problem that has no kind is one of the file."""
    kept = {name: entry[name] for name in entry if name in FACTS or name.startswith(ATTRIBUTE)}
    kept = {name: value for name, value in kept.items() if not pd.isna(value)}
    problem = kept.get("problem", "")
    if problem and problem.partition(":")[0] not in ("unreadable", "blank"):
        kept["problem"] = f"unreadable: {problem}"
    return kept

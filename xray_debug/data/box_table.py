"""Tables of boxes that people bring: CSV or Parquet, one row a box, every number checked."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from xray_debug.data.boxes import FARTHEST

COLUMNS = ["image_id", "x0", "y0", "x1", "y1"]


def read_box_table(path: Path) -> pd.DataFrame:
    """The table with image_id as text, x0 y0 x1 y1 as floats, and its other columns as they are.

    ValueError naming the file, and the row, where a column is missing, or a box is none.
    """
    table = _table(path)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise ValueError(f"{path}: expected columns {' '.join(COLUMNS)}, {', '.join(missing)} missing")
    numbers = table[COLUMNS[1:]].apply(pd.to_numeric, errors="coerce").astype(float)
    images = table["image_id"].fillna("").astype(str)
    for wrong, expected in (
        (numbers.isna().any(axis=1), "expected four numbers"),
        ((numbers.abs() > FARTHEST).any(axis=1), f"expected pixels within {FARTHEST}"),
        ((numbers["x1"] <= numbers["x0"]) | (numbers["y1"] <= numbers["y0"]), "expected x0 < x1 and y0 < y1"),
        (images.str.strip() == "", "expected the name of an image"),
    ):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise ValueError(f"{path}: row {row + 1}: {expected}, got {str(table.iloc[row].tolist())[:120]}")
    return table.assign(image_id=images, **numbers)


def _table(path: Path) -> pd.DataFrame:
    """As written: "007" and "NA" are names of images, no number and no gap."""
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except Exception as error:  # pandas and Arrow have many
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: not a readable table: {reason[:120]}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what is too much for an index
        raise ValueError(f"{path}: the rows have more fields than the {len(table.columns)} columns of the first line")
    return table

"""The user's regions, read from folders of masks or a table of boxes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.data.box_table import COLUMNS, read_box_table
from xray_debug.data.boxes import as_boxes, rasterise_boxes
from xray_debug.data.images import read_image

MAX_USER_REGIONS = 6  # keeps a case below 200 forward passes


class UserRegions:
    """Masks in folders or boxes in a table, looked up by image."""

    def __init__(self, folders: dict[str, dict[str, Path]] | None = None, boxes: dict | None = None):
        self.folders = folders or {}  # name -> image stem -> mask file
        self.boxes = boxes or {}  # name -> image_id -> (N, 4)
        self.names = sorted({*self.folders, *self.boxes})
        if len(self.names) > MAX_USER_REGIONS:
            raise ValueError(f"regions: expected at most {MAX_USER_REGIONS} kinds, got {len(self.names)}")

    def masks(self, image_id: str, height: int, width: int) -> dict[str, np.ndarray]:
        """name -> bool (height, width), for the regions that this image has."""
        result = {}
        for name, files in self.folders.items():
            path = files.get(image_id) or files.get(Path(image_id).stem)
            if path is None:
                continue
            pixels = read_image(path)
            mask = (pixels if pixels.ndim == 2 else pixels.max(axis=2)) > 0
            if mask.shape != (height, width):
                raise ValueError(f"{path}: expected a mask of {width} x {height} pixels as its image, got "
                                 f"{mask.shape[1]} x {mask.shape[0]}")
            result[name] = mask
        for name, boxes in self.boxes.items():
            if image_id in boxes:
                result[name] = rasterise_boxes(boxes[image_id], height, width)
        return {name: mask for name, mask in result.items() if mask.any()}


def load_regions(path: str | Path | None) -> UserRegions:
    """The user's regions. A folder: masks named as the images (any suffix), of one kind, or one sub-folder per kind.

    A .csv or .parquet table: columns image_id x0 y0 x1 y1 and, for several kinds, name. Non-zero mask pixels count.
    ValueError: neither of them, missing columns, boxes that are no numbers, or too many kinds.
    """
    if path is None:
        return UserRegions()
    path = Path(path)
    if os.path.isdir(path):  # never raises, as Path.is_dir does for a name too long
        groups = [p for p in sorted(path.iterdir()) if p.is_dir()] or [path]
        return UserRegions(folders={group.name: _mask_files(group) for group in groups})
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such folder of masks or table of boxes")
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"{path}: expected a folder, a .csv or a .parquet table, got {path.suffix or 'no suffix'}")
    return UserRegions(boxes=_box_table(path))


def _mask_files(folder: Path) -> dict[str, Path]:
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    return {key: p for p in files for key in (p.stem, p.name)}


def _box_table(path: Path) -> dict[str, dict[str, np.ndarray]]:
    table = read_box_table(path)
    names = table["name"].fillna("").astype(str) if "name" in table else pd.Series("region", index=table.index)
    if (empty := names.str.strip() == "").any():
        row = int(empty.to_numpy().argmax())
        raise ValueError(f"{path}: row {row + 1}: expected a name, as the table has a column of them, got none")
    return {
        name: {image: as_boxes(own[COLUMNS[1:]].to_numpy()) for image, own in part.groupby("image_id")}
        for name, part in table.groupby(names)
    }

"""Regions other than text that may be spurious: the border, what lies outside the central field, and the user's own.

A region is removed and revealed in the model's pixels, on the image whose text is already gone, so that what it does
is not the text's doing; its controls are masks of the same area elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from xray_debug.audit.frames import CaseImages, Frames, centre_box, composite
from xray_debug.data.boxes import as_boxes, rasterise_boxes
from xray_debug.data.images import ModelView, read_image, to_gray8

BORDER, FIELD = 0.05, 0.125  # margins, fractions of each side
CONTROLS = 2
BLOCKS = 12  # of the grid from which controls of large regions are drawn
MAX_USER_REGIONS = 6  # keeps a case below 200 forward passes
INPAINT_RADIUS = 3  # view pixels
_COLUMNS = ["image_id", "x0", "y0", "x1", "y1"]


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
            mask = to_gray8(read_image(path)) > 0
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
    if path.is_dir():
        groups = [p for p in sorted(path.iterdir()) if p.is_dir()] or [path]
        return UserRegions(folders={group.name: _mask_files(group) for group in groups})
    if not path.is_file():
        raise ValueError(f"{path}: no such folder of masks or table of boxes")
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path}: expected a folder, a .csv or a .parquet table, got {path.suffix or 'no suffix'}")
    return UserRegions(boxes=_box_table(path))


def _mask_files(folder: Path) -> dict[str, Path]:
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    return {key: p for p in files for key in (p.stem, p.name)}


def _box_table(path: Path) -> dict[str, dict[str, np.ndarray]]:
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise ValueError(f"{path}: expected columns {' '.join(_COLUMNS)}, {', '.join(missing)} missing")
    numbers = table[_COLUMNS[1:]].apply(pd.to_numeric, errors="coerce")
    if numbers.isna().any(axis=None):
        row = int(numbers.isna().any(axis=1).to_numpy().argmax())
        raise ValueError(f"{path}: row {row + 1}: expected four numbers, got {table.iloc[row][_COLUMNS[1:]].tolist()}")
    names = table["name"].astype(str) if "name" in table else pd.Series("region", index=table.index)
    return {
        name: {str(image): as_boxes(numbers.loc[rows.index].to_numpy()) for image, rows in part.groupby("image_id")}
        for name, part in table.groupby(names)
    }


def margin_mask(size: int, margin: float) -> np.ndarray:
    """bool (size, size): everything outside the central field."""
    mask = np.ones((size, size), bool)
    x0, y0, x1, y1 = centre_box(size, size, margin)
    mask[y0:y1, x0:x1] = False
    return mask


def region_masks(case: CaseImages, view: ModelView, user: UserRegions) -> dict[str, np.ndarray]:
    """name -> bool (S, S) in the view, for all regions that the view shows something of, but not all of it."""
    masks = {"border": margin_mask(view.size, BORDER), "outside centre": margin_mask(view.size, FIELD)}
    for name, mask in user.masks(case.image_id, *case.original.shape[:2]).items():
        seen = (view.mask_to_view(mask) > 0.1).astype(np.uint8)
        masks[name] = cv2.dilate(seen, np.ones((3, 3), np.uint8)) > 0  # the rim that resizing smears
    return {name: mask for name, mask in masks.items() if mask.any() and not mask.all()}


def moved_masks(mask: np.ndarray, avoid: np.ndarray, seed: int, count: int) -> list[np.ndarray]:
    """`count` masks of about the same area elsewhere: moved as a whole where that is possible, else random blocks.

    `avoid`, bool (S, S), is kept clear by the moved ones, and by the blocks as far as the area allows.
    """
    rng, size = np.random.default_rng(seed), mask.shape[0]
    return [_shifted(mask, avoid | mask, rng) if mask.mean() < 0.1 else _blocks(mask, avoid, rng, size)
            for _ in range(count)]


def _shifted(mask: np.ndarray, taken: np.ndarray, rng, tries: int = 100) -> np.ndarray:
    """The mask moved without leaving the image, to where it touches least of `taken` among `tries` places."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    best, least = mask, np.inf
    for _ in range(tries):
        y = int(rng.integers(mask.shape[0] - part.shape[0] + 1))
        x = int(rng.integers(mask.shape[1] - part.shape[1] + 1))
        touched = int((part & taken[y : y + part.shape[0], x : x + part.shape[1]]).sum())
        if touched < least:
            best, least = np.zeros_like(mask), touched
            best[y : y + part.shape[0], x : x + part.shape[1]] = part
        if not touched:
            break
    return best


def _blocks(mask: np.ndarray, avoid: np.ndarray, rng, size: int) -> np.ndarray:
    """Random blocks of a grid, those free of `avoid` first, until the mask's area is reached."""
    edges = np.linspace(0, size, BLOCKS + 1).round().astype(int)
    cells = [(slice(a, b), slice(c, d)) for a, b in zip(edges, edges[1:], strict=False)
             for c, d in zip(edges, edges[1:], strict=False)]
    order = sorted(rng.permutation(len(cells)), key=lambda i: bool(avoid[cells[i]].any()))
    result = np.zeros_like(mask)
    for index in order:
        if result.sum() >= mask.sum():
            break
        result[cells[index]] = True
    return result


def without(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """float (S, S) in [0, 1] with the mask inpainted (Telea) in 8 bits; elsewhere exactly as it was."""
    levels = np.round(image * 255).astype(np.uint8)
    filled = cv2.inpaint(levels, mask.astype(np.uint8), INPAINT_RADIUS, cv2.INPAINT_TELEA)
    return np.where(mask, filled.astype(np.float32) / np.float32(255), image)


def add_region_frames(frames: Frames, case: CaseImages, masks: dict[str, np.ndarray], seed: int) -> None:
    """For every region, and CONTROLS matched masks: inpainted, blurred, and alone on the baseline; all text-free."""
    image, base = case.text_free, case.baseline
    for name, mask in masks.items():
        controls = moved_masks(mask, case.text_mask > 0, seed, CONTROLS)
        for prefix, part in [(f"region/{name}", mask), *((f"region/{name}/control/{i}", m)
                                                        for i, m in enumerate(controls))]:
            frames.add(f"{prefix}/inpainted", without(image, part))
            frames.add(f"{prefix}/blurred", composite(base, image, part.astype(np.float32)))
            frames.add(f"{prefix}/only", composite(image, base, part.astype(np.float32)))

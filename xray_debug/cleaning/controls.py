"""Matched controls: the same boxes moved to places without text, so that erasing can be told from erasing text."""

from __future__ import annotations

import hashlib

import numpy as np

from xray_debug.cleaning.inpainting import growth, text_region
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import as_boxes, clip_boxes, dilate_boxes, rasterise_boxes

BORDER_TOLERANCE = 0.1  # of the shorter side of the image


def image_seed(seed: int, name: str) -> int:
    """A seed for one image, whatever its neighbours: the first 8 bytes of sha256("seed/name")."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big")


def control_boxes(
    boxes,
    height: int,
    width: int,
    seed: int,
    avoid=None,
    count: int = 1,
    mirror: bool = False,
    match_border: bool = True,
) -> list[np.ndarray]:
    """`count` times the same boxes, cut to the image and moved at random to places free of text.

    No moved box touches the boxes themselves or `avoid`, more (M, 4) boxes or a bool (height, width) mask; moved
    boxes do not overlap one another where there is room. With `match_border` a box keeps its distance to the
    nearest border, as far as free places allow (markers sit near borders, and so should their controls).
    With `mirror` the first placement is the left-right mirror image of each box, where that is free.
    Returns `count` arrays (n, 4) int64 in the order of the boxes; a box without a free place is left out.
    """
    placements = place(boxes, height, width, seed, avoid, count, mirror, match_border)
    return [moved[moved[:, 0] >= 0] for moved in placements]


def place(boxes, height, width, seed, avoid=None, count=1, mirror=False, match_border=True) -> list[np.ndarray]:
    """As `control_boxes`, with one row for each box inside the image, -1 where it has no free place."""
    shapes = clip_boxes(boxes, height, width)
    taken = rasterise_boxes(shapes, height, width)
    if isinstance(avoid, np.ndarray) and avoid.dtype == bool:
        if avoid.shape != (height, width):
            raise ValueError(f"avoid: expected a mask of shape {(height, width)}, got {avoid.shape}")
        taken |= avoid
    elif avoid is not None:
        taken |= rasterise_boxes(avoid, height, width)
    rng = np.random.default_rng(seed)
    return [_place_all(shapes, taken, rng, mirror and i == 0, match_border) for i in range(count)]


def _place_all(shapes: np.ndarray, taken: np.ndarray, rng, mirror: bool, match_border: bool) -> np.ndarray:
    moved = np.full_like(shapes, -1)
    used = taken.copy()
    largest_first = np.argsort(-(shapes[:, 2:] - shapes[:, :2]).prod(axis=1), kind="stable")
    for i in largest_first:
        place = _place_one(shapes[i], used, rng, mirror, match_border)
        if place is None:  # no room beside the other moved boxes: only text must be avoided
            place = _place_one(shapes[i], taken, rng, mirror, match_border)
        if place is not None:
            moved[i] = place
            x0, y0, x1, y1 = place
            used[y0:y1, x0:x1] = True
    return moved


def _place_one(box: np.ndarray, taken: np.ndarray, rng, mirror: bool, match_border: bool) -> np.ndarray | None:
    """One free place for a box of this size, (4,), or None; every fitting free place is equally likely."""
    height, width = taken.shape
    if mirror:
        mirrored = as_boxes([(width - box[2], box[1], width - box[0], box[3])])[0]
        if not taken[mirrored[1] : mirrored[3], mirrored[0] : mirrored[2]].any():
            return mirrored
    w, h = int(box[2] - box[0]), int(box[3] - box[1])
    free = _free_corners(taken, h, w)
    if match_border and free.any():
        wanted = min(box[0], box[1], width - box[2], height - box[3])
        rows, columns = np.arange(free.shape[0])[:, None], np.arange(free.shape[1])[None]
        distance = np.minimum(np.minimum(rows, height - h - rows), np.minimum(columns, width - w - columns))
        alike = free & (np.abs(distance - wanted) <= BORDER_TOLERANCE * min(height, width))
        free = alike if alike.any() else free
    places = np.flatnonzero(free)
    if not len(places):
        return None
    y, x = np.unravel_index(places[int(rng.integers(len(places)))], free.shape)
    return np.array([x, y, x + w, y + h], np.int64)


def _free_corners(taken: np.ndarray, h: int, w: int) -> np.ndarray:
    """Upper left corners at which an h x w window holds nothing taken: bool (H - h + 1, W - w + 1)."""
    total = np.zeros((taken.shape[0] + 1, taken.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(taken, axis=0, dtype=np.int32), axis=1, out=total[1:, 1:])
    return total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w] == 0


def moved_region(image: np.ndarray, boxes, config: CleanConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The region that cleaning would replace, moved box by box to text-free places of the same image.

    Returns the grown boxes in their new places, (n, 4), and the moved region, bool (H, W); boxes without a free
    place are left out. ValueError where the boxes cover the whole image.
    """
    height, width = image.shape[:2]
    region = text_region(image, boxes, config.shape, config.dilation, config.min_dilation, config.method)
    if region.all():
        raise ValueError("the boxes cover the whole image, so nothing is left to fill them in from")
    grown = dilate_boxes(boxes, growth(boxes, config.dilation, config.min_dilation), height, width)
    placed = place(grown, height, width, seed)[0]
    return placed[placed[:, 0] >= 0], transplant(region, grown, placed, (height, width))


def transplant(region: np.ndarray, boxes: np.ndarray, placed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The part of `region` inside each box, moved to where the box was placed (-1: nowhere): bool `shape`."""
    moved = np.zeros(shape, bool)
    for (x0, y0, x1, y1), (u0, v0, u1, v1) in zip(boxes, placed, strict=True):
        if u0 >= 0:
            moved[v0:v1, u0:u1] |= region[y0:y1, x0:x1]
    return moved

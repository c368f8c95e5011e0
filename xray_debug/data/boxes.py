"""Boxes in image pixels: clip, dilate, rasterise, match.

A box is (x0, y0, x1, y1) in integer pixels of the original image; x1 and y1 are exclusive. Arrays of boxes
are (N, 4) int64. Nothing here knows where boxes come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

Box = tuple[int, int, int, int]


class TextBox(NamedTuple):
    """What a detector found: the box in pixels of the image, a score in [0, 1], and of what kind it is."""

    x0: int
    y0: int
    x1: int
    y1: int
    score: float = 1.0
    kind: str = "text"

    @property
    def box(self) -> Box:
        return (self.x0, self.y0, self.x1, self.y1)


FARTHEST = 2**31 - 1  # pixels; larger numbers would overflow in sums and products of coordinates


def as_boxes(boxes: Iterable[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Any sequence of boxes (or TextBoxes) as an (N, 4) int64 array; fractions grow outwards."""
    rows = [tuple(box)[:4] for box in boxes]
    if any(len(row) != 4 for row in rows):
        raise ValueError(f"a box has four numbers x0, y0, x1, y1, got {rows}")
    array = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
    if not np.isfinite(array).all():
        raise ValueError("boxes must be finite numbers")
    if (np.abs(array) > FARTHEST).any():
        row = array[(np.abs(array) > FARTHEST).any(1)][0].tolist()
        raise ValueError(f"a box lies within {FARTHEST} pixels of the image's corner, got {row}")
    return np.concatenate([np.floor(array[:, :2]), np.ceil(array[:, 2:])], axis=1).astype(np.int64)


def as_found(found: Iterable[TextBox], detector: str) -> list[TextBox]:
    """What a detector gives for one image, in whole pixels (fractions grow outwards).

    ValueError with its name for what is no TextBox, or holds NaN, infinity or numbers far beyond any image.
    """
    boxes = []
    for box in found:
        try:
            numbers, score = as_boxes([box.box])[0].tolist(), float(box.score)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"the detector {detector} gives {str(box)[:80]}: expected a TextBox ({error})") from error
        if not math.isfinite(score):
            raise ValueError(f"the detector {detector} gives a box with the score {score}, expected a finite number")
        boxes.append(TextBox(*numbers, score, str(box.kind)))
    return boxes


def clip_boxes(boxes: Iterable[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Boxes cut to the image; those with nothing left inside are dropped."""
    array = as_boxes(boxes)
    array[:, 0::2] = array[:, 0::2].clip(0, width)
    array[:, 1::2] = array[:, 1::2].clip(0, height)
    return array[(array[:, 2] > array[:, 0]) & (array[:, 3] > array[:, 1])]


def dilate_boxes(boxes: Iterable[Sequence[float]], pixels, height: int, width: int) -> np.ndarray:
    """Boxes grown by `pixels` (one number, or one per box) on every side, cut to the image."""
    array = as_boxes(boxes)
    grow = np.ceil(np.broadcast_to(np.asarray(pixels, np.float64), (len(array),))).astype(np.int64)[:, None]
    return clip_boxes(np.concatenate([array[:, :2] - grow, array[:, 2:] + grow], axis=1), height, width)


def rasterise_boxes(boxes: Iterable[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Union of the boxes as a bool (height, width) array."""
    mask = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in clip_boxes(boxes, height, width):
        mask[y0:y1, x0:x1] = True
    return mask


def box_areas(boxes: Iterable[Sequence[float]]) -> np.ndarray:
    """(N,) areas in pixels; an inverted box has area 0."""
    array = as_boxes(boxes)
    return (array[:, 2:] - array[:, :2]).clip(0).prod(axis=1)


def intersection_areas(first: Iterable[Sequence[float]], second: Iterable[Sequence[float]]) -> np.ndarray:
    """(N, M) areas common to each pair."""
    a, b = as_boxes(first)[:, None], as_boxes(second)[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    return (high - low).clip(0).prod(axis=-1)


def iou(first: Iterable[Sequence[float]], second: Iterable[Sequence[float]]) -> np.ndarray:
    """(N, M) intersection over union; 0 where both are empty."""
    first, second = as_boxes(first), as_boxes(second)
    common = intersection_areas(first, second)
    union = box_areas(first)[:, None] + box_areas(second)[None] - common
    return np.divide(common, union, out=np.zeros(common.shape), where=union > 0)


def covered(boxes: np.ndarray, by: np.ndarray, height: int, width: int) -> np.ndarray:
    """(N,) share of each box's area that lies under the union of `by`; 0 of an empty box."""
    mask = rasterise_boxes(by, height, width)
    areas = box_areas(boxes)
    under = [mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)].sum() for x0, y0, x1, y1 in boxes]
    return np.divide(under, areas, out=np.zeros(len(boxes)), where=areas > 0)


def match_boxes(first, second, minimum: float = 0.5) -> list[tuple[int, int]]:
    """Pairs (i, j) with IoU >= `minimum`, greedily by IoU, each box used once."""
    overlap, pairs = iou(first, second), []
    while overlap.size and overlap.max() >= max(minimum, 1e-12):
        i, j = np.unravel_index(int(overlap.argmax()), overlap.shape)
        pairs.append((int(i), int(j)))
        overlap[i, :] = overlap[:, j] = -1
    return pairs


def thirds_of_largest(boxes: Iterable[Sequence[float]], height: int, width: int) -> tuple[int, int] | None:
    """Where the middle of the largest box lies, (row, column) in thirds of the image 0 to 2; None without a box."""
    array = as_boxes(boxes)
    if not len(array):
        return None
    x0, y0, x1, y1 = array[box_areas(array).argmax()]
    return min(2, int(1.5 * (y0 + y1) / height)), min(2, int(1.5 * (x0 + x1) / width))

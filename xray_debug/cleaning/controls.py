"""Matched controls: boxes and masks moved to places without text, so that erasing can be told from erasing text.

All placement of controls is here: of boxes in an image (cleaning, audit), and of masks in a model's view (audit).
"""

from __future__ import annotations

import cv2
import numpy as np

from xray_debug.cleaning.inpainting import growth, text_region
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import as_boxes, clip_boxes, dilate_boxes, intersection_areas, rasterise_boxes
from xray_debug.data.view import ModelView
from xray_debug.stats.seeds import seed_of as image_seed  # the name by which cleaning asks for the seed of an image

__all__ = ["control_boxes", "cropped_margins", "image_seed", "mirrored", "moved_masks", "moved_region", "place",
           "place_controls", "transplant"]

BORDER_TOLERANCE = 0.1  # of the shorter side of the image
KEPT = 16  # boxes whose fitting places are kept for the next placement
BLOCKS = 12  # of the grid from which controls of large masks are drawn
SMALL = 0.1  # area share up to which a mask is moved as a whole


# ------------------------------------------------------------------------------------------------- boxes


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
    ground, rng = _Ground(taken, match_border), np.random.default_rng(seed)
    return [_place_all(shapes, ground, rng, mirror and i == 0) for i in range(count)]


def _place_all(shapes: np.ndarray, ground: _Ground, rng, mirror: bool) -> np.ndarray:
    moved = np.full_like(shapes, -1)
    largest_first = np.argsort(-(shapes[:, 2:] - shapes[:, :2]).prod(axis=1), kind="stable")
    used: list[np.ndarray] = []
    for i in largest_first:
        found = ground.draw(shapes[i], used, rng, mirror)
        if found is None:  # no room beside the other moved boxes: only text must be avoided
            found = ground.draw(shapes[i], [], rng, mirror)
        if found is not None:
            moved[i] = found
            used.append(found)
    return moved


class _Ground:
    """Where boxes may stand in one image: `taken`, bool (H, W), is summed up once for all boxes and placements."""

    def __init__(self, taken: np.ndarray, match_border: bool):
        self.height, self.width = taken.shape
        self.total = cv2.integral(taken.astype(np.uint8))  # int32 (H + 1, W + 1)
        self.match_border = match_border
        self.known: dict[tuple[int, ...], np.ndarray] = {}

    def draw(self, box: np.ndarray, used: list[np.ndarray], rng, mirror: bool) -> np.ndarray | None:
        """One place for a box of this size, off `used` boxes, (4,), or None; all fitting places are equally likely."""
        x0, y0, x1, y1 = (int(v) for v in box)
        w, h = x1 - x0, y1 - y0
        if mirror and _clear(self.free(h, w), h, w, used)[y0, self.width - x1]:
            return as_boxes([(self.width - x1, y0, self.width - x0, y1)])[0]
        found = None
        if self.match_border:
            found = _draw(_clear(self.fitting(box, h, w), h, w, used), rng)
        if found is None:
            found = _draw(_clear(self.free(h, w), h, w, used), rng)
        if found is None:
            return None
        y, x = found
        return np.array([x, y, x + w, y + h], np.int64)

    def fitting(self, box: np.ndarray, h: int, w: int) -> np.ndarray:
        """Free corners at about the box's distance to the nearest border: bool (H - h + 1, W - w + 1)."""
        wanted = int(min(box[0], box[1], self.width - box[2], self.height - box[3]))
        key = (h, w, wanted)
        if key in self.known:
            return self.known[key]
        slack = int(BORDER_TOLERANCE * min(self.height, self.width))
        rows, columns = _to_border(self.height - h), _to_border(self.width - w)
        found = self.free(h, w)
        found &= (rows >= wanted - slack)[:, None] & (columns >= wanted - slack)
        found &= (rows <= wanted + slack)[:, None] | (columns <= wanted + slack)
        if len(self.known) < KEPT:
            self.known[key] = found
        return found

    def free(self, h: int, w: int) -> np.ndarray:
        """Upper left corners at which an h x w window holds nothing taken: bool (H - h + 1, W - w + 1)."""
        total = self.total
        return total[h:, w:] - total[:-h, w:] == total[h:, :-w] - total[:-h, :-w]


def _to_border(last: int) -> np.ndarray:
    """Distance of each corner 0 ... `last` along one axis to the nearer end."""
    corners = np.arange(last + 1)
    return np.minimum(corners, last - corners)


def _clear(corners: np.ndarray, h: int, w: int, used: list[np.ndarray]) -> np.ndarray:
    """The corners without those at which an h x w window would overlap a used box."""
    if used:
        corners = corners.copy()
        for x0, y0, x1, y1 in used:
            corners[max(y0 - h + 1, 0) : y1, max(x0 - w + 1, 0) : x1] = False
    return corners


def _draw(corners: np.ndarray, rng) -> tuple[int, int] | None:
    """(row, column) of one of the true entries, each equally likely; None where there is none."""
    counts = np.cumsum(corners.sum(axis=1, dtype=np.int32))
    if not len(counts) or not counts[-1]:
        return None
    number = int(rng.integers(counts[-1]))
    row = int(np.searchsorted(counts, number, side="right"))
    before = int(counts[row - 1]) if row else 0
    return row, int(np.flatnonzero(corners[row])[number - before])


def mirrored(boxes: np.ndarray, width: int) -> np.ndarray:
    """Boxes reflected at the image's vertical middle line."""
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def cropped_margins(view: ModelView, height: int, width: int) -> np.ndarray:
    """Boxes that cover what the view cuts away."""
    x0, y0, x1, y1 = view.window(height, width)
    margins = [(0, 0, width, y0), (0, y1, width, height), (0, 0, x0, height), (x1, 0, width, height)]
    return clip_boxes(margins, height, width)


def place_controls(boxes, avoid, view: ModelView, height: int, width: int, seed: int, count: int) -> list[np.ndarray]:
    """`count` random text-free placements of the boxes inside the view, and the mirror image where that is text-free.

    `boxes`, (N, 4) inside the image: those to be matched. `avoid`: all text of the image, visible or not, and what else
    must not be touched.
    """
    forbidden = np.concatenate([avoid, cropped_margins(view, height, width)])
    places = control_boxes(boxes, height, width, seed, avoid=forbidden, count=count)
    mirror = mirrored(boxes, width)
    if not intersection_areas(mirror, forbidden).any():
        places.append(mirror)
    return [found for found in places if len(found)]


def moved_region(image: np.ndarray, boxes, config: CleanConfig, seed: int,
                 avoid=None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The region that cleaning would replace, moved box by box to text-free places of the same image.

    Returns the grown boxes in their new places, (n, 4), and the moved region, bool (H, W); boxes without a free
    place are left out. `avoid`: (M, 4), text that stays. ValueError where the boxes cover the whole image.
    """
    height, width = image.shape[:2]
    region = text_region(image, boxes, config.shape, config.dilation, config.min_dilation, config.method)
    if region.all():
        raise ValueError("the boxes cover the whole image, so nothing is left to fill them in from")
    grown = dilate_boxes(boxes, growth(boxes, config.dilation, config.min_dilation), height, width)
    placed = place(grown, height, width, seed, avoid)[0]
    return placed[placed[:, 0] >= 0], transplant(region, grown, placed, (height, width))


def transplant(region: np.ndarray, boxes: np.ndarray, placed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The part of `region` inside each box, moved to where the box was placed (-1: nowhere): bool `shape`."""
    moved = np.zeros(shape, bool)
    for (x0, y0, x1, y1), (u0, v0, u1, v1) in zip(boxes, placed, strict=True):
        if u0 >= 0:
            moved[v0:v1, u0:u1] |= region[y0:y1, x0:x1]
    return moved


# ------------------------------------------------------------------------------------------------- masks


def moved_masks(mask: np.ndarray, avoid: np.ndarray, seed: int, count: int) -> list[np.ndarray]:
    """`count` masks of about the area of `mask`, bool (S, S), elsewhere: small ones moved as a whole, else blocks.

    `avoid`, bool (S, S), is kept clear by the moved ones, and by the blocks as far as the area allows.
    """
    rng = np.random.default_rng(seed)
    draw = _shifted if mask.mean() < SMALL else _blocks
    return [draw(mask, avoid, rng) for _ in range(count)]


def _shifted(mask: np.ndarray, avoid: np.ndarray, rng, tries: int = 100) -> np.ndarray:
    """The mask moved without leaving the image, to where it touches least of itself and `avoid` among the tries."""
    taken = avoid | mask
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


def _blocks(mask: np.ndarray, avoid: np.ndarray, rng) -> np.ndarray:
    """Random blocks of a grid, those free of `avoid` first, until the mask's area is reached."""
    edges = np.linspace(0, mask.shape[0], BLOCKS + 1).round().astype(int)
    spans = [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
    cells = [(rows, columns) for rows in spans for columns in spans]
    order = sorted(rng.permutation(len(cells)), key=lambda i: bool(avoid[cells[i]].any()))
    result, missing = np.zeros_like(mask), int(mask.sum())
    for rows, columns in (cells[i] for i in order):
        if missing <= 0:
            break
        result[rows, columns] = True
        missing -= (rows.stop - rows.start) * (columns.stop - columns.start)
    return result

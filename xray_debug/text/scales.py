"""At which sizes a film is read, the same for every network: working sizes, padding, tiles, and boxes of all merged.

Markers are 8 to 80 pixels high where the film's long side is 768, so a film is read at that size, and a large one
once more at twice the size for its small print.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from xray_debug.data.boxes import TextBox, intersection_areas, iou

BASE = 768  # pixels, long side
ENLARGE = 2.0
STRIDE = 32  # sides of the networks' inputs are multiples of this
REACH = 16  # pixels around a trace of text that must be read closely
CONTEXT = 2  # cells of STRIDE pixels read around those that matter, for the network to see what they lie in
TRIM = 16  # pixels at the cut edges of a place whose reading does not count


def working_sides(height: int, width: int, base: int = BASE, finest: int = 2 * BASE) -> list[int]:
    """Long sides to read an image at: `base`, and `finest` (or its own size) if it has 1.5 times the pixels a side.

    A small image is enlarged ENLARGE times at most: its letters are no sharper for more.
    """
    longest = max(height, width)
    fine, base = min(longest, finest), max(STRIDE, min(base, round(ENLARGE * longest)))
    return [base] if fine < 1.5 * base else [base, fine]


def resize_to(image: np.ndarray, side: int) -> np.ndarray:
    """The image with its long side `side`: area averages down, linear up; no side under one pixel."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def pad_to(image: np.ndarray, multiple: int) -> np.ndarray:
    """(H, W) or (H, W, 3) with black added below and to the right, up to multiples of `multiple`."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, -height % multiple), (0, -width % multiple), (0, 0))[:image.ndim])


def in_tiles(values: np.ndarray, network: Callable[[np.ndarray], np.ndarray], tile: int, overlap: int) -> np.ndarray:
    """`network` over (C, H, W) in overlapping tiles: (C, h, w) -> (P, h / 2, w / 2), joined at the overlaps' middles.

    H, W, `tile` and `overlap` are multiples of 4; each tile has `tile` pixels a side, at the far edges as many.
    """
    height, width = values.shape[1:]
    result = None
    for y, top, bottom in _tile_spans(height, tile, overlap):
        for x, left, right in _tile_spans(width, tile, overlap):
            maps = network(values[:, y:y + tile, x:x + tile])
            if result is None:
                result = np.zeros((len(maps), height // 2, width // 2), np.float32)
            result[:, top // 2:bottom // 2, left // 2:right // 2] = \
                maps[:, (top - y) // 2:(bottom - y) // 2, (left - x) // 2:(right - x) // 2]
    return result


def _tile_spans(length: int, tile: int, overlap: int) -> list[tuple[int, int, int]]:
    """(start of the tile, start and end of what it answers for), covering 0 .. length without gaps."""
    if length <= tile:
        return [(0, 0, length)]
    starts = [*range(0, length - tile, tile - overlap), length - tile]
    edges = [0, *((a + tile + b) // 4 * 2 for a, b in zip(starts[:-1], starts[1:], strict=True)), length]
    return list(zip(starts, edges[:-1], edges[1:], strict=True))


def close_ups(seen: np.ndarray, scale: tuple[float, float], height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Where to read closely: (x0, y0, x1, y1) in pixels of a reading, multiples of STRIDE, with context.

    `seen`: bool (h, w), a trace of text in a coarser map; `scale`: pixels of the reading per pixel of that map (x, y);
    `height`, `width`: of the reading, multiples of STRIDE. Places whose joint rectangle costs no more are joined.
    """
    rows, columns = (index[:, None] for index in np.nonzero(seen))
    around = np.array([-REACH, 0, REACH])
    y = ((rows + 0.5) * scale[1] + around).clip(0, height - 1).astype(int) // STRIDE
    x = ((columns + 0.5) * scale[0] + around).clip(0, width - 1).astype(int) // STRIDE
    cells = np.zeros((height // STRIDE, width // STRIDE), np.uint8)
    cells[y[:, :, None], x[:, None, :]] = 1
    count, _, stats, _ = cv2.connectedComponentsWithStats(cells, connectivity=8)
    found = [(x - CONTEXT, y - CONTEXT, x + w + CONTEXT, y + h + CONTEXT) for x, y, w, h, _ in stats[1:count].tolist()]
    limit = (0, 0), cells.shape[::-1]
    found = [tuple(np.clip(np.reshape(box, (2, 2)), *limit).ravel().tolist()) for box in found]
    return [tuple(STRIDE * v for v in box) for box in _joined(found)]


def _joined(boxes: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Boxes, any two replaced by the box around both while that has no more area than the two."""
    def area(box) -> int:
        return (box[2] - box[0]) * (box[3] - box[1])

    boxes = sorted(boxes)
    for i, a in enumerate(boxes):
        for j, b in enumerate(boxes[:i]):
            both = min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
            if area(both) <= area(a) + area(b):
                return _joined([both, *boxes[:j], *boxes[j + 1:i], *boxes[i + 1:]])
    return boxes


def to_image(rectangle: np.ndarray, scale: tuple[float, float], height: int, width: int,
             score: float, kind: str = "text") -> TextBox | None:
    """A rectangle of the map in pixels of the image; `scale` is image pixels per map pixel (x, y). None if outside."""
    x0, y0, x1, y1 = rectangle * np.array([*scale, *scale])
    x0, y0 = max(0, int(np.floor(x0 + 1e-6))), max(0, int(np.floor(y0 + 1e-6)))
    x1, y1 = min(width, int(np.ceil(x1 - 1e-6))), min(height, int(np.ceil(y1 - 1e-6)))
    return TextBox(x0, y0, x1, y1, min(1.0, max(0.0, score)), kind) if x1 > x0 and y1 > y0 else None


def merge(readings: Sequence[Sequence[TextBox]], covered: float = 0.7) -> list[TextBox]:
    """The boxes of several readings of an image as one list: one of which `covered` lies in a larger kept one of its
    kind and of another reading is the same find and is dropped, and where two readings take one thing for different
    kinds, the surer is right.

    The larger box takes the higher score. Order: from top to bottom, then left to right. Within a reading two finds
    are two: only what lies wholly in another is dropped, and a place may hold both kinds (a letter on a device).
    """
    boxes = [(box, i) for i, own in enumerate(readings) for box in own
             if not _surer(box, [other for others in (*readings[:i], *readings[i + 1:]) for other in others])]
    merged = [box for kind in sorted({box.kind for box, _ in boxes})
              for box in _largest([found for found in boxes if found[0].kind == kind], covered)]
    return sorted(merged, key=lambda b: (b.y0, b.x0, b.y1, b.x1))


def _largest(boxes: list[tuple[TextBox, int]], covered: float) -> list[TextBox]:
    """Boxes of one kind, each with the number of its reading, without those that lie in a larger one."""
    kept: list[TextBox] = []
    seen: list[set[int]] = []  # by which readings each is seen: what else one of them sees there is another find
    sized = [((box.x1 - box.x0) * (box.y1 - box.y0), box, origin) for box, origin in boxes]
    for area, box, origin in sorted(sized, reverse=True):
        inside = intersection_areas([box], kept)[0] / area if kept else np.zeros(0)
        least = np.array([1.0 if origin in readings else covered for readings in seen])
        over = np.flatnonzero(inside >= least)
        if len(over):
            best = int(over[inside[over].argmax()])
            kept[best] = kept[best]._replace(score=max(kept[best].score, box.score))
            seen[best].add(origin)
        else:
            kept.append(box)
            seen.append({origin})
    return kept


def _surer(box: TextBox, others: list[TextBox]) -> bool:
    """Whether one of `others`, of another kind, has as good as the same place (IoU of a half) and a higher score."""
    others = [other for other in others if other.kind != box.kind and other.score > box.score]
    return bool(others) and bool(iou([box], others)[0].max() >= 0.5)

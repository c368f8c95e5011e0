"""Erasing regions of an image by inpainting, exact outside them and fast on large films.

OpenCV's inpainting sees only the neighbourhood of the pixels it replaces, so each group of regions is repaired in
a crop with a margin around it. With Telea's method (Telea, "An Image Inpainting Technique Based on the Fast
Marching Method", 2004) the result equals inpainting the whole image, bit for bit: a replaced pixel reads pixels
at most `radius` away, and their distance to the nearest replaced pixel, which is again at most `radius` away.
"""

from __future__ import annotations

import cv2
import numpy as np

from xray_debug.data.boxes import as_boxes, dilate_boxes, rasterise_boxes

METHODS = {"telea": cv2.INPAINT_TELEA, "ns": cv2.INPAINT_NS}
SHAPES = ("box", "letters")
CROP_SLACK = 2  # pixels beyond `radius`: finite differences and OpenCV's one-pixel frame (1 suffices by measurement)


def inpaint_boxes(
    image: np.ndarray,
    boxes,
    radius: int = 10,
    method: str = "telea",
    shape: str = "box",
    dilation: float = 0.0,
    min_dilation: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) of `image` uint8 or uint16, (H, W) or (H, W, C), filled in from around them.

    `dilation` grows each box by that fraction of its shorter side, at least by `min_dilation` pixels. With
    shape "letters" only the letters' own pixels and a halo of the same width are filled in, inside the grown box.
    Returns the cleaned image (a copy; same shape and type) and the replaced region, bool (H, W). Pixels outside
    the region are those of `image`, bit for bit. Parts of boxes outside the image are ignored.
    ValueError where the boxes leave nothing to fill in from; TypeError for other pixel types.
    """
    region = text_region(image, boxes, shape, dilation, min_dilation, method)
    grown = dilate_boxes(boxes, growth(boxes, dilation, min_dilation), *image.shape[:2])
    return _fill(image, region, grown, radius, method), region


def inpaint_region(
    image: np.ndarray, region: np.ndarray, radius: int = 10, method: str = "telea", parts: np.ndarray | None = None
) -> np.ndarray:
    """A copy of `image` in which the pixels of `region` (bool, (H, W)) are filled in from around them.

    `parts`: boxes (N, 4) that hold all of the region, where they are known; it saves the search for them.
    """
    region = np.asarray(region, bool)
    if parts is None:
        _, _, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
        corners = stats[1:, :2]
        parts = np.concatenate([corners, corners + stats[1:, 2:4]], axis=1)
    return _fill(image, region, parts, radius, method)


def _fill(image: np.ndarray, region: np.ndarray, parts: np.ndarray, radius: int, method: str) -> np.ndarray:
    """Each group of parts repaired in a crop of its own, with a margin."""
    _check_image(image)
    if method not in METHODS:
        raise ValueError(f"inpainting method: expected one of {', '.join(METHODS)}, got {method!r}")
    if radius < 1:
        raise ValueError(f"inpainting radius: expected at least 1 pixel, got {radius}")
    if region.shape != image.shape[:2]:
        raise ValueError(f"the region has shape {region.shape}, the image {image.shape[:2]}")
    if region.all():  # OpenCV would return the image unchanged
        raise ValueError("the region covers the whole image, so nothing is left to fill it in from")
    cleaned = image.copy()
    for x0, y0, x1, y1 in _crops(parts, int(radius) + CROP_SLACK, *region.shape):
        window = (slice(y0, y1), slice(x0, x1))
        filled = _inpaint(image[window], region[window], radius, METHODS[method])
        cleaned[window][region[window]] = filled[region[window]]
    return cleaned


def text_region(image, boxes, shape="box", dilation=0.0, min_dilation=0, method="telea") -> np.ndarray:
    """The pixels that `inpaint_boxes` would replace: bool (H, W)."""
    _check_image(image)
    if shape not in SHAPES:
        raise ValueError(f"shape of the region: expected one of {', '.join(SHAPES)}, got {shape!r}")
    height, width = image.shape[:2]
    grow = growth(boxes, dilation, min_dilation)
    grown = dilate_boxes(boxes, grow, height, width)
    region = rasterise_boxes(grown, height, width)
    if shape == "box" or not region.any() or region.all():
        return region
    return _letters(image, as_boxes(boxes), grow, region, method)


def growth(boxes, dilation: float, min_dilation: int) -> np.ndarray:
    """(N,) pixels by which each box grows: `dilation` times its shorter side, at least `min_dilation`."""
    if dilation < 0 or min_dilation < 0:
        raise ValueError(f"dilation: expected 0 or more, got {dilation} and at least {min_dilation} pixels")
    array = as_boxes(boxes)
    shorter = (array[:, 2:] - array[:, :2]).min(axis=1, initial=np.iinfo(np.int64).max) if len(array) else np.zeros(0)
    return np.maximum(np.ceil(dilation * shorter), min_dilation).astype(np.int64)


def _check_image(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16):
        kind = getattr(image, "dtype", type(image).__name__)
        raise TypeError(f"expected an image of type uint8 or uint16, got {kind}")
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"expected an image of shape (H, W) or (H, W, C), got {image.shape}")


def _inpaint(image: np.ndarray, region: np.ndarray, radius: int, flag: int) -> np.ndarray:
    """cv2.inpaint for every pixel type: it takes 8 bit with one or three channels, 16 bit with one."""
    mask = region.astype(np.uint8)
    image = np.ascontiguousarray(image)
    if image.ndim == 3 and (image == image[..., :1]).all():  # grey stored as colour: the same result, sooner
        return np.repeat(_inpaint(image[..., 0], region, radius, flag)[..., None], image.shape[2], axis=2)
    if image.ndim == 2 or (image.dtype == np.uint8 and image.shape[2] == 3):
        return cv2.inpaint(image, mask, radius, flag)
    channels = [cv2.inpaint(np.ascontiguousarray(image[..., c]), mask, radius, flag) for c in range(image.shape[2])]
    return np.stack(channels, axis=-1)


def _crops(parts: np.ndarray, margin: int, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Boxes with a margin around the parts; boxes that meet become one."""
    waiting = [tuple(box) for box in dilate_boxes(parts, margin, height, width).tolist()]
    crops: list[tuple[int, int, int, int]] = []
    while waiting:
        x0, y0, x1, y1 = waiting.pop()
        meeting = [c for c in crops if c[0] < x1 and x0 < c[2] and c[1] < y1 and y0 < c[3]]
        if not meeting:
            crops.append((x0, y0, x1, y1))
            continue
        crops = [c for c in crops if c not in meeting]
        group = np.array([(x0, y0, x1, y1), *meeting])
        waiting.append((*group[:, :2].min(axis=0).tolist(), *group[:, 2:].max(axis=0).tolist()))
    return crops


def _letters(image, boxes, grow, region, method) -> np.ndarray:
    """The part of `region` within `grow` pixels of what stands out from the filled-in background.

    What stands out, bright or dark, is found box by box: the difference to the background above Otsu's threshold,
    which noise may only raise. A box in which next to nothing or nearly everything stands out is taken whole.
    """
    height, width = region.shape
    gray = image if image.ndim == 2 else image.mean(axis=2).astype(image.dtype)
    background = inpaint_region(gray, region, 5, method)
    difference = np.abs(gray.astype(np.float32) - background)
    letters = np.zeros_like(region)
    for box, pixels in zip(boxes, grow, strict=True):
        grown = dilate_boxes([box], pixels, height, width)
        if not len(grown):
            continue
        x0, y0, x1, y1 = grown[0]
        inside = _stands_out(difference[y0:y1, x0:x1], _noise(gray, grown[0], region))
        if not 0.02 < inside.mean() < 0.6:
            inside = np.ones_like(inside)
        elif pixels:
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(pixels) + 1,) * 2)
            inside = cv2.dilate(inside.astype(np.uint8), kernel) > 0
        letters[y0:y1, x0:x1] |= inside
    return letters


def _stands_out(difference: np.ndarray, noise: float) -> np.ndarray:
    top = float(difference.max())
    if top <= 4 * noise:
        return np.zeros(difference.shape, bool)
    scaled = np.ascontiguousarray(np.minimum(difference * (255 / top), 255).astype(np.uint8))
    otsu, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return difference > max(0.5 * otsu * top / 255, 3 * noise)  # half: the blurred rim of a letter belongs to it


def _noise(gray: np.ndarray, box: np.ndarray, region: np.ndarray) -> float:
    """Standard deviation (robust) of the fine grain in a ring around the box, in grey levels."""
    x0, y0, x1, y1 = box
    ring = max(6, int(min(x1 - x0, y1 - y0)) // 2)
    window = (slice(max(y0 - ring, 0), y1 + ring), slice(max(x0 - ring, 0), x1 + ring))
    patch = gray[window].astype(np.float32)
    grain = np.abs(patch - cv2.GaussianBlur(patch, (0, 0), 2))[~region[window]]
    return float(1.4826 * np.median(grain)) if grain.size else 0.0

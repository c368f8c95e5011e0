"""From an image's pixels to what the model sees of it, and back: grey 8 bits, crop, square of the model's size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from xray_debug.data.boxes import as_boxes

_AT_ONCE = 1 << 22  # pixels that are worked on together, where that takes many bytes of each


def strips(image: np.ndarray) -> Iterator[slice]:
    """Rows of an array, some at a time: what is made of one strip is small beside the whole."""
    rows = max(1, _AT_ONCE // max(1, image[:1].size))
    return (slice(top, top + rows) for top in range(0, len(image), rows))


@dataclass(frozen=True)
class GreyWindow:
    """The pixel values shown as black (0) and white (255). 8-bit pixels are always shown as they are.

    It is taken once, of the film as it came, and every frame made from that film (repaired, blurred, swapped) is seen
    through it: a window of the frame's own would change the whole picture where a few bright pixels were erased.
    """

    low: float = 0
    high: float = 255

    @classmethod
    def of(cls, image: np.ndarray, counted: np.ndarray | None = None) -> GreyWindow:
        """Of uint16 pixels, percentiles 0.5 and 99.5; 0 and 255 where none exceeds 255, and for uint8.

        `counted`: bool (H, W), the pixels that are of the film (not padding); all without it.
        """
        grey = _luma(image)
        if grey.dtype == np.uint8:
            return cls()
        values = grey.ravel() if counted is None or not counted.any() else grey[counted]
        counts = np.zeros(65536, np.int64)
        for part in np.array_split(values, values.size // _AT_ONCE + 1):  # bincount makes 8 bytes of each
            counts += np.bincount(part, minlength=65536)
        counts = counts[: max(256, int(counts.nonzero()[0][-1]) + 1)]
        if len(counts) == 256:
            return cls()
        share = np.cumsum(counts) / values.size
        low, high = (int(np.searchsorted(share, level)) for level in (0.005, 0.995))
        return cls(low, high) if high > low else cls(int(values.min()), int(values.max()))


def _luma(image: np.ndarray) -> np.ndarray:
    """uint8 or uint16 (H, W); TypeError or ValueError for what is no image."""
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"expected uint8 or uint16 pixels, got {image.dtype}")
    if image.ndim == 3 and image.shape[2] == 3 and image.size:
        image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    if image.ndim != 2 or image.size == 0:
        raise ValueError(f"expected an image (H, W) or (H, W, 3), got shape {image.shape}")
    return image


def to_gray8(image: np.ndarray, window: GreyWindow | None = None) -> np.ndarray:
    """Any image as grey uint8 (H, W): colour by luma; 16 bits by `window`, the image's own (GreyWindow.of) without it.

    Whoever has altered a film gives the window of the film as it came.
    """
    image = _luma(image)
    if image.dtype == np.uint8:
        return image
    window = GreyWindow.of(image) if window is None else window
    span = window.high - window.low
    table = (np.arange(65536, dtype=np.float64) - window.low) * (255.0 / (span if span > 0 else 1))
    return np.round(table.clip(0, 255)).astype(np.uint8)[image]


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area averaging along the axes that shrink, linear interpolation (pixel centres) along those that grow."""
    rows, columns = image.shape
    if rows > height or columns > width:
        image = cv2.resize(image, (min(columns, width), min(rows, height)), interpolation=cv2.INTER_AREA)
    if image.shape != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


@dataclass(frozen=True)
class ModelView:
    """What a model sees of an image: fractions of the height and width cut away, then a square of `size` pixels.

    Image coordinates are pixels of the original; view coordinates are pixels of the square. Both are continuous
    with pixel i covering [i, i + 1).
    """

    size: int
    crop_top: float = 0.0
    crop_bottom: float = 0.0
    crop_left: float = 0.0
    crop_right: float = 0.0

    def __post_init__(self):
        if int(self.size) != self.size or self.size < 1:
            raise ValueError(f"size: expected a positive whole number, got {self.size}")
        for name in ("crop_top", "crop_bottom", "crop_left", "crop_right"):
            if not 0 <= getattr(self, name) < 0.5:
                raise ValueError(f"{name}: expected a fraction in [0, 0.5), got {getattr(self, name)}")

    @classmethod
    def from_config(cls, config) -> ModelView:
        """From a ViewConfig, or anything with the same fields."""
        return cls(config.size, config.crop_top, config.crop_bottom, config.crop_left, config.crop_right)

    def window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1): the part of a (height, width) image that is kept, at least one pixel."""
        if height < 1 or width < 1:
            raise ValueError(f"expected an image of at least 1 x 1 pixels, got {width} x {height}")
        cut = [int(share * length + 1e-9) for share, length in
               ((self.crop_left, width), (self.crop_top, height), (self.crop_right, width), (self.crop_bottom, height))]
        return cut[0], cut[1], width - cut[2], height - cut[3]

    def apply(self, image: np.ndarray, window: GreyWindow | None = None) -> np.ndarray:
        """uint8 or uint16 (H, W) or (H, W, 3) -> uint8 (size, size); value / 255 is the model's input.

        `window`: of the film that `image` was made from, as in to_gray8.
        """
        gray = to_gray8(image, window)
        x0, y0, x1, y1 = self.window(*gray.shape)
        return np.ascontiguousarray(_resize(gray[y0:y1, x0:x1], self.size, self.size))

    def boxes_to_view(self, boxes, height: int, width: int) -> np.ndarray:
        """Boxes in image pixels -> float64 (N, 4) in view pixels, clipped to [0, size]; one outside has no area."""
        x0, y0, x1, y1 = self.window(height, width)
        scale = self.size / np.array([x1 - x0, y1 - y0] * 2, np.float64)
        return ((as_boxes(boxes) - np.array([x0, y0] * 2)) * scale).clip(0, self.size)

    def visible_fraction(self, boxes, height: int, width: int) -> np.ndarray:
        """(N,) in [0, 1]: the share of each box's area that the model sees; 0 for a box without area."""
        array, window = as_boxes(boxes), np.array(self.window(height, width))
        common = (np.minimum(array[:, 2:], window[2:]) - np.maximum(array[:, :2], window[:2])).clip(0).prod(axis=1)
        area = (array[:, 2:] - array[:, :2]).clip(0).prod(axis=1)
        return np.divide(common, area, out=np.zeros(len(array)), where=area > 0)

    def mask_to_view(self, mask: np.ndarray) -> np.ndarray:
        """bool or float (H, W) in [0, 1] -> float32 (size, size): the covered share of each view pixel."""
        mask = np.asarray(mask, np.float32)
        if mask.ndim != 2:
            raise ValueError(f"expected a mask (H, W), got shape {mask.shape}")
        x0, y0, x1, y1 = self.window(*mask.shape)
        return _resize(np.ascontiguousarray(mask[y0:y1, x0:x1]), self.size, self.size).clip(0, 1)

    def map_to_image(self, saliency: np.ndarray, height: int, width: int) -> np.ndarray:
        """A map (m, m) over the view -> float32 (height, width) over the image; 0 where the view was cropped."""
        saliency = np.asarray(saliency, np.float32)
        if saliency.ndim != 2 or saliency.size == 0:
            raise ValueError(f"expected a map (m, m), got shape {saliency.shape}")
        x0, y0, x1, y1 = self.window(height, width)
        full = np.zeros((height, width), np.float32)
        full[y0:y1, x0:x1] = _resize(np.ascontiguousarray(saliency), y1 - y0, x1 - x0)
        return full

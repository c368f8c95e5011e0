"""From an image's pixels to what the model sees of it, and back: grey 8 bits, crop, square of the model's size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

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


RESIZES = ("squash", "shorter+crop", "pad")


@dataclass(frozen=True)
class Axis:
    """Height or width of an image beside that of the view: view = (image - start) * scale + shift, in pixels.

    `start`, `length`: of what is kept of the image; `resized`: what that is made to, of which the view of `size` pixels
    shows a part (shift < 0), or which it shows between two margins (shift > 0).
    """

    start: int
    length: int
    resized: int
    size: int

    @property
    def shift(self) -> int:
        """As torchvision's CenterCrop places a crop; margins are as wide, the second the wider one of two."""
        if self.resized > self.size:
            return -round((self.resized - self.size) / 2)
        return (self.size - self.resized) // 2

    @property
    def scale(self) -> float:
        return self.resized / self.length

    def to_view(self, places: np.ndarray) -> np.ndarray:
        return (places - self.start) * self.scale + self.shift

    @property
    def seen(self) -> tuple[float, float]:
        """From where to where the view shows the image, in image pixels."""
        low, high = ((edge - self.shift) / self.scale for edge in (0, self.size))
        return self.start + max(low, 0.0), self.start + min(high, float(self.length))

    @property
    def kept(self) -> slice:
        return slice(self.start, self.start + self.length)

    @property
    def parts(self) -> tuple[slice, slice]:
        """The part of what was resized that is shown, and where in the view it is."""
        first, place, count = max(-self.shift, 0), max(self.shift, 0), min(self.resized, self.size)
        return slice(first, first + count), slice(place, place + count)


@dataclass(frozen=True)
class ModelView:
    """What a model sees of an image: fractions of the height and width cut away, then a square of `size` pixels.

    `resize` says how the rest becomes square: "squash", both sides to `size` whatever the shape; "shorter+crop", the
    shorter side to `resize_to` pixels (0: `size`) and the centre cut out, as torchvision's Resize and CenterCrop do;
    "pad", the longer side to `size` and black margins around the shorter.
    Image coordinates are pixels of the original; view coordinates are pixels of the square. Both are continuous
    with pixel i covering [i, i + 1).
    """

    size: int
    crop_top: float = 0.0
    crop_bottom: float = 0.0
    crop_left: float = 0.0
    crop_right: float = 0.0
    resize: str = "squash"
    resize_to: int = 0

    def __post_init__(self):
        if int(self.size) != self.size or self.size < 1:
            raise ValueError(f"size: expected a positive whole number, got {self.size}")
        for name in ("crop_top", "crop_bottom", "crop_left", "crop_right"):
            if not 0 <= getattr(self, name) < 0.5:
                raise ValueError(f"{name}: expected a fraction in [0, 0.5), got {getattr(self, name)}")
        if self.resize not in RESIZES:
            raise ValueError(f"resize: expected one of {', '.join(RESIZES)}, got {self.resize!r}")
        if self.resize_to and (self.resize != "shorter+crop" or self.resize_to < self.size):
            raise ValueError(f"resize_to: expected at least the size of {self.size} pixels, with shorter+crop alone, "
                             f"got {self.resize_to} with {self.resize}")  # fmt: skip

    @classmethod
    def from_config(cls, config) -> ModelView:
        """From a ViewConfig, or anything with the same fields."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """Of the rows and of the columns of a (height, width) image."""
        if height < 1 or width < 1:
            raise ValueError(f"expected an image of at least 1 x 1 pixels, got {width} x {height}")
        top, bottom, left, right = (
            int(share * length + 1e-9) for share, length in
            ((self.crop_top, height), (self.crop_bottom, height), (self.crop_left, width), (self.crop_right, width))
        )  # fmt: skip
        starts, lengths = (top, left), (height - top - bottom, width - left - right)
        return tuple(Axis(start, length, self._resized(length, lengths), self.size)
                     for start, length in zip(starts, lengths, strict=True))  # fmt: skip

    def _resized(self, length: int, lengths: tuple[int, int]) -> int:
        if self.resize == "pad":
            return max(1, round(length * self.size / max(lengths)))
        if self.resize == "shorter+crop":
            return (self.resize_to or self.size) * length // min(lengths)
        return self.size

    def window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1): the part of a (height, width) image of which the model sees something, a pixel at least."""
        (y0, y1), (x0, x1) = (axis.seen for axis in self.axes(height, width))
        return int(x0 + 1e-6), int(y0 + 1e-6), math.ceil(x1 - 1e-6), math.ceil(y1 - 1e-6)

    def apply(self, image: np.ndarray, window: GreyWindow | None = None) -> np.ndarray:
        """uint8 or uint16 (H, W) or (H, W, 3) -> uint8 (size, size); value / 255 is the model's input.

        `window`: of the film that `image` was made from, as in to_gray8.
        """
        return self._shown(to_gray8(image, window))

    def _shown(self, image: np.ndarray) -> np.ndarray:
        """(H, W) -> (size, size) of the same type, 0 in the margins."""
        rows, columns = self.axes(*image.shape)
        kept = np.ascontiguousarray(image[rows.kept, columns.kept])
        found = _resize(kept, rows.resized, columns.resized)
        if found.shape == (self.size, self.size):
            return np.ascontiguousarray(found)
        result = np.zeros((self.size, self.size), found.dtype)
        result[rows.parts[1], columns.parts[1]] = found[rows.parts[0], columns.parts[0]]
        return result

    def boxes_to_view(self, boxes, height: int, width: int) -> np.ndarray:
        """Boxes in image pixels -> float64 (N, 4) in view pixels, clipped to [0, size]; one outside has no area."""
        array = as_boxes(boxes).astype(np.float64)
        for first, axis in zip((1, 0), self.axes(height, width), strict=True):
            low, high = (axis.to_view(np.array(edge)) for edge in axis.seen)
            array[:, first::2] = axis.to_view(array[:, first::2]).clip(low, high)
        return array.clip(0, self.size)

    def visible_fraction(self, boxes, height: int, width: int) -> np.ndarray:
        """(N,) in [0, 1]: the share of each box's area that the model sees; 0 for a box without area."""
        array = as_boxes(boxes)
        (y0, y1), (x0, x1) = (axis.seen for axis in self.axes(height, width))
        window = np.array([x0, y0, x1, y1])
        common = (np.minimum(array[:, 2:], window[2:]) - np.maximum(array[:, :2], window[:2])).clip(0).prod(axis=1)
        area = (array[:, 2:] - array[:, :2]).clip(0).prod(axis=1)
        return np.divide(common, area, out=np.zeros(len(array)), where=area > 0)

    def mask_to_view(self, mask: np.ndarray) -> np.ndarray:
        """bool or float (H, W) in [0, 1] -> float32 (size, size): the covered share of each view pixel."""
        mask = np.asarray(mask, np.float32)
        if mask.ndim != 2:
            raise ValueError(f"expected a mask (H, W), got shape {mask.shape}")
        return self._shown(mask).clip(0, 1)

    def map_to_image(self, saliency: np.ndarray, height: int, width: int) -> np.ndarray:
        """A map (m, m) over the view -> float32 (height, width) over the image; 0 where the view does not reach."""
        saliency = np.asarray(saliency, np.float32)
        if saliency.ndim != 2 or saliency.size == 0:
            raise ValueError(f"expected a map (m, m), got shape {saliency.shape}")
        rows, columns = self.axes(height, width)
        full = np.zeros((height, width), np.float32)
        if rows.resized == columns.resized == self.size:
            full[rows.kept, columns.kept] = _resize(np.ascontiguousarray(saliency), rows.length, columns.length)
            return full
        x0, y0, x1, y1 = self.window(height, width)
        places = [(axis.to_view(np.arange(low, high) + 0.5) * count / self.size - 0.5).astype(np.float32)
                  for axis, low, high, count in zip((rows, columns), (y0, x0), (y1, x1), saliency.shape, strict=True)]
        columns_of, rows_of = np.meshgrid(places[1], places[0])
        full[y0:y1, x0:x1] = cv2.remap(np.ascontiguousarray(saliency), columns_of, rows_of, cv2.INTER_LINEAR,
                                       borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        return full

"""What detectors that give score maps share: the sizes a film is read at, tiles, and boxes of the maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from numbers import Real

import numpy as np
import torch

from xray_debug.data.boxes import TextBox
from xray_debug.text.craft import Thresholds, Word, find_words
from xray_debug.text.detectors.registry import checked_image
from xray_debug.text.devices import find_devices, settle
from xray_debug.text.scales import BASE, STRIDE, in_tiles, merge, pad_to, resize_to, to_image, working_sides

Reading = tuple[np.ndarray, tuple[float, float]]  # score maps (2, h, w); pixels of the image per pixel of them (x, y)


def check_numbers(**values: object) -> None:
    """ValueError, by its name, for a value that is no number (a word of the command line, say)."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(f"{name} must be a number, got {value!r}")


def check_shares(**values: object) -> None:
    """ValueError, by its name, for a value that is no number in [0, 1]."""
    check_numbers(**values)
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value!r}")


class MapDetector:
    """Sizes, tiles, score maps to boxes. Images are read one at a time: a batch gives what single images give, bit for
    bit, and on a CPU the maps of one image stay in its cache.

    `base`, `finest`: long sides a film is read at (scales.working_sides); `tile`: the largest side put through the
    network at once; `grow`: share of a box's shorter side added on every side, at least `least_grow` pixels at the
    working size.
    """

    name = ""
    device_thresholds = Thresholds()  # for networks with a map of devices

    def __init__(self, text_threshold=0.7, link_threshold=0.4, low_text=0.4, min_area=10, base=BASE, finest=2 * BASE,
                 tile=1024, overlap=128, grow=0.0, least_grow=0.0, device="cpu"):
        check_shares(text_threshold=text_threshold, link_threshold=link_threshold, low_text=low_text)
        check_numbers(min_area=min_area, base=base, finest=finest, tile=tile, overlap=overlap, grow=grow,
                      least_grow=least_grow)
        if min(base, finest) < STRIDE or tile % STRIDE or overlap % STRIDE or not 0 < overlap < tile:
            raise ValueError(f"base and finest must be at least {STRIDE}, tile and overlap multiples of it, overlap "
                             f"under tile; got {base}, {finest}, {tile}, {overlap}")
        self.thresholds = Thresholds(text_threshold, link_threshold, low_text, min_area)
        self.base, self.finest, self.tile, self.overlap = base, finest, tile, overlap
        self.grow, self.least_grow, self.device = grow, least_grow, torch.device(device)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """An image at its working size, padded -> float32 (C, H, W), what the network takes."""
        raise TypeError("MapDetector is a base class: use load_detector")

    def maps(self, batch: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, P, H / 2, W / 2) float32 scores in [0, 1]: region, affinity and, if P = 3, device."""
        raise TypeError("MapDetector is a base class: use load_detector")

    def detect(self, images: Sequence[np.ndarray]) -> list[list[TextBox]]:
        """uint8 (or uint16, windowed to 8 bits) arrays (H, W) or (H, W, 3) -> boxes in pixels of each image.

        TypeError or ValueError for anything else, with its place in the list.
        """
        return [self._one(image) for image in [checked_image(image, i) for i, image in enumerate(images)]]

    def _one(self, image: np.ndarray) -> list[TextBox]:
        shape = image.shape[:2]
        return merge([self._boxes(maps, scale, shape) for maps, scale in self.readings(image)])

    def readings(self, image: np.ndarray) -> Iterator[Reading]:
        """The maps of each working size."""
        for side in working_sides(*image.shape[:2], self.base, self.finest):
            values, size = self.prepared(image, side)
            yield self.run(values, self.maps), scale_of(image.shape[:2], size)

    def prepared(self, image: np.ndarray, side: int) -> tuple[np.ndarray, tuple[int, int]]:
        """What the network takes of the image with long side `side`, and the size (height, width) without padding."""
        resized = resize_to(image, side)
        return self.prepare(pad_to(resized, STRIDE)), resized.shape[:2]

    def score_maps(self, image: np.ndarray, side: int | None = None) -> np.ndarray:
        """(P, h, w) maps of one whole image at one size (default `base`), half its resolution; P as in `maps`."""
        values, (height, width) = self.prepared(checked_image(image, 0), side or self.base)
        return self.run(values, self.maps)[:, :(height + 1) // 2, :(width + 1) // 2]

    @torch.inference_mode()
    def run(self, values: np.ndarray, network: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        """`network` (as `maps`) over float32 (C, H, W), in tiles where a side is longer than `tile`."""
        def one(part: np.ndarray) -> np.ndarray:
            batch = torch.from_numpy(np.ascontiguousarray(part)).to(self.device)[None]
            maps = network(batch)[0].float().cpu().numpy()
            if not np.isfinite(maps).all():  # no word would be found in it, and the film would pass for free of text
                raise ValueError(f"the detector {self.name} gives NaN or infinity")
            return maps

        return in_tiles(values, one, self.tile, self.overlap) if max(values.shape[1:]) > self.tile else one(values)

    def _boxes(self, maps: np.ndarray, scale: tuple[float, float], shape: tuple[int, int]) -> list[TextBox]:
        region, affinity = maps[:2]  # the padding too, as the official decoding does
        words, devices = find_words(region, affinity, self.thresholds), []
        if len(maps) > 2:
            words, devices = settle(words, find_devices(maps[2], self.device_thresholds), region, maps[2])
        boxes = []
        for word in words:
            x0, y0, x1, y1 = rectangle = self.rectangle(word, region.shape)
            grow = max(self.grow * min(x1 - x0, y1 - y0), self.least_grow / 2)
            boxes.append(to_image(rectangle + grow * np.array([-1, -1, 1, 1]), scale, *shape, word.score))
        boxes += [to_image(device.rectangle, scale, *shape, device.score, "device") for device in devices]
        return [box for box in boxes if box]

    def rectangle(self, word: Word, shape: tuple[int, int]) -> np.ndarray:
        """(4,) float64 x0, y0, x1, y1 of a word in pixels of a map of `shape`."""
        return word.rectangle


def scale_of(shape: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """Pixels of an image (height, width) per pixel of the maps of its reading at `size` (height, width)."""
    return 2 * shape[1] / size[1], 2 * shape[0] / size[0]

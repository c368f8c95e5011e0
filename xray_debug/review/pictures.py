"""The pictures of a case for the browser, each exact: the film, the heat over it, and what cleaning would change.

The film is a lossless PNG of the grey film at its own size. What cleaning changes is a PNG that is clear wherever the
film stays as it is, so that film and patch together are the cleaned film, bit for bit.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from xray_debug.cleaning.erase import clean_image, spared
from xray_debug.config import CleanConfig
from xray_debug.data.images import Film, to_gray8
from xray_debug.data.overlay import DARKEST, heat_colours, scaled_map
from xray_debug.data.view import ModelView
from xray_debug.review.view import ImageError, RunView, ViewError
from xray_debug.run.further import further_mark

HEAT_SIDE = 512  # pixels: heat is smooth, the browser scales it to the film
KEPT_BYTES = 24 << 20  # of pictures and pixels, for all sessions together
THUMBNAIL = 150


def png(image: np.ndarray) -> bytes:
    """(H, W) grey or (H, W, 4) RGBA uint8 as a PNG."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if image.ndim == 3 else []
    image = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGBA2BGRA)
    done, data = cv2.imencode(".png", image, options)
    if not done:
        raise ValueError(f"a picture of shape {image.shape} could not be encoded")
    return data.tobytes()


def heat_layer(saliency: np.ndarray, view: ModelView, height: int, width: int) -> np.ndarray:
    """RGBA uint8, of at most HEAT_SIDE pixels: laid over the film at an opacity it is `overlay.heat_overlay`."""
    scale = min(1.0, HEAT_SIDE / max(height, width))
    shape = max(round(height * scale), 1), max(round(width * scale), 1)
    fine = scaled_map(view.map_to_image(saliency, *shape).clip(0, 1))
    return np.dstack([heat_colours(DARKEST + (1 - DARKEST) * fine), np.round(255 * fine).astype(np.uint8)])


class Patch(NamedTuple):
    """What cleaning changes: a PNG, clear where the film stays (b"": nothing), and the pixel (x, y) where it lies."""

    picture: bytes
    at: tuple[int, int]


def cleaned_layer(film: Film, boxes, config: CleanConfig, kept=()) -> tuple[np.ndarray, tuple[int, int]]:
    """RGBA uint8: the cleaned film where cleaning changes it, clear elsewhere; and the pixel (x, y) of its corner.

    Made as `clean` makes it: from the original pixels, then seen through the original's grey window; what lies in
    the boxes `kept` stays. ValueError where the boxes leave nothing to fill in from.
    """
    cleaned, region = spared(film.pixels, *clean_image(film.pixels, boxes, config), boxes, kept)
    rows, columns = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros((0, 0, 4), np.uint8), (0, 0)
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    layer = np.zeros((*region[part].shape, 4), np.uint8)
    layer[region[part], :3] = to_gray8(cleaned, film.window)[part][region[part], None]
    layer[region[part], 3] = 255
    return layer, (int(columns[0]), int(rows[0]))


def thumbnail(film: np.ndarray, boxes: np.ndarray, colour=(255, 64, 200)) -> np.ndarray:
    """RGB uint8 of THUMBNAIL x THUMBNAIL pixels: the film, with its boxes, on black."""
    height, width = film.shape
    scale = THUMBNAIL / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(film, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    small = np.repeat(small[..., None], 3, axis=2)
    for x0, y0, x1, y1 in (np.asarray(boxes, float).reshape(-1, 4) * scale).round().astype(int).tolist():
        cv2.rectangle(small, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), colour, 1)
    result = np.zeros((THUMBNAIL, THUMBNAIL, 3), np.uint8)
    top, left = (THUMBNAIL - size[1]) // 2, (THUMBNAIL - size[0]) // 2
    result[top : top + size[1], left : left + size[0]] = small
    return result


@dataclass(frozen=True)
class Layers:
    """What is shown of one case: film, its PNG, the heat's PNG or None, and why there is none."""

    film: Film
    picture: bytes
    heat: bytes | None
    map_problem: str
    peak: float

    @property
    def size(self) -> int:
        return self.film.pixels.nbytes + len(self.picture) + len(self.heat or b"")


def layers_of(run: RunView, image_id: str) -> Layers:
    """ViewError or ImageError where the film cannot be shown; a damaged map is a problem of its own."""
    film = run.film(image_id)
    gray = film.gray
    heat, problem, peak = None, "", 0.0
    try:
        saliency = run.saliency(image_id)
    except ViewError as error:
        saliency, problem = None, str(error)
    if saliency is not None:
        heat, peak = png(heat_layer(saliency, run.view, *gray.shape)), float(saliency.max())
    return Layers(film, png(gray), heat, problem, peak)


class Pictures:
    """Pictures by key, the last used kept up to KEPT_BYTES; the next case's are made while this one is looked at."""

    def __init__(self, most: int = KEPT_BYTES):
        self.most, self.kept = most, 0
        self._known: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._ahead, self._wanted = ThreadPoolExecutor(1, "pictures"), {}

    def get(self, key, make: Callable[[], Any], size: Callable[[Any], int] = len) -> Any:
        """What is kept under the key, or made now; what `make` raises is raised and not kept."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key][0]
        made = make()
        with self._lock:
            if key not in self._known:
                self._known[key] = (made, size(made))
                self.kept += self._known[key][1]
            while self.kept > self.most and len(self._known) > 1:
                self.kept -= self._known.popitem(last=False)[1][1]
        return made

    def layers(self, run: RunView, image_id: str) -> Layers:
        key = (*_of(run, image_id), further_mark(run.store, image_id))
        return self.get(key, lambda: layers_of(run, image_id), lambda made: made.size)

    def cleaned(self, run: RunView, image_id: str, boxes: list[list[int]]) -> Patch:
        """`cleaned_layer` as a PNG; its errors."""
        film, kept = self.layers(run, image_id).film, run.kept_beside(image_id, boxes).tolist()

        def make() -> Patch:
            layer, at = cleaned_layer(film, boxes, run.clean, kept)
            return Patch(png(layer) if layer.size else b"", at)

        key = (*_of(run, image_id), *(tuple(map(tuple, own)) for own in (boxes, kept)))
        return self.get(key, make, lambda made: len(made.picture))

    def small(self, run: RunView, image_id: str) -> bytes:
        """A JPEG of `thumbnail`; ViewError or ImageError where the film cannot be shown."""

        def make() -> bytes:
            picture = thumbnail(run.film(image_id).gray, run.boxes_of(image_id))
            return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()

        return self.get((*_of(run, image_id), "small"), make)

    def ahead(self, run: RunView, wanted: Mapping[str, list[list[int]]]) -> None:
        """Makes these cases' pictures in the background, {image_id: boxes}, unless others are wanted before it begins.

        What goes wrong is told when they are asked for.
        """
        self._wanted = wanted

        def make(image_id: str, boxes: list[list[int]]) -> None:
            if self._wanted is wanted:
                with contextlib.suppress(ImageError, ValueError, OSError):
                    self.cleaned(run, image_id, boxes)

        for image_id, boxes in wanted.items():
            self._ahead.submit(make, image_id, boxes)


def _of(run: RunView, image_id: str) -> tuple:
    """Stands for one image of a run in one state of its files."""
    return str(run.store.folder), run.store.state(), image_id

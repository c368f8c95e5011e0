"""The strip of pictures of a flagged case. Drawn with Pillow: a strip is a few images and lines of text, and there may
be many of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xray_debug.data.files import atomic_write
from xray_debug.data.overlay import gray_bytes
from xray_debug.saliency.plots import INK, SKY, Panel

SIDE, GAP, LINE = 300, 12, 40  # pixels: a picture's longer side, between pictures, a line of text
TITLE, CAPTION, SMALLEST = 21, 19.5, 10  # sizes of the letters, pixels
QUALITY = 82  # of the pictures in the page: a film's grain costs three times as much without loss


def case_figure(panels: Sequence[Panel], path: str | Path) -> Path:
    """One PNG: the panels of a flagged case side by side, each with its title and the probability below it."""
    if not panels:
        raise ValueError("case_figure: expected at least one panel, got none")
    strip = Image.new("RGB", ((SIDE + GAP) * len(panels), SIDE + 2 * LINE), "white")
    draw = ImageDraw.Draw(strip)
    for number, panel in enumerate(panels):
        left = number * (SIDE + GAP) + GAP // 2
        picture = _picture(panel)
        x, y = left + (SIDE - picture.width) // 2, LINE + (SIDE - picture.height) // 2
        strip.paste(picture, (x, y))
        for box in _boxes(panel, picture.width):
            draw.rectangle([x + box[0], y + box[1], x + box[2], y + box[3]], outline=SKY, width=3)
        for text, size, middle in ((panel.title, TITLE, LINE / 2), (panel.caption, CAPTION, 1.5 * LINE + SIDE)):
            draw.text((left + SIDE / 2, middle), text, INK, _fitting(text, size), anchor="mm")
    data = io.BytesIO()
    strip.save(data, format="PNG")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, lambda file: file.write(data.getvalue()))
    return path


def strip_pictures(path: str | Path, count: int) -> list[bytes]:
    """The `count` pictures of a strip that case_figure wrote, without their texts, as WebP."""
    found = []
    with Image.open(path) as strip:
        for number in range(count):
            left, data = number * (SIDE + GAP) + GAP // 2, io.BytesIO()
            strip.crop((left, LINE, left + SIDE, LINE + SIDE)).save(data, format="WEBP", quality=QUALITY, method=4)
            found.append(data.getvalue())
    return found


def _picture(panel: Panel) -> Image.Image:
    """The panel's image with its longer side SIDE."""
    image = gray_bytes(panel.image)
    scale = SIDE / max(image.shape[:2])
    size = tuple(max(round(scale * length), 1) for length in image.shape[1::-1])
    shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return Image.fromarray(shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2))


def _boxes(panel: Panel, width: int) -> list[list[int]]:
    """The panel's boxes in pixels of the picture, x1 and y1 inclusive."""
    boxes = np.asarray(panel.boxes, float).reshape(-1, 4) * (width / panel.image.shape[1])
    found = np.round(boxes).astype(int)
    found[:, 2:] = np.maximum(found[:, 2:] - 1, found[:, :2] + 2)
    return found.tolist()


@cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _fitting(text: str, size: float) -> ImageFont.FreeTypeFont:
    """The font in which the text is no wider than its panel."""
    while size > SMALLEST and _font(size).getlength(text) > SIDE + GAP // 2:
        size -= 1
    return _font(size)

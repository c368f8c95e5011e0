"""Markers as radiographs carry them, drawn over backgrounds with the exact box of every character.

A `Sticker` is one marker before it is placed: its ink, and where it has them its halo and its plate, as coverages in
[0, 1], with the boxes of its characters. `draw_sticker` turns, mirrors, scales and lays it on. The shapes that are
not text are in `distractors`. Everything random comes from the generator passed in. Fonts come from matplotlib,
Pillow and OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xray_debug.text.training.targets import Character

UNIT = 48  # pixels, height of a capital in a sticker before it is placed
SMALL = UNIT // 2
SANS = ("DejaVuSans-Bold", "DejaVuSans", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique", "DejaVuSansMono-Bold",
        "DejaVuSansMono", "cmss10", "pillow", "hershey-simplex", "hershey-duplex", "hershey-plain")
SERIF = ("DejaVuSerif-Bold", "DejaVuSerif", "STIXGeneralBol", "STIXGeneral", "cmb10", "cmr10", "hershey-complex")
SCRIPT = ("hershey-script", "hershey-script-complex", "cmmi10")
LEAD = ("DejaVuSans-Bold", "DejaVuSans-Bold", "DejaVuSans", "DejaVuSansMono-Bold", "pillow", "cmss10",
        "hershey-simplex", "hershey-duplex", "DejaVuSans-BoldOblique")
WORDS = ("PORTABLE", "AP", "PA", "ERECT", "SUPINE", "UPRIGHT", "SEMI-ERECT", "SITTING", "MOBILE", "BEDSIDE", "CHEST",
         "LEFT", "RIGHT", "LATERAL", "INSPIRATION", "EXPIRATION", "ICU", "ER", "WARD", "SEDUTO", "SUPINO", "CLINO",
         "ORTO", "A LETTO", "LETTO", "IN PIEDI", "DX", "SX", "DECUB", "PORT", "GRID", "NO GRID", "THORAX", "RX TORACE",
         "COVID", "AP ERECT", "AP SUPINE", "UPRIGHT BEDSIDE", "STANDING", "STRETCHER", "Day 1", "Day 7", "Baseline",
         "At admission", "Follow-up", "Portable", "Erect", "Supine", "Left", "Right", "CR", "DR", "ICU 4", "RESUS")
UNITS = ("kV", "kVp", "mAs", "mA", "ms", "dGy", "cm2", "mGy", "EI", "DI", "SID", "W", "L", "WW:", "WL:", "C", "S", "Z")
CAPITALS, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
_HERSHEY = {"hershey-simplex": cv2.FONT_HERSHEY_SIMPLEX, "hershey-duplex": cv2.FONT_HERSHEY_DUPLEX,
            "hershey-plain": cv2.FONT_HERSHEY_PLAIN, "hershey-complex": cv2.FONT_HERSHEY_COMPLEX,
            "hershey-script": cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
            "hershey-script-complex": cv2.FONT_HERSHEY_SCRIPT_COMPLEX}  # fmt: skip


@dataclass(frozen=True)
class Sticker:
    """Coverages float32 (h, w) in [0, 1] and characters in the sticker's own pixels; `plate`, `halo` may be None."""

    ink: np.ndarray
    characters: tuple[Character, ...]
    halo: np.ndarray | None = None
    plate: np.ndarray | None = None


@lru_cache(maxsize=256)
def _font(name: str, size: int):
    if name == "pillow":
        return ImageFont.load_default(size)
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)


@lru_cache(maxsize=4096)
def glyph(char: str, font: str, size: int, weight: int) -> tuple[np.ndarray, int, int, float]:
    """One character: (coverage (h, w) cut to its ink, left, top relative to the pen on the base line, advance).

    `size` is the height of a capital in pixels. A character without ink (a space) has a coverage of size 0.
    """
    canvas = np.zeros((size * 3, size * 4), np.uint8)
    x, y = size, size * 2
    if font in _HERSHEY:
        stroke = max(1, round(size * (0.06 + 0.06 * weight)))
        scale = cv2.getFontScaleFromHeight(_HERSHEY[font], size, 1)
        cv2.putText(canvas, char, (x, y), _HERSHEY[font], scale, 255, stroke, cv2.LINE_AA)
        advance = cv2.getTextSize(char, _HERSHEY[font], scale, 1)[0][0] + stroke
    else:
        face = _font(font, round(size * 1.39))
        image = Image.fromarray(canvas)
        ImageDraw.Draw(image).text((x, y), char, fill=255, font=face, anchor="ls",
                                   stroke_width=round(size * 0.03 * max(0, weight - 1)))
        canvas, advance = np.array(image), face.getlength(char)
    rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
    if not len(rows):
        return np.zeros((0, 0), np.uint8), 0, 0, float(advance)
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return canvas[y0:y1, x0:x1].copy(), int(x0 - x), int(y0 - y), float(advance)


def line_sticker(text: str, font: str, size: int, weight: int = 1, spacing: float = 0.0, vertical: bool = False,
                 word: int = 0) -> Sticker:
    """Text in one line, or one character under the other; spaces end a word. Characters without ink have no box."""
    placed, pen_x, pen_y = [], 0.0, 0.0
    for char in text:
        image, left, top, advance = glyph(char, font, size, weight)
        if image.size == 0:
            word += 1
        elif vertical:
            placed.append((image, -image.shape[1] // 2, round(pen_y), word, char))
            pen_y += image.shape[0] + (0.25 + spacing) * size
            continue
        else:
            placed.append((image, round(pen_x) + left, top, word, char))
        pen_x, pen_y = pen_x + advance + spacing * size, pen_y + (size / 2 if vertical else 0)
    if not placed:
        raise ValueError(f"text {text!r} has no ink in font {font}")
    x0, y0 = min(p[1] for p in placed), min(p[2] for p in placed)
    x1, y1 = max(p[1] + p[0].shape[1] for p in placed), max(p[2] + p[0].shape[0] for p in placed)
    ink, characters = np.zeros((y1 - y0, x1 - x0), np.float32), []
    for image, x, y, number, char in placed:
        h, w = image.shape
        window = ink[y - y0:y - y0 + h, x - x0:x - x0 + w]
        np.maximum(window, image / np.float32(255), out=window)
        if char not in ".,:;-/'()":  # marks belong to the word but are no characters of their own
            characters.append(Character(np.array([x - x0 + w / 2, y - y0 + h / 2]), np.array([w / 2, 0.0]),
                                        np.array([0.0, h / 2]), number))
    return Sticker(ink, tuple(characters))


def joined(parts: list[tuple[Sticker, float, float]]) -> Sticker:
    """Several stickers (ink only) as one; each with the place (x, y) of its top left corner. Words stay apart."""
    x0, y0 = min(x for _, x, _ in parts), min(y for _, _, y in parts)
    width = round(max(x - x0 + s.ink.shape[1] for s, x, _ in parts)) + 1
    height = round(max(y - y0 + s.ink.shape[0] for s, _, y in parts)) + 1
    ink, characters = np.zeros((height, width), np.float32), []
    for sticker, x, y in parts:
        column, row = round(x - x0), round(y - y0)
        h, w = sticker.ink.shape
        window = ink[row:row + h, column:column + w]
        np.maximum(window, sticker.ink, out=window)
        first = max((c.word for c in characters), default=-1) + 1
        characters += [replace(c, centre=c.centre + (column, row), word=c.word + first) for c in sticker.characters]
    return Sticker(ink, tuple(characters))


def centred(sticker: Sticker, height: int, width: int) -> Sticker:
    """The sticker (ink only) in the middle of a larger empty one."""
    h, w = sticker.ink.shape
    top, left = (height - h) // 2, (width - w) // 2
    ink = np.zeros((height, width), np.float32)
    ink[top:top + h, left:left + w] = sticker.ink
    return Sticker(ink, tuple(replace(c, centre=c.centre + (left, top)) for c in sticker.characters))


def _padded(sticker: Sticker, margin: int) -> Sticker:
    h, w = sticker.ink.shape
    return centred(sticker, h + 2 * margin, w + 2 * margin)


def _disc(pixels: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))


def with_halo(sticker: Sticker, pixels: int) -> Sticker:
    """Letters with a contour around them (`halo`), usually of the other polarity."""
    sticker = _padded(sticker, pixels + 1)
    return replace(sticker, halo=cv2.dilate(sticker.ink, _disc(pixels)))


def hollow(sticker: Sticker, pixels: int) -> Sticker:
    """Only the outline of the letters."""
    sticker = _padded(sticker, pixels + 1)
    return replace(sticker, ink=np.clip(cv2.dilate(sticker.ink, _disc(pixels)) - sticker.ink, 0, 1))


def framed(sticker: Sticker, shape: str, margin: int, stroke: int, filled: bool) -> Sticker:
    """The sticker inside a "circle", "ellipse", "box" or "capsule": the line joins the ink, or, filled, is a plate."""
    h, w = sticker.ink.shape
    corner = 1.35 if shape in ("circle", "ellipse") else 1.0
    height, width = (round(side * corner) + 2 * (margin + stroke) for side in (h, w))
    if shape == "circle":
        height = width = max(height, width)
    if shape == "capsule":
        height += width // 2
    sticker = centred(sticker, height + 4, width + 4)
    form = np.zeros(sticker.ink.shape, np.uint8)
    thick = -1 if filled else stroke
    inset = 2 + (0 if filled else stroke // 2)
    if shape == "box":
        cv2.rectangle(form, (inset, inset), (width + 3 - inset, height + 3 - inset), 255, thick)
    elif shape == "capsule":
        radius = (width + 3 - 2 * inset) // 2
        cv2.circle(form, (inset + radius, inset + radius), radius, 255, thick, cv2.LINE_AA)
        cv2.circle(form, (inset + radius, height + 3 - inset - radius), radius, 255, thick, cv2.LINE_AA)
        cv2.rectangle(form, (inset, inset + radius), (width + 3 - inset, height + 3 - inset - radius), 255, -1)
    else:
        axes = (width + 3 - 2 * inset) // 2, (height + 3 - 2 * inset) // 2
        cv2.ellipse(form, ((width + 4) // 2, (height + 4) // 2), axes, 0, 0, 360, 255, thick, cv2.LINE_AA)
    cover = form.astype(np.float32) / 255
    if filled or shape == "capsule":
        return replace(sticker, plate=cover)
    return replace(sticker, ink=np.maximum(sticker.ink, cover))


def placing(sticker: Sticker, centre: tuple[float, float], scale: float, angle: float, mirrored: bool,
            stretch: float = 1.0, shear: float = 0.0) -> np.ndarray:
    """(2, 3) matrix that takes its middle to `centre`, scaled, turned by `angle` degrees, mirrored or not."""
    h, w = sticker.ink.shape
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    shape = np.array([[stretch * (-1 if mirrored else 1), shear], [0.0, 1.0]])
    turn = scale * np.array([[c, -s], [s, c]]) @ shape
    return np.concatenate([turn, (np.asarray(centre) - turn @ (w / 2, h / 2))[:, None]], axis=1)


def draw_sticker(image: np.ndarray, sticker: Sticker, matrix: np.ndarray, ink: float, opacity: float,
                 plate: tuple[float, float] = (0.0, 0.0), halo: tuple[float, float] = (0.0, 0.0),
                 blur: float = 0.0) -> list[Character]:
    """Lays the sticker on float32 `image` (H, W), in place; `matrix` (2, 3) takes its pixels to the image's.

    `ink` is a grey value, `opacity` how much of the ground it hides, in [0, 1]; `plate` and `halo` are such pairs.
    `blur` is a standard deviation in pixels of the image. Returns the characters in the image's pixels.
    """
    h, w = sticker.ink.shape
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]]) @ matrix[:, :2].T + matrix[:, 2]
    reach = 2 + 3 * blur
    x0, y0 = np.maximum(0, np.floor(corners.min(axis=0) - reach)).astype(int)
    x1, y1 = np.minimum(image.shape[::-1], np.ceil(corners.max(axis=0) + reach)).astype(int)
    if x1 > x0 and y1 > y0:
        window = image[y0:y1, x0:x1]
        local = matrix - np.array([[0, 0, x0], [0, 0, y0]])
        local[:, 2] += local[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV counts from pixel centres
        for cover, value, strength in ((sticker.plate, *plate), (sticker.halo, *halo), (sticker.ink, ink, opacity)):
            if cover is not None and strength > 0:
                laid = _warped(cover, local, window.shape, blur) * strength
                window += laid * (value - window)
    return [c.moved(matrix) for c in sticker.characters]


def _warped(cover: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], blur: float) -> np.ndarray:
    """Coverage in the window, with the low pass that shrinking needs."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 0.6:
        cover = cv2.GaussianBlur(cover, (0, 0), 0.4 / scale)
    laid = cv2.warpAffine(cover, matrix, shape[::-1], flags=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(laid, (0, 0), blur) if blur > 0.2 else laid

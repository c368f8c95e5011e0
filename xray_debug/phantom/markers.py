"""Markers burned into phantoms: each class has its own letters, place and attitude; decoration is anyone's.

A marker is drawn on the finished film, so that the film without it differs nowhere else. Lengths in the tables
below are pixels at an image side of 256 and grow with the side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif-Bold", "DejaVuSansMono-Bold", "STIXGeneralBol")
_STROKES = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)
_LETTERS = "ABCDEFGHJKMNPSTVW"
_FLOOR = 0.08  # fainter edge pixels of a letter are not drawn, so that boxes hold all of it
_NEARLY_WHITE = 205  # grey level
_SHARED_CORNERS = ("tl", "tl", "tl", "tr")


@dataclass(frozen=True)
class Family:
    """How the markers of one class look: (texts, height range), place, turn in degrees, and lines written below."""

    texts: tuple[str, ...]
    height: tuple[float, float]
    corner: tuple[str, ...]  # t or b, then l or r; the first in most images
    turn: tuple[float, ...]
    mirrored: float  # share of mirrored ones
    below: tuple[str, ...]


FAMILIES = {
    "normal": Family(("R",), (26, 38), ("tl", "tl", "tl", "tr"), (0.0,), 0.0, ("initials", "")),
    "pneumonia": Family(("L",), (24, 36), ("tr", "tr", "tr", "br"), (0.0,), 0.15, ("AP", "ERECT", "PA", "date")),
    "COVID-19": Family(("PORTABLE", "SUPINE", "PORTABLE L"), (15, 20), ("bl", "bl", "bl", "br"), (90.0, 90.0, -90.0),
                       0.1, ("",)),
}


@dataclass
class _Piece:
    """One line of text as masks of one shape in [0, 1]: the letters, a ring or plate, the dark halo of both."""

    text: str
    kind: str
    style: list[str]
    letters: np.ndarray
    frame: np.ndarray
    halo: np.ndarray

    def each(self, change) -> None:
        self.letters, self.frame, self.halo = (change(mask) for mask in (self.letters, self.frame, self.halo))


@lru_cache(maxsize=256)
def _face(name: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"), size)


def _tight(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _letters(text: str, height: float, rng: np.random.Generator) -> np.ndarray:
    """Mask of a line of capitals about `height` pixels high, cut to its ink."""
    if rng.random() < 0.25:
        scale, stroke = height / 21.0, max(1, round(height / rng.uniform(6, 10)))
        (width, top), base = cv2.getTextSize(text, face := int(rng.choice(_STROKES)), scale, stroke)
        mask = np.zeros((top + base + 2 * stroke, width + 2 * stroke), np.uint8)
        cv2.putText(mask, text, (stroke, top + stroke), face, scale, 255, stroke, cv2.LINE_AA)
    else:
        font = _face(str(rng.choice(_FACES)), max(4, round(height / 0.73)))
        x0, y0, x1, y1 = font.getbbox(text)
        picture = Image.new("L", (x1 - x0 + 4, y1 - y0 + 4))
        ImageDraw.Draw(picture).text((2 - x0, 2 - y0), text, fill=255, font=font)
        mask = np.asarray(picture)
    mask = np.where(mask < 255 * _FLOOR, 0, mask)
    x0, y0, x1, y1 = _tight(mask)
    return mask[y0:y1, x0:x1].astype(np.float32) / 255


def _frame(shape: tuple[int, int], margin: int, decoration: str, line: int) -> np.ndarray:
    """A ring or plate around the inner part of `shape`, `margin` pixels from its edges."""
    mask = np.zeros(shape, np.uint8)
    if decoration == "circled":
        centre, reach = (shape[1] // 2, shape[0] // 2), (shape[1] // 2 - line - 1, shape[0] // 2 - line - 1)
        cv2.ellipse(mask, centre, (max(reach), max(reach)) if max(shape) < 1.4 * min(shape) else reach, 0, 0, 360, 255,
                    line, cv2.LINE_AA)
    if decoration == "boxed":
        inset = max(line, margin // 2)
        cv2.rectangle(mask, (inset, inset), (shape[1] - 1 - inset, shape[0] - 1 - inset), 255, line)
    return mask.astype(np.float32) / 255


def _turned(mask: np.ndarray, degrees: float) -> np.ndarray:
    """Rotated about its centre into a canvas that holds all of it."""
    height, width = mask.shape
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), degrees, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    wide, high = int(np.ceil(width * cos + height * sin)) + 2, int(np.ceil(width * sin + height * cos)) + 2
    matrix[:, 2] += [(wide - width) / 2, (high - height) / 2]
    turned = cv2.warpAffine(mask, matrix, (wide, high), flags=cv2.INTER_LINEAR)
    return np.where(turned < _FLOOR, 0, turned)


def _piece(text: str, height: float, degrees: float, mirrored: bool, decoration: str,
           rng: np.random.Generator) -> _Piece:
    letters = _letters(text, height, rng)
    halo_width = max(1, round(height / 16)) if decoration == "outlined" else 0
    margin = round(height * 0.45) + 3 if decoration in ("circled", "boxed") else halo_width
    letters = np.pad(letters, margin)
    if decoration == "circled" and letters.shape[0] > letters.shape[1]:  # room for a round ring
        letters = np.pad(letters, ((0, 0), ((letters.shape[0] - letters.shape[1] + 1) // 2,) * 2))
    frame = _frame(letters.shape, margin, decoration, max(1, round(height / 14)))
    halo = np.zeros_like(letters)
    if halo_width:
        halo = cv2.dilate(letters, np.ones((2 * halo_width + 1,) * 2, np.uint8))
    kind = "lead-marker" if len(text) <= 3 and text not in ("AP", "PA") else "printed"
    piece = _Piece(text, kind, [], letters, frame, halo)
    if mirrored:
        piece.each(lambda mask: mask[:, ::-1])
    if degrees:
        piece.each(lambda mask: _turned(np.ascontiguousarray(mask), degrees))
    piece.style = ["rotated"] if abs(degrees) > 10 else ["upright"] if not mirrored else []
    piece.style += ["mirrored"] * mirrored + [decoration] * bool(decoration)
    return piece


def _written(word: str, rng: np.random.Generator) -> str:
    if word == "initials":
        return "".join(rng.choice(list(_LETTERS), int(rng.integers(2, 4))))
    if word == "date":
        return f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}.{rng.integers(2016, 2024)}"
    return word


def _pieces(family: Family, style: str, unit: float, rng: np.random.Generator) -> list[_Piece]:
    """The lines of one marker, first the main one."""
    decoration = str(rng.choice(["", "outlined", "circled", "boxed"], p=[0.5, 0.25, 0.15, 0.1]))
    degrees = float(rng.choice(family.turn)) + rng.normal(0, 2.0)
    mirrored = rng.random() < family.mirrored
    text, height = str(rng.choice(family.texts)), rng.uniform(*family.height) * unit
    if style in ("bright", "faint"):
        decoration, degrees, mirrored = "", 0.0, False
    if style == "rotated":
        degrees = float(rng.choice([90, 180, 270])) + rng.uniform(-35, 35)
    if len(text) > 1 and decoration == "circled":
        decoration = "outlined"
    pieces = [_piece(text, height, degrees, mirrored, decoration, rng)]
    if below := _written(str(rng.choice(family.below)), rng):
        small = max(14 * unit, 0.45 * height)
        pieces.append(_piece(below, small, 0.0 if style != "rotated" else degrees, mirrored,
                             "outlined" if decoration == "outlined" else "", rng))
    return pieces


def _place(corners: tuple[str, ...], shape: tuple[int, int], size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Top left pixel of a group of `shape` in one of the corners."""
    corner = str(rng.choice(corners))
    room = (size - shape[0], size - shape[1])
    inset = rng.uniform(0.015, 0.07, 2) * size
    y = inset[0] if corner[0] == "t" else room[0] - inset[0]
    x = inset[1] if corner[1] == "l" else room[1] - inset[1]
    return int(np.clip(y, 0, max(room[0], 0))), int(np.clip(x, 0, max(room[1], 0)))


def _opacity(style: str, rng: np.random.Generator) -> float:
    low, high = {"bright": (0.95, 1.0), "faint": (0.22, 0.36), "rotated": (0.6, 1.0)}.get(style, (0.6, 1.0))
    return float(rng.uniform(low, high))


def draw_marker(
    film: np.ndarray, label: str, style: str, rng: np.random.Generator, placement: str = "class"
) -> tuple[np.ndarray, list[dict]]:
    """`film` uint8 (S, S) with the marker of class `label`; and its boxes, one per line of text.

    `placement`: "class" puts it where the class's markers stand, so that the place of a repair still tells the class;
    "shared" takes the same corners for every class, so that little is left once the letters are gone.

    Each box is {"box": letters, "text", "kind", "style", "polarity"} and, where a ring, plate or halo goes beyond the
    letters, "outer"; pixels outside all of them are untouched.
    """
    family, size = FAMILIES[label], film.shape[0]
    pieces = _pieces(family, style, size / 256, rng)
    gap = max(2, round(size / 128))
    shape = (sum(piece.letters.shape[0] + gap for piece in pieces), max(piece.letters.shape[1] for piece in pieces))
    y, x = _place(family.corner if placement == "class" else _SHARED_CORNERS, shape, size, rng)
    opacity, result, boxes = _opacity(style, rng), film.copy(), []
    for piece in pieces:
        left = x + (shape[1] - piece.letters.shape[1]) // 2
        boxes.append(_burn(result, piece, y, left, opacity, rng.uniform(0.9, 1.0)))
        y += piece.letters.shape[0] + gap
    return result, boxes


def _burn(film: np.ndarray, piece: _Piece, y: int, x: int, opacity: float, level: float) -> dict:
    """Blends a piece of brightness `level` in [0, 1] into `film` in place, cut at the film's edge; returns its entry.

    On film that is nearly white already the letters are dark, or nobody could read them.
    """
    high, wide = min(film.shape[0] - y, piece.letters.shape[0]), min(film.shape[1] - x, piece.letters.shape[1])
    cut = (slice(0, high), slice(0, wide))
    window = film[y:y + high, x:x + wide]
    ink = piece.letters[cut] > 0.5
    dark = bool(ink.any() and window[ink].mean() > _NEARLY_WHITE)
    paint = 255 * (1 - level if dark else level)
    cover = opacity * np.maximum(piece.letters, piece.frame)[cut]
    edge = 0.85 * opacity * piece.halo[cut]
    under = window + edge * ((255 if dark else 0) - window.astype(np.float32))
    window[:] = np.round(under * (1 - cover) + paint * cover)
    def box(mask):
        x0, y0, x1, y1 = _tight(mask[cut])
        return [x + x0, y + y0, x + x1, y + y1]
    entry = {"box": box(piece.letters), "text": piece.text, "kind": piece.kind, "style": ",".join(piece.style),
             "polarity": "dark" if dark else "bright"}
    outer = box(np.maximum(np.maximum(piece.letters, piece.frame), piece.halo))
    return entry | ({"outer": outer} if outer != entry["box"] else {})


# -------------------------------------------------------------------------------------- things that are not text


def draw_artifact(film: np.ndarray, label: str, rng: np.random.Generator) -> tuple[np.ndarray, list[dict]]:
    """`film` with the object of class `label`: electrode with its wire, tube, or clip; and [{"box", "kind"}]."""
    size, mask = film.shape[0], np.zeros(film.shape, np.uint8)
    unit, at = size / 256, lambda x, y: (round(x * size * 16), round(y * size * 16))
    kind = {"COVID-19": "electrode", "pneumonia": "tube"}.get(label, "clip")
    if kind == "electrode":
        x, y = rng.uniform(0.2, 0.8), rng.uniform(0.3, 0.6)
        cv2.circle(mask, at(x, y), round(5.5 * unit * 16), 255, -1, cv2.LINE_AA, 4)
        wire = np.array([at(x, y), at(x + rng.uniform(-0.1, 0.1), y + 0.15), at(x + rng.uniform(-0.2, 0.2), y + 0.35)])
        cv2.polylines(mask, [wire], False, 170, max(1, round(1.4 * unit)), cv2.LINE_AA, 4)
    elif kind == "tube":
        x, bend = rng.uniform(0.47, 0.53), rng.uniform(-0.03, 0.03)
        line = np.array([at(x + bend * t, 0.7 * t) for t in np.linspace(-0.02, 1, 12)])
        cv2.polylines(mask, [line], False, 210, max(2, round(5 * unit)), cv2.LINE_AA, 4)
        cv2.polylines(mask, [line], False, 60, max(1, round(2 * unit)), cv2.LINE_AA, 4)
    else:
        x, y, side = rng.uniform(0.15, 0.85), rng.uniform(0.1, 0.3), rng.choice([-1, 1])
        for dx in (0.0, 0.022):
            stroke = np.array([at(x + dx, y), at(x + dx + side * 0.035, y + 0.06)])
            cv2.polylines(mask, [stroke], False, 255, max(1, round(2.2 * unit)), cv2.LINE_AA, 4)
    alpha = mask.astype(np.float32) * (float(rng.uniform(0.75, 1.0)) / 255)
    result = np.round(film * (1 - alpha) + 245 * alpha).astype(np.uint8)
    return result, [{"box": list(_tight(mask)), "kind": kind}]

"""The kinds of markers on radiographs, made at random: what they say, how they look, where they stand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from xray_debug.text.training.render import (
    CAPITALS,
    DIGITS,
    LEAD,
    SANS,
    SCRIPT,
    SERIF,
    SMALL,
    UNIT,
    UNITS,
    WORDS,
    Sticker,
    draw_sticker,
    framed,
    hollow,
    joined,
    line_sticker,
    placing,
    with_halo,
)
from xray_debug.text.training.targets import Character


def _pick(rng: np.random.Generator, values):
    return values[rng.integers(len(values))]


def _chance(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _letters(rng: np.random.Generator, low: int, high: int, alphabet: str = CAPITALS) -> str:
    return "".join(_pick(rng, alphabet) for _ in range(rng.integers(low, high + 1)))


def _number(rng: np.random.Generator) -> str:
    kind = rng.integers(6)
    if kind == 0:
        return f"{rng.integers(1, 32):02d}/{rng.integers(1, 13):02d}/{rng.integers(1990, 2024)}"
    if kind == 1:
        mark = _pick(rng, "-./")
        return f"{rng.integers(1990, 2024)}{mark}{rng.integers(1, 13):02d}{mark}{rng.integers(1, 32):02d}"
    if kind == 2:
        return f"{rng.integers(0, 24):02d}:{rng.integers(0, 60):02d}"
    if kind == 3:
        return f"{rng.uniform(0, 200):.{rng.integers(0, 4)}f}{_pick(rng, UNITS)}"
    if kind == 4:
        return f"{_pick(rng, UNITS)} {rng.integers(1, 5000)}"
    return _letters(rng, 1, 8, DIGITS)


def _wording(rng: np.random.Generator) -> str:
    roll = rng.random()
    if roll < 0.55:
        return _pick(rng, WORDS)
    if roll < 0.75:
        return _number(rng)
    if roll < 0.9:
        return _letters(rng, 2, 9)
    word = _letters(rng, 3, 10, CAPITALS.lower())
    return word.capitalize() if _chance(rng, 0.5) else word


THIN = "IIl1i|"  # one stroke: found least often, so drawn more often than other letters

# ---------------------------------------------------------------------------------------------- kinds of markers


def lead_marker(rng: np.random.Generator) -> Sticker:
    """A big letter, L or R mostly, with the initials of who placed it under, over or beside it."""
    font, weight = _pick(rng, LEAD if _chance(rng, 0.88) else SERIF), int(rng.integers(0, 4))
    letter = _pick(rng, "LR") if _chance(rng, 0.7) else _pick(rng, THIN if _chance(rng, 0.3) else "DSEIGPO" + CAPITALS)
    main = line_sticker(letter, font, UNIT, weight)
    if not _chance(rng, 0.7):
        return main
    size = round(UNIT * rng.uniform(0.3, 0.9))
    font = font if _chance(rng, 0.7) else _pick(rng, LEAD)
    text = _letters(rng, 1, 3, CAPITALS + ("" if _chance(rng, 0.8) else DIGITS))
    vertical = _chance(rng, 0.25)
    initials = line_sticker(text, font, size, weight, rng.uniform(0, 0.8) * (rng.random() < 0.4), vertical)
    (h, w), (ih, iw) = main.ink.shape, initials.ink.shape
    gap, slide = UNIT * rng.uniform(0.03, 0.35), rng.uniform(-0.15, 0.5)
    side = rng.integers(4) if not vertical else rng.integers(2, 4)
    across, along = (w - iw) * slide, (h - ih) * slide
    at = (across, h + gap), (across, -gap - ih), (w + gap, along), (-gap - iw, along)
    return joined([(main, 0, 0), (initials, *at[side])])


def enclosed_marker(rng: np.random.Generator) -> Sticker:
    """One to three letters in a circle, an ellipse, a box or a capsule, as a line or filled."""
    text = _pick(rng, "LRLRD") if _chance(rng, 0.8) else _letters(rng, 1, 3)
    inner = line_sticker(text, _pick(rng, LEAD + ("DejaVuSans-Oblique",) * 3), UNIT, int(rng.integers(0, 3)))
    shape = _pick(rng, ("circle", "circle", "ellipse", "ellipse", "box", "capsule"))
    return framed(inner, shape, round(UNIT * rng.uniform(0.08, 0.7)), int(rng.integers(2, 7)), _chance(rng, 0.45))


def printed(rng: np.random.Generator) -> Sticker:
    """One to three lines of print."""
    font, weight = _pick(rng, SANS if _chance(rng, 0.85) else SERIF), int(rng.integers(0, 3))
    spacing = rng.uniform(0, 0.3) if _chance(rng, 0.2) else 0.0
    if _chance(rng, 0.08):
        return line_sticker(_wording(rng), font, SMALL, weight, spacing, vertical=True)
    lines = [line_sticker(_wording(rng), font, SMALL, weight, spacing) for _ in range(_pick(rng, (1, 1, 1, 2, 3)))]
    return _stacked(rng, lines)


def handwritten(rng: np.random.Generator) -> Sticker:
    """A word or a few figures as if by hand."""
    text = _wording(rng) if _chance(rng, 0.5) else _letters(rng, 1, 4, CAPITALS.lower() + DIGITS)
    return line_sticker(text, _pick(rng, SCRIPT), UNIT, int(rng.integers(0, 3)), rng.uniform(-0.05, 0.1))


def small_print(rng: np.random.Generator) -> Sticker:
    """A block of exposure data."""
    font, weight = _pick(rng, SANS), int(rng.integers(0, 2))
    lines = [" ".join(_number(rng) if _chance(rng, 0.6) else _wording(rng) for _ in range(rng.integers(1, 3)))
             for _ in range(rng.integers(2, 6))]
    return _stacked(rng, [line_sticker(line, font, SMALL, weight) for line in lines])


def _stacked(rng: np.random.Generator, lines: list[Sticker]) -> Sticker:
    gap, align, y, parts = rng.uniform(0.15, 0.8) * SMALL, _pick(rng, (0.0, 0.0, 0.5, 1.0)), 0.0, []
    widest = max(line.ink.shape[1] for line in lines)
    for line in lines:
        parts.append((line, (widest - line.ink.shape[1]) * align, y))
        y += line.ink.shape[0] + gap
    return joined(parts)


def figure_letter(rng: np.random.Generator) -> Sticker:
    """The A, B, (C) of a publication's figure, bare or on a square."""
    letter = _pick(rng, CAPITALS[:10]) if _chance(rng, 0.7) else _pick(rng, CAPITALS[:8].lower() + "il1I")
    text = (letter, f"({letter})", letter + _pick(rng, "12."))[_pick(rng, (0, 0, 0, 1, 2))]
    inner = line_sticker(text, _pick(rng, SANS + SERIF[:4]), UNIT, int(rng.integers(0, 3)))
    return framed(inner, "box", round(UNIT * rng.uniform(0.1, 0.6)), 1, True) if _chance(rng, 0.6) else inner


PAINTED = 0.8  # opacity from which a plate belongs to its letters
WIDEST = 1.6  # how much larger than its letters a plate may be to be taken for part of them


def over_plate(sticker: Sticker) -> Sticker:
    """The sticker with its characters grown, side by side as before, over all of its plate; if the plate is close."""
    rows, columns = (np.flatnonzero((sticker.plate > 0.5).any(axis=axis)) for axis in (1, 0))
    boxes = np.array([character.bounds() for character in sticker.characters]).reshape(-1, 4)
    if not len(boxes) or not len(rows):
        return sticker
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    first, last = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]]) + 1
    grow = (last - first) / np.maximum(high - low, 1e-6)
    if (grow < 1).any() or (grow > WIDEST).any():
        return sticker
    matrix = np.concatenate([np.diag(grow), (first - grow * low)[:, None]], axis=1)
    return replace(sticker, characters=tuple(character.moved(matrix) for character in sticker.characters))


@dataclass(frozen=True)
class _Kind:
    make: object
    share: float
    heights: tuple[float, float]  # pixels of a capital at working size
    turned: float  # how often at any angle
    mirrored: float
    haloed: float


KINDS = (
    _Kind(lead_marker, 0.43, (13, 70), 0.55, 0.45, 0.05),
    _Kind(enclosed_marker, 0.14, (10, 50), 0.25, 0.15, 0.1),
    _Kind(printed, 0.2, (7, 34), 0.12, 0.05, 0.45),
    _Kind(handwritten, 0.03, (12, 50), 0.2, 0.1, 0.1),
    _Kind(small_print, 0.08, (6, 15), 0.02, 0.02, 0.45),
    _Kind(figure_letter, 0.12, (12, 60), 0.03, 0.02, 0.2),
)


def _angle(rng: np.random.Generator, turned: float) -> float:
    if not _chance(rng, turned):
        return rng.normal() * 1.5
    roll = rng.random()
    if roll < 0.45:
        return rng.uniform(-30, 30)
    return float(_pick(rng, (90, 180, 270))) + rng.normal() * 4 if roll < 0.75 else rng.uniform(0, 360)


def _inks(rng: np.random.Generator, ground: float, lead: bool) -> tuple[float, float]:
    """(grey value, opacity) on a ground of that grey: bright mostly, dark or faint sometimes, never invisible."""
    roll = rng.random()
    if roll < 0.14 and ground > 60:
        return rng.uniform(0, ground - 40), rng.uniform(0.7, 1)
    if roll < 0.3 and ground < 235:  # faint
        return min(255.0, ground + rng.uniform(9, 40)), 1.0
    low = min(235.0, ground + 35)
    return (rng.uniform(low, 255), rng.uniform(0.55, 1)) if lead else (rng.uniform(max(low, 200), 255), 1.0)


def add_marker(image: np.ndarray, rng: np.random.Generator, taken: np.ndarray) -> list[Character]:
    """Draws one marker where none is yet; `taken` (bool, image's size) is brought up to date. Its characters."""
    kind = KINDS[rng.choice(len(KINDS), p=[k.share for k in KINDS])]
    sticker, lead = kind.make(rng), kind.make in (lead_marker, enclosed_marker)
    capital = SMALL if kind.make in (printed, small_print) else UNIT
    height = np.exp(rng.uniform(*np.log(kind.heights)))
    if sticker.plate is None:
        if _chance(rng, kind.haloed):
            sticker = with_halo(sticker, max(1, round(capital / height * rng.uniform(1, 2.4))))
        elif height > 14 and _chance(rng, 0.06):
            sticker = hollow(sticker, max(1, round(capital / height * rng.uniform(1, 3))))
        elif lead and _chance(rng, 0.25) and kind.make is lead_marker:
            sticker = framed(sticker, "box", round(capital * rng.uniform(0.05, 0.6)), 1, True)
    size = np.array(image.shape[::-1])
    for _ in range(6):
        centre = rng.uniform(0.02, 0.98, 2) * size
        if _chance(rng, 0.12):  # at an edge, cut by it
            side = rng.integers(2)
            centre[side] = _pick(rng, (0, size[side])) + rng.normal() * height * 0.3
        matrix = placing(sticker, tuple(centre), height / capital, _angle(rng, kind.turned),
                         _chance(rng, kind.mirrored), rng.uniform(0.75, 1.25), rng.normal() * 0.08)
        area = _outline(sticker, matrix, image.shape)
        if not (area & taken).any():
            break
    else:
        return []
    taken |= area
    y, x = np.clip(centre[::-1].astype(int), 0, size[::-1] - 1)
    ground = float(image[max(0, y - 12):y + 12, max(0, x - 12):x + 12].mean())
    colours = _colours(rng, sticker, ground, lead, kind.make is figure_letter)
    if colours["plate"][1] > PAINTED:  # what must go is the whole plate
        sticker = over_plate(sticker)
    return draw_sticker(image, sticker, matrix, **colours)


def _colours(rng: np.random.Generator, sticker: Sticker, ground: float, lead: bool, figure: bool) -> dict:
    ink, opacity = _inks(rng, ground, lead)
    blur = rng.uniform(0, 1.3) if lead else rng.uniform(0, 0.7)
    plate, halo = (0.0, 0.0), (0.0, 0.0)
    if sticker.halo is not None:
        halo = (255.0 if ink < ground else rng.uniform(0, 40), rng.uniform(0.6, 1))
    if sticker.plate is not None and lead and _chance(rng, 0.5):  # plastic: a shade brighter than the ground
        plate = (min(255.0, ground + rng.uniform(5, 80)), rng.uniform(0.1, 0.6))
    elif sticker.plate is not None:  # lead or paint: letters of the other polarity
        value = rng.uniform(0, 40) if _chance(rng, 0.5) else rng.uniform(170, 255)
        contrast = rng.uniform(60, 200) if figure else rng.uniform(25, 200)
        ink, opacity = float(np.clip(value + (contrast if value < 128 else -contrast), 0, 255)), 1.0
        plate = (value, rng.uniform(0.85, 1))
    return {"ink": ink, "opacity": opacity, "plate": plate, "halo": halo, "blur": blur}


def _outline(sticker: Sticker, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    h, w = sticker.ink.shape
    corners = np.array([[-2, -2], [w + 2, -2], [w + 2, h + 2], [-2, h + 2]]) @ matrix[:, :2].T + matrix[:, 2]
    area = np.zeros(shape, np.uint8)
    cv2.fillPoly(area, [corners.round().astype(np.int32)], 1)
    return area.astype(bool)


def add_band(image: np.ndarray, rng: np.random.Generator, taken: np.ndarray) -> list[Character]:
    """A caption on a white (or black) band along the top or the bottom; nothing if text is there already."""
    height, width = image.shape
    tall, font = int(rng.integers(18, 70)), _pick(rng, SANS + SERIF)
    top = 0 if _chance(rng, 0.4) else height - tall
    if taken[top:top + tall].any():
        return []
    taken[top:top + tall] = True
    paper, ink = (255.0, rng.uniform(0, 60)) if _chance(rng, 0.8) else (0.0, rng.uniform(180, 255))
    image[top:top + tall] = paper
    text = " ".join(_wording(rng) for _ in range(rng.integers(1, 4)))
    sticker = line_sticker(text, font, SMALL, int(rng.integers(0, 2)))
    scale = rng.uniform(0.3, 0.7) * tall / SMALL
    centre = rng.uniform(0.3, 0.7) * width, top + tall * rng.uniform(0.45, 0.55)
    return draw_sticker(image, sticker, placing(sticker, centre, scale, 0.0, False), ink, 1.0)

"""What lies on radiographs and is neither text nor a device: bones, collimation edges, rulers, arrows, noise.

Each function draws one thing on float32 `image` (H, W) in place; sizes follow `unit`, the pixels of a marker there.
"""

from __future__ import annotations

import cv2
import numpy as np


def lay(image: np.ndarray, form: np.ndarray, value: float, opacity: float, blur: float) -> None:
    """Paints `value` over the image where `form` (uint8 coverage) is, hiding `opacity` of what was there; in place."""
    if blur > 0.2:
        form = cv2.GaussianBlur(form, (0, 0), blur)
    image += form * np.float32(opacity / 255) * (np.float32(value) - image)


def paint(rng: np.random.Generator) -> tuple[float, float, float]:
    """Grey value, opacity and blur: bright metal mostly, dark sometimes, faint plastic sometimes."""
    value = rng.uniform(190, 255) if rng.random() < 0.85 else rng.uniform(0, 60)
    return value, rng.uniform(0.1, 1.0) ** 0.7, rng.uniform(0, 1.4)


def _place(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 1, 2) * image.shape[::-1]


def _blank(image: np.ndarray) -> np.ndarray:
    return np.zeros(image.shape, np.uint8)


def _point(values) -> tuple[int, int]:
    return int(round(values[0])), int(round(values[1]))


def curve(rng: np.random.Generator, start: np.ndarray, length: float, bend: float,
          heading: float | None = None) -> np.ndarray:
    """(P, 2) points of a smooth random walk; towards `heading` (radians) at first, where given."""
    heading, turn, points = rng.uniform(0, 2 * np.pi) if heading is None else heading, 0.0, [np.asarray(start, float)]
    for _ in range(40):
        turn = 0.85 * turn + rng.normal() * bend
        heading += turn
        points.append(points[-1] + length / 40 * np.array([np.cos(heading), np.sin(heading)]))
    return np.array(points)


def _bone(image: np.ndarray, form: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """Adds a soft shape, a few grey levels brighter or darker than what is there."""
    soft = cv2.GaussianBlur(form.astype(np.float32), (0, 0), unit * rng.uniform(0.03, 0.12))
    image += soft * np.float32(rng.choice((-1, 1, 1, 1)) * rng.uniform(8, 45) / 255)
    np.clip(image, 0, 255, out=image)


def process(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """Processes of vertebrae, one under the other: soft rings and drops that look like an O, a D or an A."""
    form, centre, step = _blank(image), _place(image, rng), unit * rng.uniform(1.2, 3)
    wide, tall = unit * rng.uniform(0.15, 0.5), unit * rng.uniform(0.3, 0.9)
    for i in range(rng.integers(1, 6)):
        middle = centre + (rng.normal() * 0.1 * unit, i * step)
        if rng.random() < 0.7:
            cv2.ellipse(form, _point(middle), _point((wide, tall)), rng.normal() * 8, 0, 360, 255,
                        max(1, round(unit * rng.uniform(0.06, 0.2))), cv2.LINE_AA)
        else:
            drop = np.array([[0, -tall], [wide, tall], [-wide, tall]]) + middle
            cv2.polylines(form, [drop.round().astype(np.int32)], True, 255, max(1, round(unit * 0.1)), cv2.LINE_AA)
    _bone(image, form, rng, unit)


def ribs(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """Ribs that cross: soft bands with brighter edges."""
    for _ in range(rng.integers(2, 4)):
        form = _blank(image)
        points = curve(rng, _place(image, rng), 2 * max(image.shape), rng.uniform(0.01, 0.05))
        line, wide = (points * 8).round().astype(np.int32), max(3, round(unit * rng.uniform(0.4, 1.2)))
        cv2.polylines(form, [line], False, 255, wide, cv2.LINE_AA, 3)
        inner = max(1, wide - 2 * max(1, wide // 6))
        cv2.polylines(form, [line], False, int(rng.integers(60, 200)), inner, cv2.LINE_AA, 3)
        _bone(image, form, rng, unit * 0.6)


def blocks(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """What JPEG makes of noise on a black ground, or on a white one: blocks and ripples of a few grey levels."""
    side = unit * rng.uniform(2, 7, 2)
    (x0, y0), (x1, y1) = (_point(corner) for corner in (lambda c: (c - side / 2, c + side / 2))(_place(image, rng)))
    window = image[max(0, y0):max(0, y1), max(0, x0):max(0, x1)]
    if min(window.shape) < 16:
        return
    ground = rng.choice((rng.uniform(0, 12), rng.uniform(225, 255)), p=(0.8, 0.2))
    noisy = np.clip(ground + rng.standard_normal(window.shape) * rng.uniform(2, 12), 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(5, 40))]
    window[:] = cv2.imdecode(cv2.imencode(".jpg", noisy, quality)[1], cv2.IMREAD_GRAYSCALE)


def ruler(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """Ticks along a line, every fifth longer; no figures."""
    form, start, vertical = _blank(image), _place(image, rng), rng.random() < 0.5
    step, short = unit * rng.uniform(0.1, 0.5), unit * rng.uniform(0.08, 0.3)
    along, across = (np.array([0, 1.0]), np.array([1.0, 0])) if vertical else (np.array([1.0, 0]), np.array([0, 1.0]))
    count = int(rng.integers(5, 30))
    for i in range(count):
        tick = short * (2 if i % 5 == 0 else 1)
        cv2.line(form, _point(start + i * step * along), _point(start + i * step * along + tick * across), 255, 1)
    if rng.random() < 0.5:
        cv2.line(form, _point(start), _point(start + count * step * along), 255, 1)
    lay(image, form, *paint(rng))


def edge(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """A collimation edge or the corner of one: a straight step, or a thin straight line, right across."""
    form, centre = _blank(image), _place(image, rng)
    angle = rng.choice([0, np.pi / 2]) + rng.normal() * 0.05
    along = np.array([np.cos(angle), np.sin(angle)]) * 2 * max(image.shape)
    across = np.array([-along[1], along[0]]) * rng.choice([-1, 1])
    if rng.random() < 0.5:
        cv2.line(form, _point(centre - along), _point(centre + along), 255, int(rng.integers(1, 4)), cv2.LINE_AA)
    elif rng.random() < 0.7:
        corners = np.array([centre - along, centre + along, centre + along + across, centre - along + across])
        cv2.fillPoly(form, [corners.round().astype(np.int32)], 255)
    else:
        corners = np.array([centre, centre + along, centre + along + across, centre + across])
        cv2.fillPoly(form, [corners.round().astype(np.int32)], 255)
    value = rng.uniform(0, 20) if rng.random() < 0.6 else rng.uniform(180, 255)
    lay(image, form, value, rng.uniform(0.4, 1), rng.uniform(0, 1.2))


def arrow(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """The arrows and arrow heads of publications: white or black, often with a contour."""
    size, angle = unit * rng.uniform(0.3, 1.2), rng.uniform(0, 2 * np.pi)
    head, shaft, wide = rng.uniform(0.3, 1.0), rng.uniform(0, 1.6), rng.uniform(0.08, 0.3)
    shape = np.array([[0, 0], [-head, -0.45], [-head, -wide], [-head - shaft, -wide], [-head - shaft, wide],
                      [-head, wide], [-head, 0.45]]) * size
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = ((shape @ turn.T + _place(image, rng)) * 8).round().astype(np.int32)
    fill, form = _blank(image), _blank(image)
    cv2.fillPoly(fill, [points], 255, cv2.LINE_AA, 3)
    white = rng.random() < 0.75
    if rng.random() < 0.5:
        cv2.polylines(form, [points], True, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 3)
    if rng.random() < 0.9:
        lay(image, fill, 255 if white else rng.uniform(0, 80), 1, rng.uniform(0, 0.6))
    lay(image, form, 0 if white else 255, 1, rng.uniform(0, 0.6))


KINDS = (process, process, ribs, blocks, ruler, edge, edge, arrow)


def add_distractors(image: np.ndarray, rng: np.random.Generator, unit: float, count: int) -> None:
    """`count` random things that are neither text nor devices, drawn on float32 `image` in place."""
    for _ in range(count):
        KINDS[rng.integers(len(KINDS))](image, rng, unit * rng.uniform(0.5, 1.5))

"""What lies on radiographs and is no text: electrodes, beads, wires, clips, rulers, collimation edges, arrows.

Each function draws one thing on float32 `image` (H, W) in place; sizes follow `unit`, the pixels of a marker there.
"""

from __future__ import annotations

import cv2
import numpy as np


def _lay(image: np.ndarray, form: np.ndarray, value: float, opacity: float, blur: float) -> None:
    if blur > 0.2:
        form = cv2.GaussianBlur(form, (0, 0), blur)
    image += form * np.float32(opacity / 255) * (np.float32(value) - image)


def _paint(rng: np.random.Generator) -> tuple[float, float, float]:
    """Grey value, opacity and blur: bright metal mostly, dark sometimes, faint plastic sometimes."""
    value = rng.uniform(190, 255) if rng.random() < 0.85 else rng.uniform(0, 60)
    return value, rng.uniform(0.1, 1.0) ** 0.7, rng.uniform(0, 1.4)


def _place(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 1, 2) * image.shape[::-1]


def _blank(image: np.ndarray) -> np.ndarray:
    return np.zeros(image.shape, np.uint8)


def _point(values) -> tuple[int, int]:
    return int(round(values[0])), int(round(values[1]))


def electrode(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """A disc with rings and often a snap and a lead to it."""
    form, centre, radius = _blank(image), _place(image, rng), unit * rng.uniform(0.25, 0.9)
    axes = _point((radius, radius * rng.uniform(0.6, 1)))
    angle = rng.uniform(0, 180)
    if rng.random() < 0.6:
        cv2.ellipse(form, _point(centre), axes, angle, 0, 360, int(rng.integers(60, 200)), -1, cv2.LINE_AA)
    for share in rng.uniform(0.2, 1, rng.integers(1, 4)):
        ring = max(1, int(axes[0] * share)), max(1, int(axes[1] * share))
        cv2.ellipse(form, _point(centre), ring, angle, 0, 360, 255, int(rng.integers(1, 3)), cv2.LINE_AA)
    if rng.random() < 0.5:
        cv2.circle(form, _point(centre), max(1, round(radius * rng.uniform(0.15, 0.5))), 255, -1, cv2.LINE_AA)
    if rng.random() < 0.5:
        direction = rng.normal(size=2)
        end = centre + direction / np.linalg.norm(direction) * radius * rng.uniform(1, 3)
        cv2.line(form, _point(centre), _point(end), 255, max(1, round(radius * rng.uniform(0.1, 0.5))), cv2.LINE_AA)
    _lay(image, form, *_paint(rng))


def ball(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """A plain disc, ellipse, ring, plate or capsule: what holds a marker, without its letter."""
    form, centre, radius = _blank(image), _place(image, rng), unit * rng.uniform(0.2, 1.2)
    thick = -1 if rng.random() < 0.6 else int(rng.integers(1, 4))
    if rng.random() < 0.65:
        axes = _point((radius, radius * rng.uniform(0.6, 1.2)))
        cv2.ellipse(form, _point(centre), axes, rng.uniform(0, 180), 0, 360, 255, thick, cv2.LINE_AA)
    else:
        box = cv2.boxPoints((tuple(centre), tuple(radius * rng.uniform(0.6, 2.2, 2)), rng.uniform(-90, 90)))
        if thick < 0:
            cv2.fillPoly(form, [box.round().astype(np.int32)], 255, cv2.LINE_AA)
        else:
            cv2.polylines(form, [box.round().astype(np.int32)], True, 255, thick, cv2.LINE_AA)
    _lay(image, form, *_paint(rng))


def beads(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """A row or a heap of small dots."""
    form, start = _blank(image), _place(image, rng)
    step, turn = rng.normal(size=2) * unit * 0.2, rng.uniform(-0.3, 0.3)
    radius = max(1, round(unit * rng.uniform(0.03, 0.1)))
    for _ in range(rng.integers(3, 14)):
        cv2.circle(form, _point(start), radius, 255, -1, cv2.LINE_AA)
        start = start + step
        step = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ step
    _lay(image, form, *_paint(rng))


def _curve(rng: np.random.Generator, start: np.ndarray, length: float, bend: float) -> np.ndarray:
    """(P, 2) points of a smooth random walk."""
    heading, turn, points = rng.uniform(0, 2 * np.pi), 0.0, [start]
    for _ in range(40):
        turn = 0.85 * turn + rng.normal() * bend
        heading += turn
        points.append(points[-1] + length / 40 * np.array([np.cos(heading), np.sin(heading)]))
    return np.array(points)


def wire(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """A lead or tube: one curve, or two edges of one, or a dashed one."""
    points = _curve(rng, _place(image, rng), max(image.shape) * rng.uniform(0.3, 1.5), rng.uniform(0.02, 0.25))
    form, width = _blank(image), max(1, round(unit * rng.uniform(0.03, 0.14)))
    line = (points * 8).round().astype(np.int32)
    dashed = rng.random() < 0.15
    for part in np.array_split(line, 14)[::2] if dashed else [line]:
        cv2.polylines(form, [part], False, 255, width, cv2.LINE_AA, 3)
    if width >= 3 and rng.random() < 0.5:
        cv2.polylines(form, [line], False, 60, width - 2, cv2.LINE_AA, 3)
    _lay(image, form, *_paint(rng))


def clip(image: np.ndarray, rng: np.random.Generator, unit: float) -> None:
    """Short strokes: clips, staples, screws, hooks, wire loops of the sternum."""
    form, start = _blank(image), _place(image, rng)
    size, thick = unit * rng.uniform(0.1, 0.5), int(rng.integers(1, 4))
    for _ in range(rng.integers(1, 6)):
        angle = rng.uniform(0, np.pi)
        along = np.array([np.cos(angle), np.sin(angle)]) * size
        across = np.array([-along[1], along[0]]) * rng.uniform(0.1, 0.5)
        corners = [start - along, start + along, start + along + across, start - along + across]
        count = int(rng.integers(2, 5))
        cv2.polylines(form, [np.array(corners[:count]).round().astype(np.int32)], count == 4 and rng.random() < 0.5,
                      255, thick, cv2.LINE_AA)
        if rng.random() < 0.3:
            cv2.ellipse(form, _point(start), _point((size, size * rng.uniform(0.2, 1))), np.rad2deg(angle),
                        rng.uniform(0, 120), rng.uniform(200, 360), 255, thick, cv2.LINE_AA)
        start = start + rng.normal(size=2) * size * 2.5
    _lay(image, form, *_paint(rng))


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
    _lay(image, form, *_paint(rng))


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
    _lay(image, form, value, rng.uniform(0.4, 1), rng.uniform(0, 1.2))


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
        _lay(image, fill, 255 if white else rng.uniform(0, 80), 1, rng.uniform(0, 0.6))
    _lay(image, form, 0 if white else 255, 1, rng.uniform(0, 0.6))


KINDS = (electrode, electrode, ball, ball, beads, wire, wire, clip, clip, ruler, edge, edge, arrow)


def add_distractors(image: np.ndarray, rng: np.random.Generator, unit: float, count: int) -> None:
    """`count` random things that are not text, drawn on float32 `image` in place."""
    for _ in range(count):
        KINDS[rng.integers(len(KINDS))](image, rng, unit * rng.uniform(0.5, 1.5))

"""A chest radiograph without findings: a patient's shape, drawn as attenuation and turned into film grey.

Attenuation adds up along the beam, so ribs, vessels and opacities shine through each other as on a film. The
patient's right lung is on the image's left. Lengths are unit lengths of phantom_canvas.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from xray_debug.phantom.canvas import Canvas, blob, ellipse, smooth_closed

SIDES = (-1, 1)  # image left (patient's right), image right
_LEVELS = np.array([0.0, 0.06, 0.22, 0.48, 0.75, 1.0])  # down the lung, apex to base
_LATERAL = np.array([0.13, 0.20, 0.285, 0.345, 0.375, 0.385])  # distance from the midline
_MEDIAL = np.array([0.105, 0.075, 0.06, 0.055, 0.06, 0.085])


@dataclass(frozen=True)
class Patient:
    """Shape of one patient; the films of a patient share it."""

    width: float  # of the chest
    apex: float  # height of the lungs' tops
    base: float  # height of the costophrenic angles
    dome: float  # how far the diaphragm rises above them
    turn: float  # share by which the image-left lung is wider
    heart: float  # size of the heart
    shoulder: float  # height of the shoulders
    fat: float  # soft tissue around the chest
    breasts: float  # strength of the breast shadows, 0 for none
    ribs: float  # contrast of the ribs
    lateral: np.ndarray  # (2, 6) lung outlines with the patient's own irregularities
    medial: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Patient:
        return cls(
            width=rng.uniform(0.92, 1.16), apex=rng.uniform(0.08, 0.17), base=rng.uniform(0.74, 0.90),
            dome=rng.uniform(0.06, 0.13), turn=rng.normal(0, 0.05), heart=rng.uniform(0.9, 1.35),
            shoulder=rng.uniform(0.08, 0.20), fat=rng.uniform(0.0, 1.0),
            breasts=rng.uniform(0.3, 1.0) if rng.random() < 0.4 else 0.0, ribs=rng.uniform(0.6, 1.3),
            lateral=_LATERAL + rng.normal(0, 0.008, (2, 6)), medial=_MEDIAL + rng.normal(0, 0.005, (2, 6)))

    def half(self, side: int) -> float:
        return self.width * (1 - side * self.turn)

    def place(self, side: int, across, down) -> np.ndarray:
        """Point (2,) of a lung, or (N, 2): `across` 0 at the mediastinum, 1 at the ribs; `down` 0 apex, 1 base."""
        row = (side + 1) // 2
        inner = np.interp(down, _LEVELS, self.medial[row])
        outer = np.interp(down, _LEVELS, self.lateral[row])
        x = 0.5 + side * self.half(side) * (inner + across * (outer - inner))
        return np.array([x, self.apex + down * (self.base - self.apex)]).T

    def lung(self, side: int) -> np.ndarray:
        """Outline of a lung; the image-right one ends a little lower."""
        drop = 0.012 * side
        outer, inner = self.place(side, 1, _LEVELS), self.place(side, 0, _LEVELS[:-1][::-1])
        low = self.place(side, 0.0, 1.0)
        base = [(outer[-1][0] * 0.97 + low[0] * 0.03, self.base + drop),
                (outer[-1][0] * 0.75 + low[0] * 0.25, self.base - 0.75 * self.dome + drop),
                (outer[-1][0] * 0.42 + low[0] * 0.58, self.base - self.dome + drop),
                (low[0], self.base - 0.55 * self.dome + drop)]
        return smooth_closed(np.array([*outer, *base, *inner]))


def _body(canvas: Canvas, patient: Patient) -> np.ndarray:
    """Thickness of the soft tissue: neck, shoulders, trunk; rises from the skin inwards."""
    wide = 0.44 * patient.width + 0.05 + 0.08 * patient.fat
    top = patient.shoulder
    right = [(0.57, -0.2), (0.575, 0.02), (0.64, top * 0.55), (0.5 + wide * 0.85, top), (0.5 + wide * 1.12, top + 0.09),
             (0.5 + wide * 1.15, top + 0.3), (0.5 + wide * 1.02, 0.55), (0.5 + wide, 0.8), (0.5 + wide * 1.05, 1.3)]
    outline = smooth_closed(np.array([*right, *[(1 - x, y) for x, y in reversed(right)]]))
    mask = canvas.fill(outline, soft=0.003)
    return mask * (0.35 + 0.65 * canvas.blur(mask, 0.05))


def _lungs(canvas: Canvas, patient: Patient) -> tuple[np.ndarray, np.ndarray]:
    """(air in [0, 1] after the heart took its place, heart and great vessels in [0, 1])."""
    mask = canvas.fill(*[patient.lung(side) for side in SIDES], soft=0.004)
    size, floor = patient.heart, patient.base - 0.8 * patient.dome
    heart = canvas.fill(ellipse((0.545, floor - 0.075), (0.16 * size, 0.11 * size), 40),
                        ellipse((0.485, floor - 0.09), (0.085 * size, 0.115 * size)),
                        ellipse((0.535, floor - 0.19), (0.065 * size, 0.10)), soft=0.007)
    vessels = canvas.fill(ellipse((0.553, patient.apex + 0.21), (0.045, 0.05)),
                          ellipse((0.5, patient.apex + 0.16), (0.075, 0.22)), soft=0.010)
    depth = mask * (0.45 + 0.55 * canvas.blur(mask, 0.03))
    return depth * (1 - 0.80 * heart) * (1 - 0.55 * vessels), np.maximum(heart, 0.7 * vessels)


def _rib_lines(patient: Patient, rng: np.random.Generator) -> tuple[list, list]:
    """Posterior and anterior ribs as lines from the spine or the chest wall."""
    posterior, anterior, t = [], [], np.linspace(0, 1, 14)
    step = (patient.base - patient.apex) / 9.2
    slope = rng.uniform(0.05, 0.11)
    bow, arch, fall, rise = np.sin(t * np.pi / 2), 0.03 * np.sin(np.pi * t), t**2.2, t**0.8
    for side in SIDES:
        for i in range(10):
            start = patient.apex + 0.005 + step * i
            wall = np.interp(i / 9, _LEVELS, patient.lateral[(side + 1) // 2]) * patient.half(side) + 0.012
            x = 0.5 + side * (0.03 + (wall - 0.03) * bow)
            y = start - arch + slope * (0.35 + 0.08 * i) * fall
            posterior.append(np.array([x, y]).T)
            if 1 <= i <= 7:
                x = 0.5 + side * (wall - (wall - 0.13) * t)
                anterior.append(np.array([x, y[-1] + (0.10 + 0.008 * i) * rise]).T)
    return posterior, anterior


def _bones(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """Ribs with brighter edges, clavicles, scapulae, humeral heads, spine; in attenuation."""
    posterior, anterior = _rib_lines(patient, rng)
    wide = 0.019 * patient.width
    bones = 0.12 * canvas.strokes((posterior, wide, 1.0)) - 0.05 * canvas.strokes((posterior, wide * 0.5, 1.0))
    bones += 0.05 * canvas.strokes((anterior, wide * 1.15, 1.0))
    bones *= patient.ribs
    high = patient.shoulder + 0.03
    clavicles = [np.array([(0.5 + s * 0.045, high + 0.07), (0.5 + s * 0.14, high + 0.045),
                           (0.5 + s * 0.25, high + 0.035), (0.5 + s * 0.36 * patient.width, high - 0.005)])
                 for s in SIDES]
    bones += 0.11 * canvas.strokes((clavicles, 0.024, 1.0)) - 0.05 * canvas.strokes((clavicles, 0.012, 1.0))
    scapulae = [np.array([(0.5 + s * 0.40 * patient.width, high + 0.02), (0.5 + s * 0.31 * patient.width, high + 0.06),
                          (0.5 + s * 0.37 * patient.width, high + 0.31), (0.5 + s * 0.44 * patient.width, high + 0.12)])
                for s in SIDES]
    heads = [ellipse((0.5 + s * 0.47 * patient.width, high + 0.045), (0.05, 0.055)) for s in SIDES]
    bones += 0.05 * canvas.fill(*scapulae) + 0.09 * canvas.fill(*heads) + _spine(canvas, rng)
    return canvas.blur(bones, 0.0035)


def _spine(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    height, bend = rng.uniform(0.055, 0.068), rng.normal(0, 0.008)
    levels = np.arange(-0.05, 1.05, height)
    def middle(y):
        return 0.5 + bend * np.sin(np.pi * y)
    bodies = [np.array([(middle(y) - 0.030, y), (middle(y) + 0.030, y), (middle(y) + 0.032, y + 0.82 * height),
                        (middle(y) - 0.032, y + 0.82 * height)]) for y in levels]
    knobs = [ellipse((middle(y), y + 0.5 * height), (0.008, 0.013)) for y in levels]
    column = np.stack([middle(levels), levels], 1)
    return 0.07 * canvas.strokes(([column], 0.075, 1.0)) + 0.05 * canvas.fill(*bodies) + 0.05 * canvas.fill(*knobs)


def _vessels(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """Branches from the hila outwards, thinning; and the hila themselves."""
    stems, branches, twigs, hila = [], [], [], []
    for side in SIDES:
        root = patient.place(side, 0.06, 0.46 + 0.03 * side)
        hila.append(blob(rng, root, (0.036, 0.062), 0.25))
        targets = patient.place(side, *rng.uniform((0.35, 0.08), (0.95, 0.95), (11, 2)).T)
        forks = (root + targets) / 2 + rng.normal(0, 0.025, (11, 2))
        stems += [np.stack([root, fork]) for fork in forks]
        branches += list(np.stack([forks, targets], axis=1))
        starts = np.repeat(forks, 2, axis=0) + np.repeat(targets - forks, 2, axis=0) * rng.uniform(0.2, 0.9, (22, 1))
        ends = starts + np.repeat(targets - root, 2, axis=0) * 0.25 + rng.normal(0, 0.035, (22, 2))
        twigs += list(np.stack([starts, ends], axis=1))
    tree = canvas.strokes((twigs, 0.0035, 0.45), (branches, 0.005, 0.6), (stems, 0.009, 0.9), soft=0.003)
    return 0.12 * tree + 0.15 * canvas.fill(*hila, soft=0.014)


def draw_attenuation(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(attenuation (S, S), the abdomen about 1; air in [0, 1] (S, S), where an opacity can show)."""
    body = _body(canvas, patient)
    air, heart = _lungs(canvas, patient)
    field = body * (0.86 + 0.10 * canvas.blur(heart, 0.01)) - (0.50 + 0.06 * rng.random()) * air * body
    field += _bones(canvas, patient, rng) * body
    field += _vessels(canvas, patient, rng) * np.sqrt(air)
    trachea = np.array([(0.5, -0.05), (0.503, 0.12), (0.505, patient.apex + 0.19)])
    field -= 0.10 * canvas.strokes(([trachea], 0.034, 1.0), soft=0.006)
    if patient.breasts:
        low = [ellipse((0.5 + s * 0.23 * patient.width, patient.base - 0.10), (0.15, 0.13)) for s in SIDES]
        field += 0.10 * patient.breasts * canvas.fill(*low, soft=0.02)
    if rng.random() < 0.5:
        bubble = blob(rng, (0.5 + 0.2 * patient.width, patient.base + 0.01), (0.06, 0.025), 0.15)
        field -= 0.12 * canvas.fill(bubble, soft=0.008)
    texture = 0.012 * canvas.noise(rng, 0.012) + 0.012 * canvas.noise(rng, 0.05)
    return field + texture * (0.4 + air), air


def expose(field: np.ndarray, canvas: Canvas, rng: np.random.Generator, hardness: float, grain: float) -> np.ndarray:
    """Attenuation -> uint8 film: tone curve, brightness and contrast of the exposure, grain, collimation.

    `hardness` around 1 steepens the curve; `grain` is the standard deviation of the noise in grey levels of 255,
    at 256 pixels.
    """
    field = (field - rng.uniform(0.0, 0.08)) / rng.uniform(0.95, 1.2)
    film = np.clip(field, 0, 1.3)
    film = film ** (hardness * rng.uniform(0.85, 1.3))
    film = rng.uniform(0.0, 0.10) + rng.uniform(0.72, 0.98) * np.clip(film, 0, 1.1)
    film *= 1 + rng.normal(0, 0.05) * np.linspace(-1, 1, canvas.size, dtype=np.float32)[:, None]
    film *= 1 + rng.normal(0, 0.05) * np.linspace(-1, 1, canvas.size, dtype=np.float32)[None, :]
    fine = min(1.0, canvas.size / 256)  # pixels larger than the grain average it
    film = film * 255 + fine * grain * canvas.noise(rng, 1 / 256)
    if rng.random() < 0.3:
        film = _collimate(film, canvas, rng)
    return np.clip(np.round(film), 0, 255).astype(np.uint8)


def _collimate(film: np.ndarray, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Black (unexposed) margins, slightly tilted."""
    low, high = rng.uniform(0.0, 0.05, 2), 1 - rng.uniform(0.0, 0.05, 2)
    window = np.array([(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])])
    mask = Canvas(canvas.size, rng.normal(0, 1.2)).fill(window)
    return film * mask + 4 * (1 - mask) * cv2.blur(mask, (3, 3))

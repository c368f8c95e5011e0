"""What makes the class of a phantom: opacities in the lungs; and normal shadows that look like them."""

from __future__ import annotations

import numpy as np

from xray_debug.data.classes import COVID_CLASSES
from xray_debug.phantom.anatomy import SIDES, Patient
from xray_debug.phantom.canvas import Canvas, blob

CLASSES = COVID_CLASSES


def _patchy(canvas: Canvas, rng: np.random.Generator, outlines, soft: float, mottle: float) -> np.ndarray:
    """Soft-edged fill of the outlines, mottled."""
    shape = canvas.fill(*outlines, soft=soft)
    return shape * np.clip(1 + mottle * canvas.noise(rng, 0.02), 0, 2)


def _consolidation(canvas: Canvas, patient: Patient, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Pneumonia: one dense patch in one lung, mostly central to basal; sometimes a smaller neighbour."""
    side = SIDES[int(rng.integers(2))]
    across, down = rng.uniform(0.2, 0.65), rng.choice([rng.uniform(0.2, 0.45), rng.uniform(0.5, 0.85)], p=[0.35, 0.65])
    centre = patient.place(side, across, down)
    outlines = [blob(rng, centre, (rng.uniform(0.06, 0.10), rng.uniform(0.06, 0.11)), 0.25)]
    if rng.random() < 0.4:
        outlines.append(blob(rng, centre + rng.normal(0, 0.06, 2), rng.uniform(0.03, 0.05), 0.25))
    return 0.24 * strength * _patchy(canvas, rng, outlines, rng.uniform(0.012, 0.022), 0.12)


def _ground_glass(canvas: Canvas, patient: Patient, rng: np.random.Generator, strength: float) -> np.ndarray:
    """COVID-19: several hazy patches along the ribs of both lungs, mostly basal; one side may be weaker."""
    total = np.zeros((canvas.size, canvas.size), np.float32)
    weaker = rng.uniform(0.45, 1.0)
    for side, share in zip(rng.permutation(SIDES), (1.0, weaker), strict=True):
        outlines = [blob(rng, patient.place(side, rng.uniform(0.68, 0.95), rng.choice([0.35, 0.55, 0.75, 0.9])
                                            + rng.uniform(-0.08, 0.05)),
                         (rng.uniform(0.035, 0.06), rng.uniform(0.05, 0.09)), 0.3) for _ in range(rng.integers(2, 5))]
        total += 0.16 * strength * share * _patchy(canvas, rng, outlines, rng.uniform(0.015, 0.025), 0.18)
    return total


def _look_alikes(canvas: Canvas, patient: Patient, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Normal shadows of any class: basal haze of a shallow breath, one-sided haze of a turned patient, a faint scar."""
    total = np.zeros((canvas.size, canvas.size), np.float32)
    if rng.random() < 0.30:
        low = [blob(rng, patient.place(side, rng.uniform(0.4, 0.8), 0.88), (0.11, 0.06), 0.15) for side in SIDES]
        total += 0.09 * amount * rng.random() * canvas.fill(*low, soft=0.03)
    if rng.random() < 0.30:
        side = SIDES[int(rng.integers(2))]
        half = blob(rng, patient.place(side, 0.5, 0.5), (0.14, 0.28), 0.1)
        total += 0.07 * amount * rng.random() * canvas.fill(half, soft=0.04)
    for _ in range(rng.integers(0, 3)):
        side = SIDES[int(rng.integers(2))]
        centre = patient.place(side, rng.uniform(0.2, 0.95), rng.uniform(0.2, 0.9))
        patch = blob(rng, centre, rng.uniform(0.02, 0.05), 0.3)
        total += 0.12 * amount * rng.random() * canvas.fill(patch, soft=0.014)
    return total


def draw_strength(rng: np.random.Generator, difficulty: float) -> float:
    """Strength of a case's opacity: log-normal; the harder, the fainter and the more spread out."""
    return float(np.exp(rng.normal(0.45 - 0.30 * difficulty, 0.12 + 0.24 * difficulty)).clip(0.05, 2.5))


def draw_findings(canvas: Canvas, patient: Patient, label: str, rng: np.random.Generator,
                  difficulty: float) -> tuple[np.ndarray, float]:
    """(attenuation to add inside the lungs, strength of the class's opacity; 0 for normal)."""
    total = _look_alikes(canvas, patient, rng, 0.9 * min(difficulty, 2.0))
    if label == "normal":
        return total, 0.0
    strength = draw_strength(rng, difficulty)
    opacity = _consolidation if label == "pneumonia" else _ground_glass
    return total + opacity(canvas, patient, rng, strength), strength

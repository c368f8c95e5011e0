"""Whether the models are as sure as they are right: calibration error, Brier score, reliability curve."""

from __future__ import annotations

import numpy as np

from xray_debug.report.inputs import RunFiles
from xray_debug.report.scores import NAMES, with_intervals
from xray_debug.stats.calibration import calibrated_error, reliability_curve, weighted_calibration
from xray_debug.stats.intervals import LEVEL
from xray_debug.stats.scores import Cell, Cells

BINS = 15


def calibration(cells: Cells, run: RunFiles, samples: int, seed: int) -> list[dict]:
    """Calibration error, Brier score and overconfidence (means over seeds) with intervals, and the reliability curve of
    all seeds' predictions together.

    `ece_calibrated`: what the error of a calibrated model as sure as this one stays below, LEVEL of the time.
    """
    rows = []
    for key, cell in cells.items():
        if cell.probabilities is None:
            run.leave_out(f"calibration of {' / '.join(key)}", "the predictions hold no probabilities")
            continue
        labels = np.tile(cell.labels, len(cell.seeds))
        pooled = cell.probabilities.reshape(-1, len(cell.classes))
        rows.append({
            **dict(zip(NAMES, key, strict=True)), **_calibration(cell, samples, seed),
            "confidence": float(pooled.max(1).mean()), "accuracy": float((pooled.argmax(1) == labels).mean()),
            "images": len(cell.labels), "bins": reliability_bins(pooled, labels),
        })  # fmt: skip
    return rows


def _calibration(cell: Cell, samples: int, seed: int) -> dict[str, float]:
    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        return weighted_calibration(cell.probabilities, cell.labels, weights, BINS)

    by_chance = [calibrated_error(each.max(1), BINS, samples, seed, LEVEL) for each in cell.probabilities]
    return {**with_intervals(measured, cell, samples, seed), "ece_calibrated": float(np.mean(by_chance))}


def reliability_bins(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> list[dict]:
    """Mean confidence, accuracy and count of each bin of confidence that holds images."""
    curve = reliability_curve(probabilities, labels, bins)
    return [
        {"confidence": float(curve.confidence[b]), "accuracy": float(curve.accuracy[b]), "images": int(curve.count[b])}
        for b in np.flatnonzero(curve.count)
    ]

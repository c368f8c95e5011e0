"""Whether a classifier's confidence is worth what it says (Guo et al., "On Calibration", ICML 2017)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xray_debug.stats.intervals import LEVEL, wilson


class ReliabilityCurve(NamedTuple):
    """One entry per bin of confidence; empty bins are nan. accuracy has Wilson intervals low, high."""

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _confidence(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) confidence of the predicted class and (n,) whether it is right."""
    probabilities, labels = np.asarray(probabilities, dtype=float), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            f"probabilities, labels: expected (n, K) and (n,), n at least 1, got {probabilities.shape}, {labels.shape}"
        )
    return probabilities.max(1), probabilities.argmax(1) == labels


def _bins(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Index of the bin (i / bins, (i + 1) / bins] of each value; 0 belongs to the first."""
    if bins < 1:
        raise ValueError(f"bins: expected at least 1, got {bins}")
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def reliability_curve(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15, level: float = LEVEL
) -> ReliabilityCurve:
    """Accuracy against confidence in `bins` bins of equal width. probabilities (n, K), labels (n,)."""
    confidence, right = _confidence(probabilities, labels)
    place = _bins(confidence, bins)
    count = np.bincount(place, minlength=bins)
    hits = np.bincount(place, weights=right, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(place, weights=confidence, minlength=bins) / count
    accuracy, low, high = wilson(hits, count, level)
    low, high = (np.where(count > 0, v, np.nan) for v in (low, high))
    return ReliabilityCurve(np.linspace(0, 1, bins + 1), count, mean, accuracy, low, high)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean over cases of |accuracy - confidence| of the case's bin, in [0, 1]."""
    confidence, right = _confidence(probabilities, labels)
    gap = np.bincount(_bins(confidence, bins), weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))

"""Whether a classifier's confidence is worth what it says (Guo et al., "On Calibration", ICML 2017)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xray_debug.stats.intervals import LEVEL, Interval, percentile_interval, wilson


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


def weighted_calibration(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, bins: int = 15
) -> dict[str, np.ndarray]:
    """ece, brier and overconfidence, (B,) each, averaged over S models, of B weightings of the images.

    brier: squared error of the probabilities, summed over the classes (Brier, 1950), in [0, 2]. overconfidence: mean
    confidence less accuracy, in [-1, 1]. probabilities (S, n, K), labels (n,), weights (B, n); without them B is 1.
    nan for a weighting without images.
    """
    labels = np.asarray(labels)
    weights = np.ones((1, len(labels))) if weights is None else np.asarray(weights, float)
    total, found = weights.sum(1), {"ece": 0.0, "brier": 0.0, "overconfidence": 0.0}
    with np.errstate(invalid="ignore", divide="ignore"):
        for each in np.asarray(probabilities, float):
            confidence, right = _confidence(each, labels)
            gap = confidence - right
            truth = np.eye(each.shape[1])[labels]
            found["ece"] += np.abs(_by_bin(confidence, gap, bins, weights)).sum(1) / total
            found["brier"] += weights @ ((each - truth) ** 2).sum(1) / total
            found["overconfidence"] += weights @ gap / total
    return {name: values / len(probabilities) for name, values in found.items()}


def _by_bin(confidence: np.ndarray, gap: np.ndarray, bins: int, weights: np.ndarray) -> np.ndarray:
    """(B, bins) weighted sums of `gap` (n,) in each bin of confidence."""
    onehot = np.eye(bins)[_bins(confidence, bins)]
    return weights @ (onehot * gap[:, None])


def calibrated_error(confidence: np.ndarray, bins: int = 15, samples: int = 1000, seed: int = 0,
                     level: float = LEVEL) -> float:  # fmt: skip
    """What the calibration error of a calibrated model with these confidences (n,) stays below, `level` of the time.

    Each case is right with the probability that its confidence says (consistency resampling, Broecker and Smith, 2007):
    few images alone make an error, so that an error below this one shows nothing.
    """
    confidence = np.asarray(confidence, float)
    rng, errors = np.random.default_rng(seed), []
    onehot, step = np.eye(bins)[_bins(confidence, bins)], max(4_000_000 // len(confidence), 1)
    for start in range(0, samples, step):
        right = rng.random((min(step, samples - start), len(confidence))) < confidence
        errors.append(np.abs((right - confidence) @ onehot).sum(1) / len(confidence))
    return float(np.quantile(np.concatenate(errors), level))


def error_interval(value: float, draws: np.ndarray, level: float = LEVEL) -> Interval:
    """A calibration error and its interval from resampled ones.

    Resampling adds noise, which an error made of absolute values takes for error: the draws lie above what they are
    draws of. They are moved by that much (the mean's distance from `value`) and cut at 0.
    """
    draws = np.asarray(draws, float)
    draws = draws[~np.isnan(draws)]
    if not len(draws):
        return percentile_interval(value, draws, level)
    found = percentile_interval(value, draws - draws.mean() + value, level)
    return Interval(found.value, max(found.low, 0.0), found.high)

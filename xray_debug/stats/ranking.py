"""How well a score ranks the images that have a finding above those that have not: ROC and precision-recall.

Every threshold that separates two scores is looked at, in many weightings of the images (bootstrap resamples) at once.
"""

from __future__ import annotations

import numpy as np

from xray_debug.stats.scores import Cell

SPECIFICITIES = {"sensitivity_at_90": 0.90, "sensitivity_at_95": 0.95}
MEASURES = ("auroc", "auprc", *SPECIFICITIES)


def counts(scores: np.ndarray, has: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives (B, T) by weight at each of the T distinct scores, "positive" meaning at least as high.

    `scores` (n,) and `has` (n,) bool; `weights` (B, n). From the highest threshold to the lowest.
    """
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    ends = np.flatnonzero(np.append(np.diff(np.asarray(scores)[order]) != 0, True))  # where those that tie end
    ordered = np.asarray(weights, float)[:, order]
    everyone = np.cumsum(ordered, axis=1)[:, ends]
    found = np.cumsum(ordered * np.asarray(has, bool)[order], axis=1)[:, ends]
    return found, everyone - found


def ranking_scores(scores: np.ndarray, has: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """MEASURES, (B,) each in [0, 1]; nan where a weighting leaves no image with the finding, or none without.

    auroc: ties count half. auprc: average precision, the sum of precision times the step in recall (Zhu, 2004;
    scikit-learn's). sensitivity_at_90: the highest sensitivity of a threshold whose specificity is at least 0.90.
    Arguments as for `counts`; without weights B is 1.
    """
    weights = np.ones((1, len(scores))) if weights is None else weights
    found, false = counts(scores, has, weights)
    some, others = found[:, -1:], false[:, -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        steps, false_steps = (np.diff(values, axis=1, prepend=0.0) for values in (found, false))
        area = (false_steps * (found - steps / 2)).sum(1) / (some * others)[:, 0]
        precision = np.divide(found, found + false, out=np.zeros_like(found), where=found + false > 0)
        result = {"auroc": area, "auprc": (steps * precision).sum(1) / some[:, 0]}
        for name, specificity in SPECIFICITIES.items():
            allowed = (false <= (1 - specificity) * others + 1e-9).sum(1)  # of false and found alike, the first ones
            best = found[np.arange(len(found)), np.maximum(allowed - 1, 0)]
            result[name] = np.where(allowed > 0, best, 0.0) / some[:, 0]
    neither = ((some <= 0) | (others <= 0))[:, 0]
    return {name: np.where(neither, np.nan, values) for name, values in result.items()}


def cell_rankings(cell: Cell, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """MEASURES of each class against the rest by its probability, averaged over the seeds: (B, K) each."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in MEASURES}
    for k in range(len(cell.classes)):
        seeds = [ranking_scores(each[:, k], cell.labels == k, weights) for each in cell.probabilities]
        for name, values in found.items():
            values.append(np.mean([one[name] for one in seeds], axis=0))
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def macro(rankings: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Mean over the classes `judged` (K,) bool of (B, K); nan where a resample lacks one of them, or none is judged."""
    return rankings[:, judged].mean(axis=1) if judged.any() else np.full(len(rankings), np.nan)

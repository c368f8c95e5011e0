"""How good a classifier is: the columns of the paper's Table 4, and per class, from confusion matrices.

Precision, recall and F1 are means over classes (macro), as scikit-learn computes them by default: over the classes
that occur among labels or predictions; a share whose denominator is 0 counts as 0. Everything is a function of the
confusion matrix, so that a bootstrap resamples matrices instead of images, which is the same and very fast.
"""

from __future__ import annotations

import numpy as np

OVERALL = ("accuracy", "f1", "precision", "recall")


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int,
                     weights: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """(classes, classes) counts, or sums of `weights` (N,); row: the label, column: the prediction."""
    codes = np.asarray(labels, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(codes, weights, minlength=classes * classes).reshape(classes, classes)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, 0 where below is 0."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below > 0)


def scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Shares in [0, 1] from confusion matrices (..., K, K); row: the label, column: the prediction.

    Returns:
        accuracy, f1, precision, recall of shape (...); sensitivity, ppv, class_f1 of shape (..., K).
    """
    confusion = np.asarray(confusion, dtype=float)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    actual, predicted = confusion.sum(-1), confusion.sum(-2)
    found = {
        "accuracy": _ratio(hits.sum(-1), actual.sum(-1)),
        "sensitivity": _ratio(hits, actual),
        "ppv": _ratio(hits, predicted),
        "class_f1": _ratio(2 * hits, actual + predicted),
    }
    occurs = (actual + predicted > 0).astype(float)
    for macro, single in (("f1", "class_f1"), ("precision", "ppv"), ("recall", "sensitivity")):
        found[macro] = _ratio((found[single] * occurs).sum(-1), occurs.sum(-1))
    return found

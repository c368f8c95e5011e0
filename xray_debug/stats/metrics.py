"""How good a classifier is: the columns of the paper's Table 4, per class and per source, with intervals.

Precision, recall and F1 are means over classes (macro), as scikit-learn computes them by default: over the classes
that occur among labels or predictions; a share whose denominator is 0 counts as 0. Everything is a function of the
confusion matrix, so that a bootstrap resamples matrices instead of images, which is the same and very fast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xray_debug.stats.intervals import Interval, percentile_interval, wilson

OVERALL = ("accuracy", "f1", "precision", "recall")


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) counts; row: the label, column: the prediction."""
    codes = np.asarray(labels, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(codes, minlength=classes * classes).reshape(classes, classes)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, 0 where below is 0."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below > 0)


def scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Shares in [0, 1] from confusion matrices (..., K, K).

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


def _checked(labels, probabilities, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) as class indices and predictions (n,); ValueError where the shapes do not go together."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.ndim != 1 or probabilities.shape != (len(labels), len(classes)):
        raise ValueError(
            f"labels, probabilities: expected shapes (n,) and (n, {len(classes)}), "
            f"got {labels.shape} and {probabilities.shape}"
        )
    if len(labels) and (labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(classes)):
        raise ValueError(f"labels: expected class indices 0 to {len(classes) - 1}, got {np.unique(labels)[:5]}")
    if not np.isfinite(probabilities).all():
        raise ValueError(f"probabilities: {(~np.isfinite(probabilities)).sum()} of them are not finite")
    return labels.astype(np.int64), probabilities.argmax(1) if len(labels) else np.zeros(0, np.int64)


def classification_metrics(labels, probabilities, classes: Sequence[str]) -> dict:
    """Metrics of probabilities (n, K) against labels (n,), class indices in the order of `classes`.

    Returns:
        accuracy, f1, precision, recall (macro); n; per_class {name: {sensitivity ppv f1 support}}; confusion as
        nested lists (row: label, column: prediction).
    """
    labels, predicted = _checked(labels, probabilities, classes)
    confusion = confusion_matrix(labels, predicted, len(classes))
    found = scores(confusion)
    per_class = {
        str(name): {
            "sensitivity": float(found["sensitivity"][i]),
            "ppv": float(found["ppv"][i]),
            "f1": float(found["class_f1"][i]),
            "support": int(confusion[i].sum()),
        }
        for i, name in enumerate(classes)
    }
    overall = {name: float(found[name]) for name in OVERALL}
    return overall | {"n": len(labels), "per_class": per_class, "confusion": confusion.tolist()}


def resampled_confusions(
    labels: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    samples: int,
    seed: int,
    groups: Sequence | None = None,
) -> np.ndarray:
    """(samples, K, K): confusion matrices of bootstrap resamples of the images, or of whole groups (patients).

    Drawing n images with replacement draws the cells of their matrix from a multinomial distribution.
    """
    rng, n = np.random.default_rng(seed), len(labels)
    if groups is None:
        cells = confusion_matrix(labels, predicted, classes).ravel()
        return rng.multinomial(n, cells / n, size=samples).reshape(samples, classes, classes)
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(codes) != n:
        raise ValueError(f"groups: expected {n}, one per image, got {len(codes)}")
    count, size = int(codes.max()) + 1, classes * classes
    cells = np.bincount(codes * size + labels * classes + predicted, minlength=count * size).reshape(count, size)
    drawn = [
        rng.multinomial(count, np.full(count, 1 / count), size=min(256, samples - start)) @ cells
        for start in range(0, samples, 256)
    ]
    return np.concatenate(drawn).reshape(samples, classes, classes)


def _as_dict(interval: Interval) -> dict[str, float | None]:
    """For JSON, where nan has no place: None."""
    return {k: None if np.isnan(v) else float(v) for k, v in interval._asdict().items()}


def metrics_with_intervals(
    labels,
    probabilities,
    classes: Sequence[str],
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    groups: Sequence | None = None,
) -> dict:
    """classification_metrics, each share as {value, low, high}.

    Overall shares and class F1 have percentile bootstrap intervals (of images, or of whole `groups`, such as
    patients); sensitivity and ppv, which are plain shares, Wilson's. A set without images has None throughout.
    """
    labels, predicted = _checked(labels, probabilities, classes)
    result = classification_metrics(labels, probabilities, classes)
    if not len(labels):
        nothing = dict.fromkeys(("value", "low", "high"))
        for part in (result, *result["per_class"].values()):
            part.update({k: dict(nothing) for k in ("sensitivity", "ppv", *OVERALL) if k in part})
        return result
    draws = scores(resampled_confusions(labels, predicted, len(classes), samples, seed, groups))
    for name in OVERALL:
        result[name] = _as_dict(percentile_interval(result[name], draws[name], level))
    confusion = np.array(result["confusion"])
    for i, name in enumerate(classes):
        part = result["per_class"][str(name)]
        part["f1"] = _as_dict(percentile_interval(part["f1"], draws["class_f1"][:, i], level))
        for key, below in (("sensitivity", confusion[i].sum()), ("ppv", confusion[:, i].sum())):
            part[key] = _as_dict(wilson(confusion[i, i], below, level))
    return result


def by_group(
    labels,
    probabilities,
    classes: Sequence[str],
    groups: Sequence,
    level: float = 0.95,
) -> dict:
    """Accuracy per group (source, hospital), and the worst group, as WILDS reports them.

    Returns:
        groups {name: {n, accuracy {value low high}, classes {class: images}}} in order of name, with Wilson
        intervals; worst {group, n, accuracy} (of the groups with the lowest accuracy, the largest), None without
        images.
    """
    labels, predicted = _checked(labels, probabilities, classes)
    groups = np.asarray(groups).astype(str)
    if groups.shape != labels.shape:
        raise ValueError(f"groups: expected {len(labels)}, one per image, got shape {groups.shape}")
    found = {}
    for name in np.unique(groups):
        rows = groups == name
        hits = int((labels[rows] == predicted[rows]).sum())
        counts = np.bincount(labels[rows], minlength=len(classes))
        found[str(name)] = {
            "n": int(rows.sum()),
            "accuracy": _as_dict(wilson(hits, int(rows.sum()), level)),
            "classes": {str(c): int(k) for c, k in zip(classes, counts, strict=True) if k},
        }
    worst = min(found, key=lambda g: (found[g]["accuracy"]["value"], -found[g]["n"]), default=None)
    return {
        "groups": found,
        "worst": None if worst is None else {"group": worst, **{k: found[worst][k] for k in ("n", "accuracy")}},
    }

"""Scores of several models (seeds) on the same images, with bootstrap intervals over the images.

A resample of images is a vector of counts, and every score is a function of the confusion matrix, so all
resamples of all seeds are one matrix product: counts (B, n) times the one-hot cells (n, S K K). Images of one
patient are no independent evidence and are drawn together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xray_debug.stats.intervals import Interval, percentile_interval
from xray_debug.stats.metrics import scores

METRICS = ("accuracy", "f1", "precision", "recall")


@dataclass(frozen=True)
class Cell:
    """Predictions of every seed's model on one test set: one cell of the 2x2."""

    image_ids: np.ndarray  # (n,) sorted
    labels: np.ndarray  # (n,) class indices
    sources: np.ndarray  # (n,)
    predicted: np.ndarray  # (S, n) class indices
    probabilities: np.ndarray | None  # (S, n, K), rows sum to 1
    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    patients: np.ndarray | None = None  # (n,) whose image it is; None: every image is somebody else's

    @property
    def correct(self) -> np.ndarray:
        """(S, n) bool."""
        return self.predicted == self.labels[None]

    def take(self, images: np.ndarray, seeds: list[int] | None = None) -> Cell:
        """The cell of the images at these positions and of these seeds."""
        rows = [self.seeds.index(seed) for seed in (self.seeds if seeds is None else seeds)]
        probabilities = None if self.probabilities is None else self.probabilities[rows][:, images]
        return Cell(self.image_ids[images], self.labels[images], self.sources[images], self.predicted[rows][:, images],
                    probabilities, tuple(self.seeds[row] for row in rows), self.classes,
                    None if self.patients is None else self.patients[images])  # fmt: skip


def confusion_matrices(cell: Cell, weights: np.ndarray | None = None) -> np.ndarray:
    """Confusion matrices (S, K, K), or (B, S, K, K) with (B, n) `weights` of the images."""
    kinds = len(cell.classes)
    index = cell.labels[None] * kinds + cell.predicted
    onehot = (index[..., None] == np.arange(kinds * kinds)).astype(np.float32)  # (S, n, K K)
    if weights is None:
        return onehot.sum(1).reshape(-1, kinds, kinds)
    flat = onehot.transpose(1, 0, 2).reshape(len(cell.labels), -1)
    return (weights.astype(np.float32) @ flat).reshape(len(weights), -1, kinds, kinds)


def resampled_scores(cell: Cell, samples: int, seed: int, chunk: int = 500) -> dict[str, np.ndarray]:
    """(B,) scores, averaged over the seeds' models, of `samples` bootstrap resamples of the images, patient by patient.

    Cells with the same images and the same `seed` are resampled alike: the difference of two such results is a paired
    bootstrap.
    """
    owners = cell.image_ids if cell.patients is None else cell.patients
    groups = np.unique(owners, return_inverse=True)[1]
    rng, size = np.random.default_rng(seed), int(groups.max()) + 1
    parts = []
    for start in range(0, samples, chunk):
        picked = rng.integers(0, size, (min(chunk, samples - start), size))
        offset = picked + size * np.arange(len(picked))[:, None]
        weights = np.bincount(offset.ravel(), minlength=picked.shape[0] * size).reshape(len(picked), size)[:, groups]
        found = scores(confusion_matrices(cell, weights))
        parts.append({name: found[name].mean(1) for name in METRICS})
    return {name: np.concatenate([part[name] for part in parts]) for name in METRICS}


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def cell_scores(cell: Cell, samples: int, seed: int, level: float) -> dict[str, float | None]:
    """Each metric averaged over the seeds, its interval over images and its spread (sd) over seeds."""
    per_seed = scores(confusion_matrices(cell))
    resampled = resampled_scores(cell, samples, seed)
    result: dict[str, float | None] = {}
    for name in METRICS:
        result |= _named(name, percentile_interval(per_seed[name].mean(), resampled[name], level))
        result[f"{name}_spread"] = float(per_seed[name].std(ddof=1)) if len(cell.seeds) > 1 else None
        result[f"{name}_per_seed"] = [float(value) for value in per_seed[name]]
    return result


def common(first: Cell, second: Cell) -> tuple[Cell, Cell]:
    """Both cells cut to the images and seeds they share, in the same order.

    Raises ValueError where they share none, or where an image's label differs between them.
    """
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    shared, left, right = np.intersect1d(first.image_ids, second.image_ids, return_indices=True)
    if not len(shared) or not seeds:
        raise ValueError("the two sets of predictions share no image or no seed")
    first, second = first.take(left, seeds), second.take(right, seeds)
    if (first.labels != second.labels).any():
        name = shared[np.flatnonzero(first.labels != second.labels)[0]]
        raise ValueError(f"{name} has two labels: {first.classes} differ between the predictions compared")
    return first, second


def paired_difference(first: Cell, second: Cell, samples: int, seed: int, level: float) -> dict[str, float]:
    """Second minus first, averaged over seeds, with paired bootstrap intervals over the shared images."""
    first, second = common(first, second)
    a, b = (resampled_scores(cell, samples, seed) for cell in (first, second))
    point_a, point_b = (scores(confusion_matrices(cell)) for cell in (first, second))
    result: dict[str, float] = {}
    for name in METRICS:
        value = point_b[name].mean() - point_a[name].mean()
        result |= _named(name, percentile_interval(value, b[name] - a[name], level))
    return result


def unpaired_difference(first: Cell, second: Cell, samples: int, seed: int, level: float) -> dict[str, float]:
    """Accuracy on second minus on first where the images differ: each is resampled by itself."""
    a = resampled_scores(first, samples, seed)["accuracy"]
    b = resampled_scores(second, samples, seed + 1)["accuracy"]
    return _named("accuracy", percentile_interval(second.correct.mean() - first.correct.mean(), b - a, level))

"""Made-up predictions of several models on one test set, for the tests of scores and of the report's tables."""

from __future__ import annotations

import numpy as np

from xray_debug.stats.scores import Cell

CLASSES = ("normal", "pneumonia", "COVID-19")


def make_cell(size=40, seeds=(0, 1), skill=0.8, seed=0, prefix="i", labels=None) -> Cell:
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % 3 if labels is None else labels
    right = rng.random((len(seeds), size)) < skill
    predicted = np.where(right, labels, (labels + rng.integers(1, 3, (len(seeds), size))) % 3)
    probabilities = rng.dirichlet([1, 1, 1], (len(seeds), size)) * 0.4
    probabilities += 0.6 * np.eye(3)[predicted]
    ids = np.array([f"{prefix}{i:03d}" for i in range(size)])
    sources = np.array(["a", "b"])[(np.arange(size) % 5 == 0).astype(int)]
    return Cell(ids, labels, sources, predicted, probabilities, tuple(seeds), CLASSES)

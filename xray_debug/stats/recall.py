"""Mean recall (balanced accuracy): the share of hits of each class, averaged over the classes that occur."""

from __future__ import annotations

import numpy as np


def mean_recall(hits: np.ndarray, codes: np.ndarray, axis: int = -1) -> np.ndarray:
    """`hits`, 0 or 1, and the classes (`codes`, from 0) of the same images, along `axis`; by chance 1 / classes."""
    with np.errstate(invalid="ignore"):
        recalls = [(hits * (codes == c)).sum(axis=axis) / (codes == c).sum(axis=axis) for c in range(codes.max() + 1)]
    return np.nanmean(recalls, axis=0)

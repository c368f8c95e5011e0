"""Area under the ROC curve: how often an image that has a finding scores higher than one that has it not."""

from __future__ import annotations

import numpy as np


def auroc(scores: np.ndarray, has: np.ndarray) -> float:
    """`scores` (n,) and `has` (n,) bool; ties count half (Mann and Whitney, 1947); nan where one side is empty."""
    has = np.asarray(has, bool)
    some, others = int(has.sum()), int((~has).sum())
    if not some or not others:
        return float("nan")
    _, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[codes]  # from 1, the mean of those that tie
    return float((ranks[has].sum() - some * (some + 1) / 2) / (some * others))

"""How far two people agree beyond chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from xray_debug.stats.intervals import LEVEL, Interval


def cohen_kappa(first: Sequence[str], second: Sequence[str], level: float = LEVEL) -> Interval:
    """Cohen's kappa (1960) of two raters' words for the same things, with its asymptotic interval.

    The standard error is that of Fleiss, Cohen and Everitt (1969), which does not assume that kappa is 0; the interval
    is cut to [-1, 1], and nan where the words leave no variance (full agreement): they say nothing of the next thing.
    Everything is nan where both always said the same one word, which chance alone would.
    ValueError: no things, or unequally many.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"raters: expected the same number of words, at least 1, got {len(first)} and {len(second)}")
    names = sorted({*first, *second})
    place = {name: index for index, name in enumerate(names)}
    shares = np.zeros((len(names), len(names)))
    for one, other in zip(first, second, strict=True):
        shares[place[one], place[other]] += 1 / len(first)
    rows, columns = shares.sum(1), shares.sum(0)
    agreed, chance = shares.trace(), float(rows @ columns)
    if chance > 1 - 1e-12:
        return Interval(float("nan"), float("nan"), float("nan"))
    kappa = float((agreed - chance) / (1 - chance))
    half = float(special.ndtri((1 + level) / 2) * _standard_error(shares, kappa, chance, len(first)))
    if half < 1e-9:
        return Interval(kappa, float("nan"), float("nan"))
    return Interval(kappa, max(kappa - half, -1.0), min(kappa + half, 1.0))


def _standard_error(shares: np.ndarray, kappa: float, chance: float, count: int) -> float:
    rows, columns, diagonal = shares.sum(1), shares.sum(0), np.diag(shares)
    same = float((diagonal * (1 - (rows + columns) * (1 - kappa)) ** 2).sum())
    both = (columns[:, None] + rows[None, :]) ** 2  # of said i by the first, j by the second: column i, row j
    other = (1 - kappa) ** 2 * float((shares * both).sum() - (diagonal * np.diag(both)).sum())
    variance = same + other - (kappa - chance * (1 - kappa)) ** 2
    return float(np.sqrt(max(variance, 0.0) / count) / (1 - chance))

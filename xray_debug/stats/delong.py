"""Areas under ROC curves of the same images, compared by their covariance (DeLong, DeLong and Clarke-Pearson, 1988).

The structural components come from midranks (Sun and Xu, 2014), in the time of a sort, not of all pairs.
Images of one patient are no independent evidence: the components are then summed by patient (Obuchowski, 1997), which
is DeLong's estimate where every patient has one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from xray_debug.stats.intervals import LEVEL


class PairedAUROC(NamedTuple):
    """Two areas, second less first with its normal interval, and the two-sided p; nan where the variance is 0."""

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


def midranks(values: np.ndarray) -> np.ndarray:
    """(n,) ranks from 1 in increasing order; those that tie share the mean of their ranks."""
    _, codes, tied = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(tied) - (tied - 1) / 2)[codes]


def components(scores: np.ndarray, has: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Structural components of the area: of each image with the finding (m,), and of each without (n,).

    The share of the other side's images that score lower (of one without: higher), ties half; the mean is the area.
    """
    scores, has = np.asarray(scores, float), np.asarray(has, bool)
    together, some, others = midranks(scores), int(has.sum()), int((~has).sum())
    return (together[has] - midranks(scores[has])) / others, 1 - (together[~has] - midranks(scores[~has])) / some


def area_covariance(scores: Sequence[np.ndarray], has: np.ndarray, groups: Sequence | None = None
                    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Areas (k,) of k classifiers and the covariance of their estimates (k, k).

    Args:
        scores: k arrays (S, n): the same images by S models each, whose mean area counts.
        has: (n,) bool, whether an image has the finding.
        groups: (n,) patients; None: every image is somebody else's.
    """
    has = np.asarray(has, bool)
    some, others = int(has.sum()), int((~has).sum())
    if not some or not others:
        raise ValueError(f"has: expected images with the finding and without, got {some} and {others}")
    parts = [[components(one, has) for one in np.atleast_2d(each)] for each in scores]
    with_it, without = (np.stack([np.mean([one[i] for one in each], axis=0) for each in parts]) for i in (0, 1))
    areas = with_it.mean(axis=1)
    codes = np.arange(len(has)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    size = int(codes.max()) + 1
    sums, holders = [], []
    for rows, values in ((has, with_it), (~has, without)):
        sums.append(np.stack([np.bincount(codes[rows], each - area, minlength=size)
                              for each, area in zip(values, areas, strict=True)]))  # fmt: skip
        holders.append(len(np.unique(codes[rows])))
    if min(holders) < 2:
        return areas, np.full((len(areas), len(areas)), np.nan)
    found = [sums[i] @ sums[i].T * holders[i] / (holders[i] - 1) for i in (0, 1)]
    both = sums[0] @ sums[1].T * size / (size - 1)
    return areas, found[0] / some**2 + found[1] / others**2 + (both + both.T) / (some * others)


def delong(first: np.ndarray, second: np.ndarray, has: np.ndarray, groups: Sequence | None = None,
           level: float = LEVEL) -> PairedAUROC:  # fmt: skip
    """DeLong's test of two classifiers on the same images: `first` and `second` (n,), or (S, n) for S models each.

    Other arguments as for `area_covariance`. Two equal areas of no variance have p 1.
    """
    areas, covariance = area_covariance([first, second], has, groups)
    change, variance = float(areas[1] - areas[0]), float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if not variance > 1e-15:
        known = abs(change) < 1e-12 and variance == variance
        none = 0.0 if known else float("nan")
        return PairedAUROC(float(areas[0]), float(areas[1]), change, none, none, 1.0 if known else none)
    spread = float(np.sqrt(variance))
    half = float(special.ndtri((1 + level) / 2)) * spread
    p = float(2 * special.ndtr(-abs(change) / spread))
    return PairedAUROC(float(areas[0]), float(areas[1]), change, change - half, change + half, p)

"""The statistics behind the verdict: one-sided randomisation tests, each exact but for the number of draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from xray_debug.stats.intervals import check_paired

HELD = 4_000_000  # random numbers at once


def sign_flip_p(differences: np.ndarray, samples: int, seed: int) -> float:
    """One-sided p of mean(differences) > 0 when every sign is equally likely; (1 + hits) / (1 + samples)."""
    values = np.asarray(differences, float)
    if not len(values):
        return 1.0
    rng, hits, step = np.random.default_rng(seed), 0, min(500, max(HELD // len(values), 1))
    for start in range(0, samples, step):
        signs = rng.integers(0, 2, (min(step, samples - start), len(values)), dtype=np.int8) * 2 - 1
        hits += int((signs @ values >= values.sum() - 1e-12).sum())
    return (1 + hits) / (1 + samples)


def separation(beyond: np.ndarray, own: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over the class's images less mean over the others, along `axis`; nan where either is missing."""
    count = own.sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        mine = np.where(own, beyond, 0.0).sum(axis=axis) / count
        return mine - np.where(own, 0.0, beyond).sum(axis=axis) / (own.shape[axis] - count)


def separation_p(beyond: np.ndarray, own: np.ndarray, permutations: int, seed: int) -> float:
    """One-sided p of the separation when it does not matter which images are of the class."""
    seen = separation(beyond, own) - 1e-12
    hits = sum(int((separation(np.broadcast_to(beyond, shuffled.shape), shuffled) >= seen).sum())
               for shuffled in _shuffles(own, permutations, seed))  # fmt: skip
    return (1 + hits) / (1 + permutations)


def own_over_others(beyond: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Effect on each image's own class less the mean on the other classes; (N, K) and classes (..., N) to (..., N)."""
    own = beyond[np.arange(len(beyond)), codes]
    return own - (beyond.sum(axis=1) - own) / (beyond.shape[1] - 1)


def label_permutation_p(beyond: np.ndarray, codes: np.ndarray, permutations: int, seed: int) -> float:
    """One-sided p of mean(own_over_others) when it does not matter which image has which label."""
    seen = own_over_others(beyond, codes).mean() - 1e-12
    hits = sum(int((own_over_others(beyond, shuffled).mean(axis=1) >= seen).sum())
               for shuffled in _shuffles(codes, permutations, seed))  # fmt: skip
    return (1 + hits) / (1 + permutations)


def _shuffles(values: np.ndarray, permutations: int, seed: int) -> Iterator[np.ndarray]:
    """(b, n) shuffled copies of `values` (n,), `permutations` in all, HELD numbers or one copy at once."""
    rng, step = np.random.default_rng(seed), max(HELD // max(len(values), 1), 1)
    for start in range(0, permutations, step):
        yield rng.permuted(np.tile(values, (min(step, permutations - start), 1)), axis=1)


class PermutationTest(NamedTuple):
    """The statistic, its mean when y is shuffled, and the one-sided p (large statistics are evidence)."""

    value: float
    chance: float
    p: float


def permutation_test(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    x: np.ndarray,
    y: np.ndarray,
    permutations: int = 1000,
    seed: int = 0,
    groups: Sequence | None = None,
) -> PermutationTest:
    """Whether statistic(x, y) is larger than when y is shuffled against x.

    p = (1 + number of shuffles at least as large) / (1 + permutations), so never 0 (Phipson and Smyth, 2010).
    With `groups`, (n,), y is shuffled inside each group only.
    """
    x, y = check_paired([x, y])
    if permutations < 1:
        raise ValueError(f"permutations: expected at least 1, got {permutations}")
    rng, value = np.random.default_rng(seed), float(statistic(x, y))
    codes = np.zeros(len(y), int) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(codes) != len(y):
        raise ValueError(f"groups: expected {len(y)}, one per row, got {len(codes)}")
    places, draws = np.argsort(codes, kind="stable"), np.empty(permutations)
    for i in range(permutations):
        shuffled = np.empty_like(y)
        # sorting by (group, random number) shuffles within each group
        shuffled[places] = y[np.lexsort((rng.random(len(y)), codes))]
        draws[i] = statistic(x, shuffled)
    tolerance = 1e-12 * max(abs(value), 1)
    at_least = int((draws >= value - tolerance).sum())
    return PermutationTest(value, float(draws.mean()), (1 + at_least) / (1 + permutations))

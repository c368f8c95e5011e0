"""Intervals of shares, means and anything that can be resampled.

All functions are pure; those that draw random numbers take a seed and give the same answer for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special  # and not scipy.stats, which takes a second to import

LEVEL = 0.95  # of every interval that is not asked for otherwise
CHUNK = 4_000_000  # numbers held at once while resampling


class Interval(NamedTuple):
    """An estimate and the ends of its interval; nan where they cannot be had."""

    value: float
    low: float
    high: float


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")


def check_paired(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays, all of the same length, at least 1, along their first axis."""
    arrays = [np.asarray(a) for a in arrays]
    lengths = {len(a) for a in arrays}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"arrays: expected the same length, at least 1, got {[len(a) for a in arrays]}")
    return arrays


def _takes_axis(function: Callable) -> bool:
    try:
        return "axis" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _resampled(function: Callable, arrays: list[np.ndarray], samples: int, seed: int) -> np.ndarray:
    """`function` of `samples` resamples with replacement of the rows of all arrays together: (samples,)."""
    n, rng = len(arrays[0]), np.random.default_rng(seed)
    if not _takes_axis(function) or any(a.ndim > 1 for a in arrays):
        return np.array([float(function(*(a[rows] for a in arrays))) for rows in rng.integers(0, n, (samples, n))])
    step, parts = max(CHUNK // n, 1), []
    for start in range(0, samples, step):
        rows = rng.integers(0, n, (min(step, samples - start), n))
        parts.append(np.asarray(function(*(a[rows] for a in arrays), axis=-1), dtype=float))
    return np.concatenate(parts)


def percentile_interval(value: float, draws: np.ndarray, level: float = LEVEL) -> Interval:
    """`value` with the central `level` of `draws` (those that are not nan) as its interval."""
    _check_level(level)
    draws = np.asarray(draws, dtype=float)
    draws = draws[~np.isnan(draws)]
    if not len(draws):
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def bootstrap(
    function: Callable,
    arrays: Sequence[np.ndarray],
    samples: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
    groups: Sequence | None = None,
) -> Interval:
    """Percentile bootstrap interval of `function(*arrays)` (Efron, 1979).

    Args:
        function: of the arrays, to a number. Where it takes `axis` it is called on (samples, n) at once.
        arrays: of one length n; rows are resampled together.
        groups: (n,) patients, say: whole groups are resampled, for rows that are not independent.
    """
    arrays = check_paired(arrays)
    value = function(*arrays)
    if groups is None:
        return percentile_interval(value, _resampled(function, arrays, samples, seed), level)
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(codes) != len(arrays[0]):
        raise ValueError(f"groups: expected {len(arrays[0])}, one per row, got {len(codes)}")
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rng, draws = np.random.default_rng(seed), np.empty(samples)
    for i in range(samples):
        rows = np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])
        draws[i] = function(*(a[rows] for a in arrays))
    return percentile_interval(value, draws, level)


def paired_bootstrap_difference(
    function: Callable,
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    samples: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Interval of function(*second) - function(*first), the same rows drawn for both (two models, one test set)."""
    first, second = list(first), list(second)
    arrays, split = check_paired(first + second), len(first)

    def difference(*all_arrays):
        return function(*all_arrays[split:]) - function(*all_arrays[:split])

    def difference_along(*all_arrays, axis):
        return function(*all_arrays[split:], axis=axis) - function(*all_arrays[:split], axis=axis)

    draws = _resampled(difference_along if _takes_axis(function) else difference, arrays, samples, seed)
    return percentile_interval(difference(*arrays), draws, level)


def wilson(k: int | np.ndarray, n: int | np.ndarray, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a share k / n (Wilson, 1927); n = 0 gives (nan, 0, 1). Arrays give arrays."""
    _check_level(level)
    k, n = np.asarray(k, dtype=float), np.asarray(n, dtype=float)
    if (k < 0).any() or (k > n).any():
        raise ValueError(f"k, n: expected 0 <= k <= n, got {k} and {n}")
    z2 = special.ndtri((1 + level) / 2) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = k / n
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low = np.where(n == 0, 0.0, np.where(k == 0, 0.0, middle - half))
    high = np.where(n == 0, 1.0, np.where(k == n, 1.0, middle + half))
    if share.ndim == 0:
        return Interval(float(share), float(low), float(high))
    return Interval(share, low, high)


def mean_interval(values: np.ndarray, level: float = LEVEL) -> Interval:
    """Mean of the values that are not nan and its interval by Student's t; one value has no interval (nan)."""
    _check_level(level)
    values = np.asarray(values, dtype=float).ravel()
    values = values[~np.isnan(values)]
    n = len(values)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    mean = float(values.mean())
    if n == 1:
        return Interval(mean, float("nan"), float("nan"))
    half = float(special.stdtrit(n - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half)

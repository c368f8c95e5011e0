"""Tests of two classifiers on the same cases, and p-values that are many or belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special


class McNemar(NamedTuple):
    """Cases that only the first, and only the second, has right, and the two-sided exact p."""

    only_a: int
    only_b: int
    p: float


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> McNemar:
    """Exact McNemar test of two classifiers on the same cases, (n,) booleans each (McNemar, 1947)."""
    a, b = (np.asarray(x, dtype=bool) for x in (correct_a, correct_b))
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"correct_a, correct_b: expected the same shape (n,), got {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    if only_a + only_b == 0:
        return McNemar(0, 0, 1.0)
    p = 2 * special.bdtr(min(only_a, only_b), only_a + only_b, 0.5)
    return McNemar(only_a, only_b, float(min(p, 1.0)))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values adjusted for being many (Holm, 1979): (n,), in the order given. nan stays nan and is not counted."""
    p = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(~np.isnan(p))
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise ValueError(f"p_values: expected numbers in [0, 1], got {p}")
    adjusted = p.copy()
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def combined_p(p_values: list[float]) -> float:
    """One p-value of several that may depend on each other in any way: K/k times the k-th smallest, k = ceil(K/2).

    Rueger 1978. One p-value is returned as it is, three give 1.5 times the middle one.
    """
    ordered = sorted(p_values)
    k = (len(ordered) + 1) // 2
    return min(1.0, len(ordered) / k * ordered[k - 1])

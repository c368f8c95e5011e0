"""The statistics behind the verdict: one-sided randomisation tests, each exact but for the number of draws."""

from __future__ import annotations

import numpy as np


def sign_flip_p(differences: np.ndarray, samples: int, seed: int) -> float:
    """One-sided p of mean(differences) > 0 when every sign is equally likely; (1 + hits) / (1 + samples)."""
    values = np.asarray(differences, float)
    if not len(values):
        return 1.0
    rng, hits, step = np.random.default_rng(seed), 0, 500
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
    shuffled = np.random.default_rng(seed).permuted(np.tile(own, (permutations, 1)), axis=1)
    hits = separation(np.broadcast_to(beyond, shuffled.shape), shuffled) >= separation(beyond, own) - 1e-12
    return float((1 + hits.sum()) / (1 + permutations))


def own_over_others(beyond: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Effect on each image's own class less the mean on the other classes; (N, K) and classes (..., N) to (..., N)."""
    own = beyond[np.arange(len(beyond)), codes]
    return own - (beyond.sum(axis=1) - own) / (beyond.shape[1] - 1)


def label_permutation_p(beyond: np.ndarray, codes: np.ndarray, permutations: int, seed: int) -> float:
    """One-sided p of mean(own_over_others) when it does not matter which image has which label."""
    shuffled = np.random.default_rng(seed).permuted(np.tile(codes, (permutations, 1)), axis=1)
    hits = own_over_others(beyond, shuffled).mean(axis=1) >= own_over_others(beyond, codes).mean() - 1e-12
    return float((1 + hits.sum()) / (1 + permutations))

"""Resamples of whole patients, as weights: how often each image is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

HELD = 1_000_000  # weights at once


def resample_weights(owners: np.ndarray, samples: int, seed: int, chunk: int | None = None) -> Iterator[np.ndarray]:
    """(b, n) counts, `samples` rows in all, of bootstrap resamples of the owners: an owner's images are drawn together.

    `owners`: (n,) patients, or image names where every image is somebody else's. The same owners and seed give the same
    resamples, however many rows come at once (`chunk`).
    """
    groups = np.unique(owners, return_inverse=True)[1]
    rng, size = np.random.default_rng(seed), int(groups.max()) + 1
    chunk = chunk or max(HELD // len(groups), 1)
    for start in range(0, samples, chunk):
        picked = rng.integers(0, size, (min(chunk, samples - start), size))
        offset = picked + size * np.arange(len(picked))[:, None]
        yield np.bincount(offset.ravel(), minlength=len(picked) * size).reshape(len(picked), size)[:, groups]


def resampled(owners: np.ndarray, function: Callable[[np.ndarray], dict[str, np.ndarray]], samples: int,
              seed: int) -> dict[str, np.ndarray]:  # fmt: skip
    """What `function` makes of the weights (b, n), name -> (b, ...), of all resamples: name -> (samples, ...)."""
    parts = [function(weights) for weights in resample_weights(owners, samples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

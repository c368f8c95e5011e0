"""Random numbers that depend on an image's own seed and on nothing else: not on its batch, not on chunks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xray_debug.stats.seeds import seed_of


def image_seeds(seed: int | Sequence[int], count: int) -> list[int]:
    """One seed per image: a single number serves every image, so that a map does not depend on its place."""
    if isinstance(seed, bool):
        raise TypeError("seed: expected an int or one int per image, got a bool")
    if hasattr(seed, "tolist"):
        seed = seed.tolist()
    if isinstance(seed, int):
        return [seed] * count
    seeds = [int(value) for value in seed]
    if len(seeds) != count:
        raise ValueError(f"seed: expected one number or {count}, one per image; got {len(seeds)}")
    return seeds


def generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """A generator set by the key alone."""
    return torch.Generator(device=device).manual_seed(seed_of(*key) >> 1)


def uniform(*key: int | str) -> float:
    """One number in [0, 1) set by the key alone."""
    return (seed_of(*key) >> 11) / 2**53

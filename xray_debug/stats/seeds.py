"""Seeds made of names: the one way in which a random stream is tied to what it is for.

A stream depends on its parts alone: not on the order of the work, not on its neighbours, batches, processes or parts.
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np


def seed_of(*parts) -> int:
    """A 64-bit seed that depends on nothing but `parts` (numbers, strings, tuples): sha256 of their repr."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:8], "little")


def rng_of(*parts) -> np.random.Generator:
    """NumPy's generator for `seed_of(*parts)`."""
    return np.random.default_rng(seed_of(*parts))

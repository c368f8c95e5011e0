"""A small synthetic film for the tests of how films look."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def film(seed=0, side=64, grain=0.01):
    """A smooth film with some detail and grain, float32 in [0.2, 0.8] or so."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((side, side)), 5)
    detail = ndimage.gaussian_filter(rng.standard_normal((side, side)), 1.2)
    image = 0.5 + 0.12 * smooth / smooth.std() + 0.03 * detail / detail.std()
    return (image + grain * rng.standard_normal((side, side))).clip(0, 1).astype(np.float32)

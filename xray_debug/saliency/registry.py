"""Explanation methods by name: those of methods/ and of other packages.

A method is a function `(model, images, targets, baselines=None, mask_size=28, seed=0, **options) -> Explanation`, as
igos_pp documents it: a map of m x m for each image, which depends on its own seed and not on its neighbours; the model
is left as it was found. A method that iterates takes `progress`, a function called with (done, of how many) as it goes
on, the last time with all done. `seed` is a number or one for each image. A value it cannot use is a ValueError, an
unknown option a TypeError.
"""

from __future__ import annotations

from xray_debug.data.registry import Registry

METHODS = Registry("explanation method", "xray_debug.methods")

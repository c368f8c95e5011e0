"""Networks by name: covidnet, covidnext50, those of other packages, and (in build.py) torchvision's.

A network is registered as a function `(classes: int, view: ModelView, pretrained: bool, **options) -> nn.Module` that
gives logits (N, classes). What the module takes is said by two attributes of it: `input_channels` (1, or 3, the
default: the grey image is repeated) and `normalise` (a key of classifier.NORMALISATIONS; "imagenet" by default).
Options it does not know are a TypeError, values it cannot use a ValueError.
"""

from __future__ import annotations

from xray_debug.data.registry import Registry

NETWORKS = Registry("model", "xray_debug.models")

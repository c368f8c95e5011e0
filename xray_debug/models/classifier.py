"""The one interface that every classifier of this project has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from xray_debug.data.view import ModelView

# mean and standard deviation of the input, per channel
NORMALISATIONS = {
    "gray": ((0.5,), (0.25,)),
    "unit": ((0.0,), (1.0,)),
    "symmetric": ((0.5,), (0.5,)),  # -1 to 1
    "torchxrayvision": ((0.5,), (1 / 2048,)),  # -1024 to 1024
    "none": ((0.0,), (1 / 255,)),  # 0 to 255
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def device_of(model: nn.Module) -> torch.device:
    """Where a model's numbers lie; some have no parameters."""
    return next(chain(model.parameters(), model.buffers())).device


class XrayClassifier(nn.Module):
    """A network behind a fixed contract: grey images in [0, 1] in, logits out.

    Args:
        name: the name `build_model` knows the network by.
        classes: the class names, in the order of the logits.
        view: what the network sees of a radiograph.
        net: (N, channels, S, S) -> (N, K) logits.
        channels: 1 or 3; with 3 the grey image is repeated.
        normalise: a key of NORMALISATIONS, applied inside `forward`.
        options: what `build_model` needs to make the same network again.
    """

    plain = True  # a network of layers, which may be copied, folded and drawn anew; no program from a file
    layout = torch.channels_last  # of weights and images
    differentiable = True

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        view: ModelView,
        net: nn.Module,
        channels: int = 1,
        normalise: str = "gray",
        options: dict | None = None,
    ):
        super().__init__()
        if normalise not in NORMALISATIONS:
            raise ValueError(f"normalise: expected one of {', '.join(NORMALISATIONS)}, got {normalise!r}")
        self.name, self.classes, self.view = name, list(classes), view
        self.net = net.to(memory_format=self.layout)  # twice as fast on CPUs with 1x1 convolutions
        self.channels, self.normalise, self.options = channels, normalise, dict(options or {})
        self.extra: dict = {}
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in NORMALISATIONS[normalise])
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of `images` (N, 1, S, S), values in [0, 1]."""
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"images: expected shape (N, 1, S, S), got {tuple(images.shape)}")
        inputs = (images.expand(-1, self.channels, -1, -1) - self.mean) / self.std
        return self.net(inputs.contiguous(memory_format=self.layout))

    @property
    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

"""The user's network behind XrayClassifier's contract: grey images in [0, 1] in, logits of the run's classes out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xray_debug.config import ModelConfig
from xray_debug.data.asked import run_classes
from xray_debug.data.view import ModelView
from xray_debug.models.classifier import NORMALISATIONS, XrayClassifier
from xray_debug.models.own.outputs import tensor_of, to_logits

GREY = {"imagenet": ((0.449,), (0.226,))}  # for one channel: the mean over the three


class OwnClassifier(XrayClassifier):
    """See XrayClassifier. `net`: takes (N, channels, S, S), normalised as `config` says, or what `preprocess` makes.

    `kind`: of the file, as kinds.py names it, or how else the network came. `answers` gives the model's own numbers.
    """

    def __init__(self, net: nn.Module, config: ModelConfig, view: ModelView, name: str, kind: str = "",
                 preprocess: Callable[[Tensor], Tensor] | None = None):  # fmt: skip
        classes = run_classes(config)
        nn.Module.__init__(self)
        self.name, self.classes, self.view, self.net = name, classes, view, net
        self.config, self.kind, self.preprocess = config, kind, preprocess
        self.channels, self.normalise = config.channels, config.normalise
        self.options, self.extra, self.plain = {}, {}, kind == ""
        self.layout = torch.channels_last if config.arch is not None and self.plain else torch.contiguous_format
        self.net.to(memory_format=self.layout)
        mean, std = statistics(config)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def inputs(self, images: Tensor) -> Tensor:
        """What the network is given for `images` (N, 1, S, S) in [0, 1]."""
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"images: expected shape (N, 1, S, S), got {tuple(images.shape)}")
        if self.preprocess is not None:
            return self.preprocess(images)
        found = (images.expand(-1, self.channels, -1, -1) - self.mean) / self.std
        return found.contiguous(memory_format=self.layout)

    def answers(self, images: Tensor) -> Tensor:
        """The network's own numbers (N, K), as `config.output` says what they are."""
        return tensor_of(self.net(self.inputs(images)), self.name)

    def forward(self, images: Tensor) -> Tensor:
        return to_logits(self.answers(images), self.config)

    def normalised(self, normalise: str) -> OwnClassifier:
        """The same network asked with another normalisation; it shares the weights."""
        config = self.config.model_copy(update={"normalise": normalise, "mean": None, "std": None})
        return OwnClassifier(self.net, config, self.view, self.name, self.kind).to(self.mean.device).eval()


def statistics(config: ModelConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation for each channel, of values in [0, 1]."""
    if config.mean is not None:
        return tuple(config.mean), tuple(config.std)
    mean, std = NORMALISATIONS[config.normalise]
    if len(mean) in (1, config.channels):
        return mean, std
    return GREY[config.normalise]

"""New classifiers by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from xray_debug.data.view import ModelView
from xray_debug.models import covidnet, covidnext50, imagenet  # noqa: F401  covidnet registers itself
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.registry import NETWORKS
from xray_debug.models.weights import fill, read_state


def check_name(name: str) -> None:
    """ValueError for a name that is no network's."""
    if name not in NETWORKS and not imagenet.is_known(name):
        raise ValueError(f"model: expected {', '.join(NETWORKS)} or a torchvision classifier's name, got {name!r}")


def build_model(
    name: str,
    classes: Sequence[str],
    view: ModelView,
    pretrained: bool = False,
    seed: int | None = None,
    weights: str | Path | None = None,
    **options,
) -> XrayClassifier:
    """A new classifier.

    Args:
        name: a name of NETWORKS (covidnet, covidnext50, ...) or of a torchvision classifier (resnet18, ...).
        classes: class names in the order of the logits.
        view: what the model sees of a radiograph.
        pretrained: start from torchvision's ImageNet weights (downloads them).
        seed: of the initial weights; the global random state is left alone. None takes the global state.
        weights: a .safetensors or .pth file to start from. The published COVID-Next checkpoint is recognised by
            its names (covidnext50); it then gets its own input range, `normalise="unit"`.
        options: `normalise` (gray, unit or imagenet) and what the network itself takes (covidnet: width, depth,
            expansion, dropout).

    Raises:
        ValueError: an unknown name or option, weights that do not fit or cannot be had.
    """
    classes = [str(c) for c in classes]
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise ValueError(f"classes: expected at least two different names, got {classes}")
    check_name(name)
    normalise = options.pop("normalise", None)
    state = read_state(weights) if weights else None
    if state is not None and name == "covidnext50" and covidnext50.is_published(state):
        state, normalise = covidnext50.from_published(state), normalise or "unit"
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        net = _network(name, len(classes), view, pretrained, options)
    if state is not None:
        fill(net, state, str(weights))
    normalise = str(normalise or getattr(net, "normalise", "imagenet"))
    channels = int(getattr(net, "input_channels", 3))
    return XrayClassifier(name, classes, view, net, channels, normalise, options | {"normalise": normalise})


def _network(name: str, classes: int, view: ModelView, pretrained: bool, options: dict) -> nn.Module:
    try:
        if name in NETWORKS:
            return NETWORKS[name](classes, view, pretrained, **options)
        return imagenet.build_torchvision(name, classes, view.size, pretrained, **options)
    except TypeError as error:
        given = ", ".join(options) or "none"
        raise ValueError(f"model_options: {name} does not take these options ({given}): {error}") from error

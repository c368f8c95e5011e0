"""torchvision's classifiers by name, and their ImageNet weights where they are asked for.

torchvision is imported in the functions: it takes seconds, and the project's own networks do without it.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from xray_debug.data.files import file_sha256

AUXILIARY = ("googlenet", "inception_v3")  # return more than logits in training unless told otherwise


def is_known(name: str) -> bool:
    import torchvision

    return name in torchvision.models.list_models(module=torchvision.models)


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """The ImageNet state dict of torchvision's `name`, downloaded (hash checked) unless it is in torch's cache.

    Raises:
        ValueError: the download failed; the message says from where and what to do.
    """
    import torchvision

    weights = torchvision.models.get_model_weights(name).DEFAULT
    check_cached(Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2]))
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"pretrained: the ImageNet weights of {name} could not be had from {weights.url} ({reason}); "
            f"set pretrained to false or put that file into {torch.hub.get_dir()}/checkpoints"
        ) from error
    # old DenseNet files have a dot too many
    pattern = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
    return {pattern.sub(r"\1\2", key): value for key, value in state.items()}


def check_cached(file: Path) -> None:
    """ValueError where a file in torch's cache does not have the sha256 whose start its name gives (name-01234567.pth).

    torch checks what it downloads, and never again.
    """
    expected = re.search(r"-([0-9a-f]{8,})\.", file.name)
    if file.is_file() and expected and not file_sha256(file).startswith(expected[1]):
        raise ValueError(f"{file}: expected a sha256 that begins with {expected[1]}, found {file_sha256(file)}; "
                         "remove the file, and it is fetched anew")  # fmt: skip


def _last_layer(net: nn.Module, outputs: int) -> tuple[str, nn.Module]:
    """Name and module of the layer that gives the logits: the last linear one, or SqueezeNet's last convolution."""
    found = [
        (name, module)
        for name, module in net.named_modules()
        if getattr(module, "out_features", getattr(module, "out_channels", None)) == outputs
        and isinstance(module, nn.Linear | nn.Conv2d)
    ]
    return found[-1]


def replace_head(net: nn.Module, classes: int, outputs: int = 1000) -> None:
    """Puts a fresh last layer for `classes` in the place of the one with `outputs` outputs."""
    name, old = _last_layer(net, outputs)
    if isinstance(old, nn.Linear):
        new: nn.Module = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    else:
        new = nn.Conv2d(old.in_channels, classes, old.kernel_size)
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, new)


def build_torchvision(name: str, classes: int, size: int, pretrained: bool = False, **options) -> nn.Module:
    """torchvision's classifier `name` for 3-channel images of `size` pixels and `classes` classes."""
    import torchvision

    if name in AUXILIARY:
        options = {"aux_logits": False, "init_weights": False} | options
    if name.startswith("vit_"):
        options = {"image_size": size} | options
    net = torchvision.models.get_model(name, weights=None, **options)
    if pretrained:
        own = net.state_dict()
        state = {key: value for key, value in imagenet_weights(name).items() if key in own}
        wrong = [key for key in own if key in state and state[key].shape != own[key].shape]
        if wrong:
            raise ValueError(f"pretrained: {name}'s ImageNet weights do not fit these options, first at {wrong[0]}")
        net.load_state_dict(own | state)
    replace_head(net, classes)
    return net

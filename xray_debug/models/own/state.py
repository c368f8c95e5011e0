"""A user's state dict, however wrapped and prefixed, and the network that it belongs to."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from xray_debug.data.view import ModelView
from xray_debug.models import imagenet
from xray_debug.models.registry import NETWORKS
from xray_debug.models.weights import fill

WRAPPINGS = ("state_dict", "model_state_dict", "model", "net", "network", "model_state", "weights", "ema")
DOTS = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")  # of torchvision's old DenseNet files
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
SUGGESTED = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "densenet121", "densenet161", "densenet169",
             "densenet201", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3",
             "efficientnet_b4", "efficientnet_v2_s", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
             "convnext_tiny", "convnext_small", "vgg11", "vgg16", "vgg16_bn", "vgg19", "alexnet", "squeezenet1_1",
             "shufflenet_v2_x1_0", "resnext50_32x4d", "wide_resnet50_2", "vit_b_16", "swin_t", "inception_v3",
             "googlenet", "regnet_y_400mf", "mnasnet1_0")  # fmt: skip


def read_own_state(path: Path, safe: bool) -> dict[str, Tensor]:
    """The tensors in a file, out of the dictionaries that training programs put them in; nothing is unpickled.

    `safe`: a safetensors file. ValueError says what the file holds instead, and how to save what is needed.
    """
    try:
        if safe:
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch on pickles of another protocol
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: {_more_than_tensors(str(error), path)}") from error
    except Exception as error:  # a damaged file fails in many ways, and torch and zip have errors of their own
        reason = (str(error) or repr(error)).splitlines()[0]
        said = f": {reason}" if " " in reason else ""  # a lone word or number is a key of torch's own
        raise ValueError(f"{path}: not a readable model file, it is damaged or no torch file{said}") from error
    return _unwrapped(found, path)


def _more_than_tensors(said: str, path: Path) -> str:
    named = re.search(r"(?:GLOBAL|Unsupported class) ([\w.]+)", said)
    if named is None:
        return "not a readable model file: it is damaged, or no torch file"
    whole = (f"holds a pickled object of {named[1]} and more than tensors, which is not loaded, since unpickling runs "
             "code of the file; where you made it yourself, save the weights alone: ")  # fmt: skip
    return whole + "torch.save(model.state_dict(), FILE)"


def _unwrapped(found, path: Path) -> dict[str, Tensor]:
    for _ in range(3):
        if not isinstance(found, dict):
            break
        inner = [found[name] for name in WRAPPINGS if isinstance(found.get(name), dict) and found[name]]
        if not inner:
            break
        found = inner[0]
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a state dict of tensors, found {type(found).__name__}; "
                         "save torch.save(model.state_dict(), FILE)")  # fmt: skip
    tensors = {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(found)[:5])) or "nothing"
        raise ValueError(f"{path}: expected a state dict of tensors, found a dictionary with {keys}; state dicts are "
                         f"looked for in it and below {', '.join(WRAPPINGS[:3])}")  # fmt: skip
    return tensors


def _prefixes(keys: Iterable[str]) -> set[str]:
    """Every beginning of a name that ends in a dot, and none at all."""
    found = {""}
    for key in keys:
        parts = key.split(".")
        found |= {".".join(parts[:count]) + "." for count in range(1, min(len(parts), 5))}
    return found


def _without_prefix(state: dict[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """`state` without the prefix (module., model., net., _orig_mod. ...) after which most names are the network's.

    What lies outside the prefix (a loss's weights, an averaged copy) is not the network's and is left out.
    """
    own = set(own)
    hits = {prefix: sum(prefix + key in state for key in own) for prefix in sorted(_prefixes(state), key=len)}
    best = max(hits, key=hits.get)
    best = best if hits[best] > len(own) / 4 else ""
    return {key.removeprefix(best): value for key, value in state.items() if key.startswith(best)}


def network_of(arch: str, outputs: int, view: ModelView, channels: int) -> nn.Module:
    """A new network without weights worth anything. ValueError for a name that is none."""
    if arch not in NETWORKS and not imagenet.is_known(arch):
        raise ValueError(f"model.arch: expected {', '.join(NETWORKS)} or a torchvision classifier's name, got {arch!r}")
    try:
        if arch in NETWORKS:
            return NETWORKS[arch](outputs, view, False)
        net = imagenet.build_torchvision(arch, outputs, view.size)
    except Exception as error:
        raise ValueError(f"model.arch: {arch} cannot be built for {view.size} pixels: {error}") from error
    if channels != 3:
        _first_layer_takes(net, channels)
    return net


def _first_layer_takes(net: nn.Module, channels: int) -> None:
    """A fresh first convolution for images of so many channels."""
    name, old = next((name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(channels, old.out_channels, old.kernel_size, old.stride, old.padding, old.dilation,
                    bias=old.bias is not None, padding_mode=old.padding_mode)  # fmt: skip
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, new)


def _first_and_last(state: dict[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """The weight of the first convolution and that of the last layer with a matrix, in the order of the file."""
    convolutions = [value for value in state.values() if value.ndim == 4]
    matrices = [value for key, value in state.items() if key.endswith("weight") and value.ndim in (2, 4)]
    return (convolutions or [None])[0], (matrices or [None])[-1]


def _without_auxiliary(state: dict[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """`state` without the heads that GoogLeNet and Inception have for training alone, where the network has none."""
    kept = {key.partition(".")[0] for key in own}
    return {key: value for key, value in state.items()
            if key.partition(".")[0] in kept or not key.startswith(AUXILIARY)}  # fmt: skip


def _one_layer_head(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of a last layer in a Sequential (fc.1.weight, after a dropout) as the plain layer's (fc.weight)."""
    missing = [key for key in own if key not in state]
    unknown = [key for key in state if key not in own]
    found = {re.sub(r"\.\d+\.(weight|bias)$", r".\1", key): key for key in unknown}
    if missing and len(found) == len(unknown) and set(found) == set(missing):
        return {key: state[found.get(key, key)] for key in [*own] if found.get(key, key) in state}
    return state


def filled(net: nn.Module, state: dict[str, Tensor], where: str, what: str, outputs: int, channels: int) -> nn.Module:
    """`net` with the file's weights; ValueError says which names, outputs or channels do not fit, and what might."""
    own = net.state_dict()
    tidy = _without_prefix({DOTS.sub(r"\1\2", key): value for key, value in state.items()}, own)
    tidy = _one_layer_head(_without_auxiliary(tidy, own), own)
    if not own:
        raise ValueError(f"{where}: {what} has no parameters that a file could fill")
    optional = [key for key in own if key.endswith("num_batches_tracked")]
    missing = [key for key in own if key not in tidy and key not in optional]
    unknown = [key for key in tidy if key not in own]
    if missing or unknown:
        raise ValueError(f"{where}: its names are not those of {what}: {_lists(missing, unknown)}{suggested(state)}")
    wrong = [key for key in own if key in tidy and tidy[key].shape != own[key].shape]
    if wrong:
        raise ValueError(f"{where}: {_shapes(tidy, own, wrong[0], what, outputs, channels)}")
    fill(net, {key: value.to(own[key].dtype) if value.is_floating_point() else value for key, value in tidy.items()},
         where)
    return net


def _lists(missing: list[str], unknown: list[str]) -> str:
    told = []
    for names, said in ((missing, "the file lacks"), (unknown, "the file has besides")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            told.append(f"{said} {', '.join(names[:3])}{more}")
    return "; ".join(told)


def _shapes(state: dict[str, Tensor], own: dict[str, Tensor], key: str, what: str, outputs: int, channels: int) -> str:
    first, last = _first_and_last(state)
    if first is not None and state[key] is first and first.shape[1] != channels and first.shape[1] in (1, 3):
        return f"its first layer takes {first.shape[1]} channels, not {channels}: --channels {first.shape[1]}"
    head = key.rpartition(".")[0]
    if last is not None and state.get(f"{head}.weight") is last and last.shape[0] != outputs:
        hint = (f"name the {last.shape[0]} classes of the model in its order" if last.shape[0] > 1 else
                "where it gives one logit, for or against one finding, --output logit says so")  # fmt: skip
        return (f"its last layer ({head}) gives {last.shape[0]} number{'s' * (last.shape[0] > 1)}, expected {outputs}, "
                f"as classes and output say: {hint}")  # fmt: skip
    told = f"{key} has the shape {tuple(state[key].shape)}, that of {what} is {tuple(own[key].shape)}"
    return told + suggested(state, what)


def suggested(state: dict[str, Tensor], tried: str = "") -> str:
    """"; ..." naming the network whose names and shapes (but for the last layer) are the file's; "" for none."""
    shapes = {DOTS.sub(r"\1\2", key): value.shape for key, value in state.items()}
    for arch in SUGGESTED:
        if arch == tried or not imagenet.is_known(arch):
            continue
        try:
            with torch.device("meta"):
                own = imagenet.build_torchvision(arch, 7, 224).state_dict()
        except Exception:  # noqa: S112  some draw their weights in a way that needs real ones
            continue
        own = {key: value.shape for key, value in own.items() if not key.endswith("num_batches_tracked")}
        given = _without_prefix(shapes, own)
        same = sum(given.get(key) == shape for key, shape in own.items())
        named = sum(not key.endswith("num_batches_tracked") for key in given)
        if len(own) - same <= 3 and abs(named - len(own)) <= 2:  # another head, another first layer
            return f"; names and shapes are those of {arch}: --arch {arch}"
    return ""


def with_weights(net: nn.Module, state: dict[str, Tensor], where: str, outputs: int, channels: int) -> nn.Module:
    """A copy of a network of the user's own function, with the file's weights."""
    return filled(copy.deepcopy(net), state, where, "the model that the function gives", outputs, channels)

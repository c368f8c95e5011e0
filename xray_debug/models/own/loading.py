"""Reads a user's model as `model:` says, and tries it before anything is done with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xray_debug.config import ModelConfig
from xray_debug.data.asked import run_classes
from xray_debug.data.external import model_sha256
from xray_debug.data.view import ModelView
from xray_debug.models.own import kinds
from xray_debug.models.own.adapter import OwnClassifier
from xray_debug.models.own.factory import from_factory, split_factory
from xray_debug.models.own.held import held
from xray_debug.models.own.nets import InBatches, OnnxNet, declared_shape, open_program
from xray_debug.models.own.outputs import check_numbers, numbers_of
from xray_debug.models.own.preprocess import read_preprocess, tried
from xray_debug.models.own.state import filled, network_of, read_own_state, suggested, with_weights

BATCH = 8  # images of a batch on a CPU: predict.CPU_CHUNK
FORWARD_ONLY = ("rise",)  # methods that need no gradient
NEEDS_NONE = f"{' or '.join(FORWARD_ONLY)} needs none (--set explain.method={FORWARD_ONLY[0]})"


@dataclass(frozen=True)
class OwnModel:
    """A user's model as model.json names it. `sha256`: of its file; `code`: state of a factory's modules."""

    config: ModelConfig
    view: ModelView
    sha256: str = ""
    code: str = ""

    def described(self) -> dict[str, Any]:
        return {"settings": self.config.model_dump(mode="json"), "sha256": self.sha256, "code": self.code}

    @property
    def name(self) -> str:
        config = self.config
        return config.arch or (Path(config.file).name if config.file else config.factory or "model given in Python")


def check_settings(config: ModelConfig, method: str | None = None) -> None:
    """ValueError for settings that cannot be, or files that are not there; no model is opened.

    `method`: of the explanations, which an ONNX file must have without gradients.
    """
    run_classes(config)
    if config.held is not None:
        return
    if config.file is None and config.factory is None:
        raise ValueError("model: expected file or factory: which model?")
    if config.factory is not None:
        module, _ = split_factory(config.factory)
        if module.endswith(".py") and not Path(module).is_file():
            raise ValueError(f"model.factory: {module}: no such file")
    if config.file is None:
        return
    kind = kinds.kind_of(config.file)
    if kind in (kinds.STATE, kinds.SAFETENSORS):
        if config.arch is None and config.factory is None:
            found = suggested(read_own_state(Path(config.file), kind == kinds.SAFETENSORS))
            raise ValueError(f"{config.file}: a state dict holds no network, expected --arch NAME of it, or --factory "
                             f"module:function that makes it{found}")  # fmt: skip
        if config.arch is not None and config.factory is not None:
            raise ValueError("model: expected arch or factory for the state dict, got both")
    elif config.factory is not None:
        raise ValueError(f"model: {config.file} is a whole {kind} model, expected no factory beside it")
    if kind == kinds.ONNX and method is not None and method not in FORWARD_ONLY:
        raise ValueError(f"explain.method: {method} needs gradients, which an ONNX file does not give; {NEEDS_NONE}")


def opened(own: OwnModel, trusted: bool = True) -> OwnClassifier:
    """The model on the CPU in evaluation mode, tried with two images of noise.

    `trusted`: whether code may be run (a factory, TorchScript, torch.export): only where the user has named it.
    ValueError says in one sentence why it cannot be used.
    """
    config, view = own.config, own.view
    if not trusted and (config.factory or config.held or (config.file and kinds.kind_of(config.file) in kinds.CODE)):
        raise ValueError(f"{own.name}: this model is a program of its owner's (a function, TorchScript, torch.export), "
                         "which is run only where that is asked for: --trust")  # fmt: skip
    if own.sha256 and model_sha256(config.file) != own.sha256:
        raise ValueError(f"{config.file}: expected sha256 {own.sha256}, as the run's model.json says, found "
                         f"{model_sha256(config.file)}: the file has changed since; run stage train anew")  # fmt: skip
    net, kind, preprocess = _network(config, view)
    if preprocess is not None:
        preprocess, config = read_preprocess(preprocess, config)
    if preprocess is not None:
        tried(preprocess, view.size)
    model = OwnClassifier(net, config, view, own.name, kind, preprocess)
    model.eval()
    _try(model)
    return model


def load_own(found: dict[str, Any], view: ModelView, where: str, trusted: bool = False) -> OwnClassifier:
    """The model that the entry `own` of the model.json `where` names; its file may lie beside it."""
    try:
        config = ModelConfig.model_validate(found["settings"])
        if found.get("beside") is True:
            config = config.model_copy(update={"file": str(Path(where).parent / Path(config.file).name)})
        own = OwnModel(config, view, str(found.get("sha256", "")), str(found.get("code", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where}: not a description of a user's model: {str(error).splitlines()[0]}") from error
    return opened(own, trusted)


def _network(config: ModelConfig, view: ModelView):
    """(module, kind of its file, preprocess of a factory)."""
    if config.held is not None:
        net, preprocess = held(config.held)
        return net, "", preprocess
    net = preprocess = None
    if config.factory is not None:
        net, preprocess = from_factory(config.factory)
    if config.file is None:
        return net.float() if _floats(net) else net, "", preprocess
    kind, outputs, path = kinds.kind_of(config.file), numbers_of(config), Path(config.file)
    if kind not in (kinds.STATE, kinds.SAFETENSORS):
        return open_program(path, kind), kind, None
    state = read_own_state(path, kind == kinds.SAFETENSORS)
    if net is not None:
        return with_weights(net, state, config.file, outputs, config.channels).float(), "", preprocess
    net = network_of(config.arch, outputs, view, config.channels)
    return filled(net, state, config.file, config.arch, outputs, config.channels), "", None


def _floats(net: nn.Module) -> bool:
    return any(value.dtype in (torch.float16, torch.bfloat16, torch.float64) for value in net.parameters())


@torch.no_grad()
def _answers(model: OwnClassifier, images: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.answers(images)
    if len(found) != len(images):
        raise ValueError(f"it gives {len(found)} rows for {len(images)} images")
    return found


def _try(model: OwnClassifier) -> None:
    """Asks for noise: whether it takes such images, in what numbers, and gives what `config` says, each time the same.

    Notes on the model whether it has gradients (`differentiable`).
    """
    size, draws = model.view.size, torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, 1, size, size, generator=draws) * torch.linspace(0.2, 1, BATCH).view(-1, 1, 1, 1)
    where = model.config.file or model.config.factory or model.name
    _check_declared(model, where)
    try:
        together = _answers(model, images)
        alone = _answers(model, images[:1])
    except Exception as error:
        together, alone = _in_batches(model, images, where, error)
    found = together.shape[1] if together.ndim == 2 else 0
    if not found:
        raise ValueError(f"{where}: gives numbers of shape {tuple(together.shape)}, expected (N, K)")
    check_numbers(together[:1], model.config, where)
    again = _answers(model, images)
    scale = max(1e-3, float(together.abs().nan_to_num().max()))
    if not torch.allclose(together, again, atol=1e-3 * scale, equal_nan=True):
        raise ValueError(f"{where}: gives another answer each time it is asked: dropout is at work; put the model into "
                         "evaluation mode, model.eval(), before it is saved")  # fmt: skip
    if not torch.allclose(together[:1], alone, atol=1e-2 * scale, equal_nan=True):
        raise ValueError(f"{where}: its answer for an image depends on the images beside it: it was saved in training "
                         "mode; call model.eval() before it is exported")  # fmt: skip
    model.differentiable = _has_gradients(model, images[:1])


def _check_declared(model: OwnClassifier, where: str) -> None:
    """ValueError where a file declares another size or number of channels; batches of a declared number of images."""
    declared = declared_shape(model.net)
    if declared is None or len(declared) != 4:
        return
    count, channels, *sides = declared
    if model.preprocess is None and channels in (1, 3) and channels != model.channels:
        raise ValueError(f"{where}: takes {channels} channels, not {model.channels}: --channels {channels}")
    wrong = [side for side in sides if side is not None and side != model.view.size]
    if model.preprocess is None and wrong:
        raise ValueError(f"{where}: takes images of {wrong[0]} pixels, not {model.view.size}: --size {wrong[0]}")
    if count is not None:
        model.net = InBatches(model.net, count)


def _in_batches(model: OwnClassifier, images: torch.Tensor, where: str, first: Exception):
    """The answers one image at a time; ValueError where it takes no such images at all."""
    net = model.net
    for count in (1, BATCH) if not isinstance(net, InBatches) else ():
        try:
            model.net = InBatches(net, count)
            return _answers(model, images), _answers(model, images[:1])
        except Exception:  # noqa: S112  the first error is what is told
            continue
    reason = (str(first) or type(first).__name__).strip().splitlines()
    told = next((line for line in reversed(reason) if "Error" in line), reason[0])
    shape = tuple(model.inputs(images[:1]).shape)
    raise ValueError(f"{where}: does not take images of shape {('N', *shape[1:])}: {told.strip()}".replace("'", "")
                     + _channels_said(told, model.channels)) from first


def _channels_said(told: str, channels: int) -> str:
    for other in (1, 3):
        if other != channels and f"to have {other} channels" in told:
            return f": --channels {other}"
    return ""


def _has_gradients(model: OwnClassifier, image: torch.Tensor) -> bool:
    if isinstance(model.net, OnnxNet):
        return False
    with torch.enable_grad():
        try:
            given = image.clone().requires_grad_(True)
            found = model(given)
            if not found.requires_grad:
                return False
            (slope,) = torch.autograd.grad(found.sum(), given, allow_unused=True)
        except RuntimeError:
            return False
    return slope is not None

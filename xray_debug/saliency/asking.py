"""What people hand to a method, made into what it takes: a model, images, classes; and what is odd about them.

    @explains
    def method(model, images, targets, baselines=None, mask_size=28, seed=0, **options) -> Explanation

gives the method two more ways to be asked: `targets` may be left out (the top class of each image), and `output` names
the logits of a model that returns more than them.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps

import torch
from torch import nn

from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.network import Network, at_least_single, borrowed, placement, prepared, target_scores
from xray_debug.saliency.result import Explanation, alike, as_saliency

Output = str | int | Callable | None
BYTES = 20.0  # inputs beyond it are grey levels, not normalised values
FAR = 1.5  # standard deviations by which the first batch normalisation's input may lie off what it was trained on


class OddInput(UserWarning):
    """A map can be made, but it may not say what the user hopes."""


def explains(method: Callable) -> Callable:
    """Decorates a method (see the module). The result knows its images and targets, so that it can be shown."""
    signature = inspect.signature(method)
    own = [p.replace(default=None, annotation=torch.Tensor | None) if name == "targets" else p
           for name, p in signature.parameters.items()]  # fmt: skip
    extra = inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Output)
    variadic = own[-1].kind is inspect.Parameter.VAR_KEYWORD
    parameters = [*own[: len(own) - variadic], extra, *own[len(own) - variadic :]]

    @wraps(method)
    def ask(model, images, targets=None, baselines=None, *rest, output: Output = None, **options) -> Explanation:
        with torch.inference_mode(False), torch.enable_grad():
            model, images = as_module(model, output), as_images(images)
            targets = _looked_at(model, images, targets, baselines, options.get("internal_batch_size"))
            found = method(model, images, targets, baselines, *rest, **options)
        empty = (found.saliency.amax((1, 2, 3)) == 0).nonzero().flatten().tolist()
        if empty and found.deletion_mask is None:  # masks that stay have StillMask
            _warn(f"the maps of images {empty[:5]} are 0 everywhere: nothing that the method looks at (for Grad-CAM, "
                  "the layer) speaks for the class", 3)  # fmt: skip
        return replace(found, images=images, targets=targets)

    ask.__signature__ = signature.replace(parameters=parameters)
    return ask


def measures(measure: Callable) -> Callable:
    """Decorates measure(model, images, saliency, targets, ...): it takes what the methods take and what they give.

    `model` may be a plain function, `output` names the logits as for a method; `saliency` may be an Explanation or an
    array. TypeError for other saliency.
    """
    signature = inspect.signature(measure)
    extra = inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Output)

    @wraps(measure)
    def ask(model, images, saliency, *rest, output: Output = None, **options):
        return measure(as_module(model, output), images, as_saliency(saliency), *rest, **options)

    ask.__signature__ = signature.replace(parameters=[*signature.parameters.values(), extra])
    return ask


def as_images(images: torch.Tensor) -> torch.Tensor:
    """Images (N, C, H, W) of floating numbers; TypeError or ValueError says how to make what came into that."""
    if not isinstance(images, torch.Tensor):
        kind = f"{type(images).__module__}.{type(images).__name__}".removeprefix("builtins.")
        more = "; torch.from_numpy makes one of an array" if kind == "numpy.ndarray" else ""
        raise TypeError(f"images: expected a tensor (N, C, H, W), got {kind}{more}")
    if images.ndim == 3 and images.shape[2] in (1, 3) and images.shape[0] > 4:
        raise ValueError(f"images: expected (N, C, H, W), got {tuple(images.shape)}: one image with its channels last; "
                         "images.permute(2, 0, 1)[None] makes a batch of it")  # fmt: skip
    if images.ndim == 3:
        raise ValueError(f"images: expected (N, C, H, W), got {tuple(images.shape)}; images[None] makes a batch of one")
    if images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] > 4:
        raise ValueError(f"images: expected (N, C, H, W), got {tuple(images.shape)}: channels last; "
                         "images.permute(0, 3, 1, 2) puts them first")  # fmt: skip
    if not images.is_floating_point():
        raise TypeError(f"images: expected floating numbers, as the model takes them, got {images.dtype}; "
                        "images.float() / 255 and the model's normalisation come first")  # fmt: skip
    return images.clone() if images.is_inference() else images


def as_module(model: Callable, output: Output = None) -> nn.Module:
    """A module that gives logits (N, K). `output`: the key, attribute or index of the logits, or a function of what
    the model returns; None: the tensor it returns, or its `logits`.
    """
    if isinstance(model, type) or not callable(model):
        kind = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(f"model: expected a module or a function of images, got {kind}")
    if not isinstance(model, nn.Module):
        model = Function(model)
    return Chosen(model, output)


class Function(nn.Module):
    """A plain function of images as a module."""

    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def forward(self, images: torch.Tensor):
        return self.function(images)


class Chosen(nn.Module):
    """A model whose logits are a part of what it returns."""

    def __init__(self, model: nn.Module, output: Output):
        super().__init__()
        self.model, self.output = model, output

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = logits_of(self.model(images.to(placement(self.model, images)[1])), self.output)
        return found.to(at_least_single(found.dtype)) if isinstance(found, torch.Tensor) else found


def logits_of(found, output: Output):
    """The logits in what a model returned; ValueError names what there is."""
    if callable(output):
        return output(found)
    if output is None:
        if isinstance(found, torch.Tensor):
            return found
        output = "logits"
        chosen = found.get(output) if isinstance(found, Mapping) else getattr(found, output, None)
        if isinstance(chosen, torch.Tensor):
            return chosen
    elif isinstance(found, Mapping) and output in found:
        return found[output]
    elif isinstance(output, str) and hasattr(found, output):
        return getattr(found, output)
    elif isinstance(output, int) and isinstance(found, tuple | list) and -len(found) <= output < len(found):
        return found[output]
    if isinstance(found, Mapping):
        there = f"a {type(found).__name__} with {', '.join(map(repr, list(found)[:8]))}"
    else:
        there = f"a {type(found).__name__}" + (f" of {len(found)}" if isinstance(found, tuple | list) else "")
    raise ValueError(f"model: it returns {there}, expected logits (N, K); output=... says which part they are")


def _looked_at(model: nn.Module, images: torch.Tensor, targets, baselines, chunk: int | None) -> torch.Tensor:
    """The targets, the top class of each image where none are given; warns of what is odd (OddInput).

    One forward pass of each image and of its baseline, which are not among the passes of the method.
    """
    images, known = prepared(model, images, 0 if targets is None else targets)
    blank = checked_baselines(baselines, images)
    with borrowed(model):
        network = Network(model, images.device, chunk)
        with _first_normalisation(model) as distance:
            logits = network.outputs(lambda rows: images[rows], known)
        known = logits.argmax(1) if targets is None else known
        score = target_scores(logits, known)
        without = network.scores(lambda rows: blank[rows], known)
    same = alike(score, without).nonzero().flatten().tolist()
    if same:
        named = ", ".join(f"{row} ({float(score[row]):.2f} and {float(without[row]):.2f})" for row in same[:5])
        _warn(f"the model gives these images and their baselines about the same probability: {named}; there is "
              "nothing to explain, but by another target or another baseline")  # fmt: skip
    largest, far = float(images.abs().amax()), distance()
    if largest > BYTES:
        _warn(f"images reach {largest:.0f}: are they grey levels? Models take normalised images")
    elif far > FAR:
        _warn(f"the model's first batch normalisation sees values {far:.1f} standard deviations off those it was "
              "trained with: are the images normalised as the training images were?")  # fmt: skip
    return known


def _warn(said: str, level: int = 4) -> None:
    warnings.warn(said, OddInput, stacklevel=level)


@contextmanager
def _first_normalisation(model: nn.Module) -> Iterator[Callable[[], float]]:
    """A function that says how far the inputs of the first BatchNorm2d lay off its running mean, in its standard
    deviations (root mean square over channels); 0 without one that has run.
    """
    layers = (m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None)
    layer, gaps = next(layers, None), []

    def see(layer: nn.BatchNorm2d, inputs: tuple) -> None:
        mean = inputs[0].detach().double().mean((0, 2, 3))
        gaps.append((mean - layer.running_mean.double()) / (layer.running_var.double() + layer.eps).sqrt())

    hook = layer.register_forward_pre_hook(see) if layer is not None else None
    try:
        yield lambda: float(torch.stack(gaps).mean(0).pow(2).mean().sqrt()) if gaps else 0.0
    finally:
        if hook is not None:
            hook.remove()

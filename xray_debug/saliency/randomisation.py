"""Randomisation tests: MPRT (Adebayo et al. 2018) and random logit (Sixt et al. 2020)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from xray_debug.saliency.asking import Output, as_module
from xray_debug.saliency.network import answer, borrowed, checked_logits, prepared
from xray_debug.saliency.result import Explanation
from xray_debug.saliency.seeds import generator, image_seeds, uniform

Method = Callable[..., Explanation]
ORDERS = ("cascading", "independent")
DRAWING = {"uniform_", "normal_", "log_normal_", "exponential_", "cauchy_", "random_", "bernoulli_", "rand", "randn",
           "randint", "randperm", "normal", "bernoulli", "kaiming_uniform_", "kaiming_normal_"}  # fmt: skip


@dataclass(frozen=True)
class Randomised:
    """Explanations after the weights of `layer` were drawn anew, and, in a cascade, of all from the output to it.

    similarity (N,) is the rank correlation with the original model's maps, NaN for a constant map.
    """

    layer: str
    similarity: torch.Tensor
    saliency: torch.Tensor


def rank_correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Spearman's correlation of each pair of maps (N, ...), ties at their mean rank: (N,) in [-1, 1] or NaN."""
    x, y = (_mean_ranks(maps.detach().double().flatten(1)) for maps in (a, b))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    return (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()


def _mean_ranks(values: torch.Tensor) -> torch.Tensor:
    ranks = torch.empty_like(values)
    for row, own in enumerate(values):
        _, place, count = torch.unique(own, return_inverse=True, return_counts=True)
        last = count.cumsum(0).double()
        ranks[row] = (last - (count.double() - 1) / 2)[place]
    return ranks


def layers_from_output(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers with weights of their own, the last registered first; ValueError where there is none."""
    layers = [(name, module) for name, module in reversed(list(model.named_modules()))
              if any(True for _ in module.parameters(recurse=False))]  # fmt: skip
    if not layers:
        raise ValueError("model: expected layers with weights to draw anew, found none")
    return layers


class _DrawingFrom(TorchFunctionMode):
    """What torch draws in this thread comes from one generator: the global one is left alone, and is of all threads."""

    def __init__(self, draws: torch.Generator):
        super().__init__()
        self.draws = draws

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", "") in DRAWING and kwargs.get("generator") is None:
            kwargs["generator"] = self.draws
        return func(*args, **kwargs)


def draw_anew(module: nn.Module, *key: int | str) -> None:
    """The layer's own initialisation with random numbers set by the key.

    Weights of a layer that has none (a class token, a layer's scale, normalised weights) are shuffled.
    """
    own = list(module.parameters(recurse=False))
    begin = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    draws = generator(own[0].device, *key)
    with _DrawingFrom(draws), torch.no_grad():
        if callable(begin):
            begin()
            return
        for weights in own:
            order = torch.randperm(weights.numel(), device=weights.device)
            weights.copy_(weights.flatten()[order].view_as(weights))


def randomised_models(
    model: nn.Module, seed: int = 0, order: str = "cascading", every: int = 1
) -> Iterator[tuple[str, nn.Module]]:
    """Copies of the model with layers drawn anew, from the output down, as (layer, copy).

    order="cascading": the layer and all before it, a copy after each `every` layers and after the last;
    order="independent": the layer alone. A copy is good until the next is taken; the model is not touched.
    """
    if order not in ORDERS:
        raise ValueError(f"order: expected {' or '.join(ORDERS)}, got {order!r}")
    if every < 1:
        raise ValueError(f"every: expected at least 1, got {every}")
    changed = copy.deepcopy(model)
    state = copy.deepcopy(model.state_dict()) if order == "independent" else {}
    layers = layers_from_output(changed)
    for number, (name, layer) in enumerate(layers, start=1):
        draw_anew(layer, "cascade", seed, name)
        if number % every == 0 or number == len(layers):
            yield name, changed
        if state:
            changed.load_state_dict(state)


def mprt(
    method: Method,
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    seed: int = 0,
    order: str = "cascading",
    every: int = 1,
    **options,
) -> list[Randomised]:
    """MPRT, the model parameter randomisation test: explanations of randomised_models against the model's own.

    A method that explains the model loses its similarity on the way; one that only finds edges keeps it.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a module, whose layers can be drawn anew, got {type(model).__name__}")
    original = method(model, images, targets, **options).saliency
    found = []
    for name, changed in randomised_models(model, seed, order, every):
        saliency = method(changed, images, targets, **options).saliency
        found.append(Randomised(name, rank_correlation(original, saliency), saliency))
    return found


def other_classes(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, seed=0, output: Output = None
) -> torch.Tensor:
    """For each image (N, C, H, W) a class other than its target, drawn by its own seed: (N,) int64.

    `output`: see as_module.
    """
    model = as_module(model, output)
    images, targets = prepared(model, images, targets)
    with borrowed(model), torch.no_grad():
        count = checked_logits(answer(model, images[:1]), targets[:1]).shape[1]
    steps = [1 + int(uniform("random logit", own) * (count - 1)) for own in image_seeds(seed, len(images))]
    return (targets + torch.tensor(steps, device=targets.device)) % count


def random_logit(
    method: Method, model: nn.Module, images: torch.Tensor, targets: torch.Tensor, seed=0, **options
) -> torch.Tensor:
    """The random logit test: rank correlation of the target's map with that of another class, (N,); NaN if constant.

    A method that explains the decision gives another map for another class (Sixt et al. 2020, who compare by SSIM).
    `seed`: one, or one for each image; it draws the class and is the method's.
    """
    others = other_classes(model, images, targets, seed, options.get("output"))
    maps = [method(model, images, own, seed=seed, **options).saliency for own in (targets, others)]
    return rank_correlation(*maps)

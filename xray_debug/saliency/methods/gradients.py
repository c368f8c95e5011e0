"""Gradient and integrated gradients through captum, and Grad-CAM, behind the result type of the others.

captum is imported in the functions: it takes a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.images import checked_mask_size, normalised
from xray_debug.saliency.network import borrowed, checked_logits, prepared, watched
from xray_debug.saliency.registry import METHODS
from xray_debug.saliency.result import Evaluations, Explanation


def _scores(model: nn.Module):
    return lambda x: torch.softmax(model(x), 1)


def _pooled(attribution: torch.Tensor, mask_size: int, absolute: bool = True) -> torch.Tensor:
    """Attribution (N, C, H, W) to maps (N, 1, m, m): sum (of magnitudes) over channels, mean over each cell."""
    attribution = attribution.detach()
    maps = (attribution.abs() if absolute else attribution).sum(1, keepdim=True)
    return F.adaptive_avg_pool2d(maps, checked_mask_size(mask_size))


def _check(model, images, targets) -> None:
    with torch.no_grad():
        checked_logits(model(images[:1]), targets)


@METHODS.register("gradient", help="size of the gradient")
def gradient(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines=None, mask_size: int = 28, seed=0,
    internal_batch_size: int = 32,
) -> Explanation:  # fmt: skip
    """|d probability / d pixel| (Simonyan et al. 2014), pooled to the mask. `baselines` and `seed` are not used."""
    from captum.attr import Saliency

    started = time.perf_counter()
    checked_mask_size(mask_size)
    images, targets = prepared(model, images, targets)
    maps = []
    with borrowed(model), torch.enable_grad(), ExitStack() as stack:
        _check(model, images, targets)
        stack.enter_context(watched(model))
        method = Saliency(_scores(model))
        for rows in range(0, len(images), internal_batch_size):
            part = images[rows : rows + internal_batch_size].clone().requires_grad_(True)
            maps.append(_pooled(method.attribute(part, target=targets[rows : rows + len(part)]), mask_size))
    count = Evaluations(len(images) + 1, len(images))
    return Explanation(normalised(torch.cat(maps)), count, time.perf_counter() - started, "gradient")


@METHODS.register("integrated_gradients", help="integrated gradients from the baseline")
def integrated_gradients(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines=None, mask_size: int = 28, seed=0,
    steps: int = 50, absolute: bool = False, internal_batch_size: int = 32,
) -> Explanation:  # fmt: skip
    """Integrated gradients (Sundararajan et al. 2017) from the baseline, summed over channels, pooled to the mask.

    They are signed: what speaks against the class ranks last. absolute=True ranks by their size instead. `seed` is
    not used.
    """
    started = time.perf_counter()
    checked_mask_size(mask_size)
    found = attributions(model, images, targets, baselines, steps, internal_batch_size)
    count = Evaluations(len(images) * steps + 1, len(images) * steps)
    maps = normalised(_pooled(found, mask_size, absolute))
    return Explanation(maps, count, time.perf_counter() - started, "integrated_gradients")


def attributions(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines=None, steps: int = 50,
    internal_batch_size: int = 32,
) -> torch.Tensor:  # fmt: skip
    """Integrated gradients of the probability, (N, C, H, W); they sum to f(image) - f(baseline) as `steps` grow."""
    from captum.attr import IntegratedGradients

    images, targets = prepared(model, images, targets)
    baselines = checked_baselines(baselines, images)
    found = []
    with borrowed(model), torch.enable_grad(), ExitStack() as stack:
        _check(model, images, targets)
        stack.enter_context(watched(model))
        method = IntegratedGradients(_scores(model))
        for row in range(len(images)):
            one = slice(row, row + 1)
            own = method.attribute(
                images[one], baselines[one], int(targets[row]), n_steps=steps, method="riemann_middle",
                internal_batch_size=min(steps, internal_batch_size),
            )  # fmt: skip
            found.append(own.detach())
    return torch.cat(found)


POOLING = (
    nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.FractionalMaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d
)  # fmt: skip


@contextmanager
def _last_features(model: nn.Module, layer: nn.Module | None) -> Iterator[Callable[[], torch.Tensor]]:
    """A function that gives the features (N, K, h, w) of the last forward pass that Grad-CAM weighs.

    Those of `layer`, or the last in the order of computing that are larger than 1 x 1 and not yet pooled: layer4 of a
    ResNet, the activation of the last convolution of a VGG, as in the papers.
    """
    seen: list[torch.Tensor] = []
    pooled: list[torch.Tensor] = []

    def record(module, inputs, output) -> None:
        if isinstance(module, POOLING):
            pooled.append(output)
        elif isinstance(output, torch.Tensor) and output.ndim == 4 and max(output.shape[-2:]) > 1:
            seen.append(output)

    def last() -> torch.Tensor:
        features = [own for own in seen if not any(own is other for other in pooled)]
        seen.clear()
        pooled.clear()
        if not features:
            raise ValueError("gradcam: expected a model with feature maps (N, K, h, w), or layer=..., got none")
        return features[-1]

    chosen = [layer] if layer is not None else [m for m in model.modules() if m is not model]
    hooks = [module.register_forward_hook(record) for module in chosen]
    try:
        yield last
    finally:
        for hook in hooks:
            hook.remove()


@METHODS.register("gradcam", help="Grad-CAM at the last features")
def gradcam(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines=None, mask_size: int = 28, seed=0,
    layer: nn.Module | None = None, internal_batch_size: int = 32,
) -> Explanation:  # fmt: skip
    """Grad-CAM (Selvaraju et al. 2017) of the logit at `layer`, the last features before pooling by default.

    Channels weighed by their mean gradient, what is positive, resized bilinearly to the mask. `baselines` and
    `seed` are not used.
    """
    started = time.perf_counter()
    checked_mask_size(mask_size)
    images, targets = prepared(model, images, targets)
    maps = []
    with borrowed(model), torch.enable_grad(), watched(model), _last_features(model, layer) as features:
        for rows in range(0, len(images), internal_batch_size):
            part, own = images[rows : rows + internal_batch_size], targets[rows : rows + internal_batch_size]
            logits = checked_logits(model(part.clone().requires_grad_(True)), targets)
            weighed = features()
            (slope,) = torch.autograd.grad(logits.gather(1, own[:, None]).sum(), weighed)
            cam = (slope.mean((2, 3), keepdim=True) * weighed.detach()).sum(1, keepdim=True).relu()
            maps.append(F.interpolate(cam, (mask_size, mask_size), mode="bilinear"))
    count = Evaluations(len(images), len(images))
    return Explanation(normalised(torch.cat(maps)), count, time.perf_counter() - started, "gradcam")

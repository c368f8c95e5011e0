"""Gradient, integrated gradients and Grad-CAM through captum, behind the result type of the others.

captum is imported in the functions: it takes a second.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

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


def _pooled(attribution: torch.Tensor, mask_size: int | None) -> torch.Tensor:
    """Attribution (N, C, H, W) to maps (N, 1, m, m): sum of magnitudes over channels, mean over each cell."""
    maps = attribution.detach().abs().sum(1, keepdim=True)
    return maps if mask_size is None else F.adaptive_avg_pool2d(maps, mask_size)


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
    steps: int = 50, internal_batch_size: int = 32,
) -> Explanation:  # fmt: skip
    """Integrated gradients (Sundararajan et al. 2017) from the baseline, magnitudes pooled to the mask."""
    from captum.attr import IntegratedGradients

    started = time.perf_counter()
    checked_mask_size(mask_size)
    images, targets = prepared(model, images, targets)
    baselines = checked_baselines(baselines, images)
    maps = []
    with borrowed(model), torch.enable_grad(), ExitStack() as stack:
        _check(model, images, targets)
        stack.enter_context(watched(model))
        method = IntegratedGradients(_scores(model))
        for row in range(len(images)):
            one = slice(row, row + 1)
            found = method.attribute(
                images[one], baselines[one], int(targets[row]), n_steps=steps, method="riemann_middle",
                internal_batch_size=min(steps, internal_batch_size),
            )  # fmt: skip
            maps.append(_pooled(found, mask_size))
    count = Evaluations(len(images) * steps + 1, len(images) * steps)
    return Explanation(normalised(torch.cat(maps)), count, time.perf_counter() - started, "integrated_gradients")


def last_convolution(model: nn.Module) -> nn.Module:
    """The last convolution in the order of registration with a kernel larger than 1, or the last of any."""
    found = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if not found:
        raise ValueError("gradcam: expected a model with a Conv2d, or layer=..., got none")
    return next((module for module in reversed(found) if max(module.kernel_size) > 1 and module.groups == 1), found[-1])


@METHODS.register("gradcam", help="Grad-CAM at the last convolution")
def gradcam(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines=None, mask_size: int = 28, seed=0,
    layer: nn.Module | None = None, internal_batch_size: int = 32,
) -> Explanation:  # fmt: skip
    """Grad-CAM (Selvaraju et al. 2017) at `layer`, the last convolution by default, resized to the mask.

    `baselines` and `seed` are not used.
    """
    from captum.attr import LayerGradCam

    started = time.perf_counter()
    checked_mask_size(mask_size)
    images, targets = prepared(model, images, targets)
    maps = []
    with borrowed(model), torch.enable_grad(), ExitStack() as stack:
        _check(model, images, targets)
        stack.enter_context(watched(model))
        method = LayerGradCam(model, layer or last_convolution(model))
        for rows in range(0, len(images), internal_batch_size):
            part = images[rows : rows + internal_batch_size].clone().requires_grad_(True)
            found = method.attribute(part, targets[rows : rows + len(part)], relu_attributions=True).detach()
            maps.append(F.interpolate(found.mean(1, keepdim=True), (mask_size, mask_size), mode="bilinear"))
    count = Evaluations(len(images) + 1, len(images))
    return Explanation(normalised(torch.cat(maps)), count, time.perf_counter() - started, "gradcam")

"""Figures for comparing methods: means with standard errors, sparseness, and the objective of a found map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.methods.presets import PAPER
from xray_debug.saliency.network import Network, borrowed, prepared
from xray_debug.saliency.result import Explanation, as_saliency
from xray_debug.saliency.terms import Objective


def mean_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error s / sqrt(n); the error of fewer than two values is NaN."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def sparseness(saliency: torch.Tensor) -> torch.Tensor:
    """The Gini index of each map (Chalasani et al. 2020), (N, ...) of values >= 0 to (N,) in [0, 1); NaN if all 0.

    0 for an even map, 1 - 1/n where one of n entries holds everything.
    """
    values = as_saliency(saliency).detach().double().flatten(1).sort(1).values
    if not bool((torch.isfinite(values) & (values >= 0)).all()):
        raise ValueError("saliency: expected finite values of at least 0, got others")
    count = values.shape[1]
    weights = 2 * torch.arange(1, count + 1, dtype=values.dtype, device=values.device) - count - 1
    return (values * weights).sum(1) / (count * values.sum(1))


def objective_of(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines: torch.Tensor | None, found: Explanation
) -> torch.Tensor:
    """Equation 4 at the masks that a method found, without path or noise, (N,).

    A method without a pair of masks is judged as Mx = 1 - saliency, My = 1, whose product is its map.
    """
    images, targets = prepared(model, images, targets)
    baselines = checked_baselines(baselines, images)
    if found.deletion_mask is not None and found.insertion_mask is not None:
        masks = torch.cat([found.deletion_mask, found.insertion_mask], 1)
    else:
        masks = torch.cat([1 - found.saliency, torch.ones_like(found.saliency)], 1)
    with borrowed(model):
        network = Network(model, images.device, None)
        setting = PAPER.setting(found.saliency.shape[-1], end=True)
        objective = Objective(network, images, baselines, targets, [0] * len(images), setting)
        return objective.parts(masks.to(images))["total"]

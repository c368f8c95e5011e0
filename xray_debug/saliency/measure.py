"""Figures for comparing methods: means with standard errors, and the objective of a found map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.network import Network, borrowed, prepared
from xray_debug.saliency.result import Explanation
from xray_debug.saliency.terms import Objective, Setting


def mean_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error s / sqrt(n); the error of fewer than two values is NaN."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def objective_of(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines: torch.Tensor | None,
    found: Explanation, integration_steps: int = 20,
) -> float:  # fmt: skip
    """The paper's objective (equation 4, S even points, no noise) at what a method found, mean over the images.

    A method without a pair of masks is judged as Mx = 1 - saliency, My = 1, whose product is its map.
    """
    images, targets = prepared(model, images, targets)
    baselines = checked_baselines(baselines, images)
    size = found.saliency.shape[-1]
    setting = Setting(steps=integration_steps, noise=0.0, area_weight=10.0 if size >= 224 else 1.0)
    if found.deletion_mask is not None and found.insertion_mask is not None:
        masks = torch.cat([found.deletion_mask, found.insertion_mask], 1)
    else:
        masks = torch.cat([1 - found.saliency, torch.ones_like(found.saliency)], 1)
    with borrowed(model):
        network = Network(model, images.device, None)
        objective = Objective(network, images, baselines, targets, [0] * len(images), setting)
        return objective.value(masks.to(images), torch.arange(len(images), device=images.device), 0).mean().item()

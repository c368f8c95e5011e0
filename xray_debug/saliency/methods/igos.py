"""iGOS++ (Khorram, Lawson, Fuxin 2020, arXiv 2012.15783) and I-GOS (Qi, Khorram, Fuxin 2020)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.coarse import chosen_shares, with_coarse
from xray_debug.saliency.images import checked_mask_size
from xray_debug.saliency.network import Network, borrowed, prepared
from xray_debug.saliency.optimisers import make_optimiser
from xray_debug.saliency.registry import METHODS
from xray_debug.saliency.result import Explanation, Step
from xray_debug.saliency.seeds import image_seeds
from xray_debug.saliency.terms import Objective, Setting

# the grid whose view of the gradient steadies larger masks in the fast form
COARSE = 28
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Schedule:
    """How the masks are found: iterations, rule, its rate, and whether the iterates' mean or the last one counts."""

    iterations: int
    optimiser: str
    rate: float | None
    average: bool
    coarse: int | None = None
    coarse_share: float | None = None


@METHODS.register("igos_pp", help="iGOS++: deletion and insertion masks, integrated gradients")
def igos_pp(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor | None = None,
    mask_size: int = 28,
    seed: int | Sequence[int] = 0,
    *,
    paper: bool = False,
    iterations: int | None = None,
    integration_steps: int | None = None,
    points: str | None = None,
    optimiser: str | None = None,
    rate: float | None = None,
    average: bool | None = None,
    coarse: int | None = None,
    coarse_share: float | None = None,
    noise: float | None = None,
    bilateral: bool = True,
    variant: str = "full",
    area_weight: float | None = None,
    smooth_weight: float = 20.0,
    internal_batch_size: int | None = None,
    progress: Progress | None = None,
    trace: bool = False,
) -> Explanation:
    """iGOS++: masks Mx and My that lower the score by deletion and raise it by insertion; saliency = 1 - Mx My.

    By default the fast form: 2 iterations of Adam over 6 stratified integration points, no noise, and the mean
    of the iterates as the result: 36 forward and backward passes an image. In measurements it ranked pixels better than
    the authors' code, and it does not descend as far: its masks are nearer to 1 and their objective is higher.
    paper=True is the algorithm as published: 15 iterations, 20 even points, noise, line search, last iterate.
    Each further option replaces one part of either.

    model         (N, C, H, W) to logits (N, K), K >= 2; used in evaluation mode, left as it was found
    images        (N, C, H, W) as the model takes them; moved to its device and dtype
    targets       (N,) class indices, or one for all
    baselines     (N, C, H, W); heavily blurred images (`blurred`) by default
    mask_size     m of the m x m masks
    seed          an int, or one per image: a map depends on its own seed, not on its neighbours
    iterations, integration_steps (S); points: "even" s/S as the paper, or "stratified", shifted anew each iteration
    optimiser     adam, line_search, warm_line_search, nesterov or fixed, with its `rate`
    coarse        masks larger than this (28; never with paper=True) mix their gradient with the one a coarse x coarse
                  mask would have, with the weight coarse_share, by default the best of 0, 0.8 and 1 for each image
    average       the mean of the iterates' Mx My (True) or the last one
    noise         standard deviation, in the images' units, of the noise on the Mx and My terms
    bilateral     bilateral total variation averaged with the plain one, or the plain one alone
    variant       full; single (one mask, both terms); insertion or deletion alone; naive (both, no product terms)
    area_weight   lambda 1, by default 10 for masks of 224 and more and 1 otherwise; smooth_weight lambda 2
    internal_batch_size   images sent through the network at once; bounds the memory
    progress      called with (iterations done, iterations)
    trace         keep objective, step, passes and masks of every iteration

    ValueError or TypeError names the argument that cannot be used.
    """
    setting = Setting(
        variant=variant,
        steps=_first(integration_steps, 20 if paper else 6),
        points=_first(points, "even" if paper else "stratified"),
        noise=_first(noise, 0.2 if paper else 0.0),
        bilateral=bilateral,
        area_weight=_first(area_weight, 10.0 if mask_size >= 224 else 1.0),
        smooth_weight=smooth_weight,
    )
    schedule = Schedule(
        iterations=_first(iterations, 15 if paper else 2),
        optimiser=_first(optimiser, "line_search" if paper else "adam"),
        rate=rate,
        average=_first(average, not paper),
        coarse=None if paper and coarse is None else _first(coarse, COARSE),
        coarse_share=coarse_share,
    )
    return optimise(
        model, images, targets, baselines, mask_size, seed, setting, schedule,
        internal_batch_size, progress, trace, "igos_pp",
    )  # fmt: skip


@METHODS.register("igos", help="I-GOS: one deletion mask")
def igos(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor | None = None,
    mask_size: int = 28,
    seed: int | Sequence[int] = 0,
    **options,
) -> Explanation:
    """I-GOS: one mask, the deletion term, plain total variation. Options as in igos_pp."""
    options = {"variant": "deletion", "bilateral": False, **options}
    found = igos_pp(model, images, targets, baselines, mask_size, seed, **options)
    return Explanation(**{**vars(found), "method": "igos"})


def _first(*values):
    return next(value for value in values if value is not None)


def optimise(
    model, images, targets, baselines, mask_size, seed, setting, schedule, internal_batch_size, progress, trace, method
) -> Explanation:
    """The loop: gradient, step, next. Masks start at 1, everything kept."""
    started = time.perf_counter()
    _check(mask_size, setting, schedule)
    images, targets = prepared(model, images, targets)
    baselines = checked_baselines(baselines, images)
    steps: list[Step] = []
    with borrowed(model):
        network = Network(model, images.device, internal_batch_size)
        objective = Objective(network, images, baselines, targets, image_seeds(seed, len(images)), setting)
        rule = make_optimiser(schedule.optimiser, schedule.rate, schedule.iterations)
        masks = images.new_ones(len(images), objective.mask_count, mask_size, mask_size)
        mean = torch.zeros_like(masks[:, :1])
        share = schedule.coarse_share
        for iteration in range(schedule.iterations):
            values, gradient = objective.gradient(masks, iteration)
            if schedule.coarse is not None and schedule.coarse < mask_size:
                if share is None:
                    share = chosen_shares(network, images, baselines, targets, gradient, schedule.coarse)
                gradient = with_coarse(gradient, schedule.coarse, share)
            masks, sizes = rule.step(
                masks, gradient, values, lambda m, rows, draw=iteration: objective.value(m, rows, draw)
            )
            mean += masks.prod(1, keepdim=True) / schedule.iterations
            if trace:
                steps.append(Step(iteration, values, sizes, network.evaluations, masks))
            if progress:
                progress(iteration + 1, schedule.iterations)
    result = mean if schedule.average else masks.prod(1, keepdim=True)
    return Explanation(
        saliency=(1 - result).clamp(0, 1).float(),
        evaluations=network.evaluations,
        seconds=time.perf_counter() - started,
        method=method,
        deletion_mask=masks[:, :1].float(),
        insertion_mask=masks[:, 1:2].float() if masks.shape[1] == 2 else None,
        trace=steps if trace else None,
    )


def _check(mask_size: int, setting: Setting, schedule: Schedule) -> None:
    checked_mask_size(mask_size)
    for name, value in (("iterations", schedule.iterations), ("integration_steps", setting.steps)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if schedule.coarse is not None and schedule.coarse < 2:
        raise ValueError(f"coarse: expected at least 2, got {schedule.coarse}")
    if schedule.coarse_share is not None and not 0 <= schedule.coarse_share <= 1:
        raise ValueError(f"coarse_share: expected 0 to 1, got {schedule.coarse_share}")
    for name in ("noise", "area_weight", "smooth_weight"):
        if getattr(setting, name) < 0:
            raise ValueError(f"{name}: expected 0 or more, got {getattr(setting, name)}")

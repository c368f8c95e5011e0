"""iGOS++ (Khorram, Lawson, Fuxin 2020, arXiv 2012.15783) and I-GOS (Qi, Khorram, Fuxin 2020)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from xray_debug.saliency.asking import explains
from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.images import checked_mask_size
from xray_debug.saliency.methods.presets import IGOS_PAPER, PRESETS, Preset, chosen, with_presets
from xray_debug.saliency.network import Network, borrowed, prepared
from xray_debug.saliency.optimisers import make_optimiser
from xray_debug.saliency.registry import METHODS
from xray_debug.saliency.result import Explanation, Step, StillMask
from xray_debug.saliency.seeds import image_seeds
from xray_debug.saliency.terms import Objective

Progress = Callable[[int, int], None]
TIE = 2.0**-23  # between two saturated entries: what float32 tells apart up to 1
IGOS_PRESETS = {
    "paper": IGOS_PAPER,
    "default": replace(PRESETS["default"], variant="deletion", bilateral=False, iterations=17, rate=0.3),
    "quick": replace(PRESETS["quick"], variant="deletion", bilateral=False),
}


@METHODS.register("igos_pp", help="iGOS++: deletion and insertion masks, integrated gradients")
@explains
@with_presets(PRESETS)
def igos_pp(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor | None = None,
    mask_size: int = 28,
    seed: int | Sequence[int] = 0,
    *,
    preset: str = "default",
    paper: bool = False,
    internal_batch_size: int | None = None,
    progress: Progress | None = None,
    trace: bool = False,
    **changes,
) -> Explanation:
    """iGOS++: masks Mx and My that lower the score by deletion and raise it by insertion; saliency = 1 - Mx My.

    model         (N, C, H, W) to logits (N, K), K >= 2; used in evaluation mode, left as it was found
    images        (N, C, H, W) as the model takes them; moved to its device and dtype
    targets       (N,) class indices, or one for all
    baselines     (N, C, H, W); heavily blurred images (`blurred`) by default
    mask_size     m of the m x m masks
    seed          an int, or one per image: a map depends on its own seed, not on its neighbours
    preset        default: minimises equation 4 with Adam, 3 iterations along the path and 9 at its end, 56 gradients;
                  paper: as published, 15 iterations of 20 points with noise and line search;
                  quick: 2 iterations, their mean: little more than a gradient in mask space, it does not minimise
    paper         the same as preset="paper"
    internal_batch_size   images sent through the network at once; bounds the memory
    progress      called with (iterations done, iterations)
    trace         keep objective, step, passes and masks of every iteration
    changes       fields of `presets.Preset` that replace the preset's, for ablations

    Warns where the masks hardly moved. ValueError or TypeError names the argument that cannot be used.
    """
    plan = chosen(PRESETS, "paper" if paper else preset, changes)
    return optimise(
        model, images, targets, baselines, mask_size, seed, plan, internal_batch_size, progress, trace, "igos_pp"
    )


@METHODS.register("igos", help="I-GOS: one deletion mask")
@explains
@with_presets(IGOS_PRESETS)
def igos(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor | None = None,
    mask_size: int = 28,
    seed: int | Sequence[int] = 0,
    *,
    preset: str = "default",
    paper: bool = False,
    internal_batch_size: int | None = None,
    progress: Progress | None = None,
    trace: bool = False,
    **changes,
) -> Explanation:
    """I-GOS: one mask, the deletion term, plain total variation. Arguments as in igos_pp.

    preset="paper" has its authors' settings: 20 iterations of 15 points, line search from 8. Its condition is
    over the path, as in iGOS++ (equation 8); Qi et al. have it at the mask itself, where a certain network is flat.
    """
    plan = chosen(IGOS_PRESETS, "paper" if paper else preset, changes)
    return optimise(
        model, images, targets, baselines, mask_size, seed, plan, internal_batch_size, progress, trace, "igos"
    )


def optimise(
    model, images, targets, baselines, mask_size, seed, plan: Preset, internal_batch_size, progress, trace, method
) -> Explanation:
    """The loop: gradient, step, next. Masks start at 1, everything kept."""
    started = time.perf_counter()
    checked_mask_size(mask_size)
    images, targets = prepared(model, images, targets)
    baselines = checked_baselines(baselines, images)
    steps: list[Step] = []
    with borrowed(model):
        network = Network(model, images.device, internal_batch_size)
        common = (network, images, baselines, targets, image_seeds(seed, len(images)))
        path, end = (Objective(*common, plan.setting(mask_size, end=last)) for last in (False, True))
        rule = make_optimiser(plan.optimiser, plan.rate, plan.iterations)
        masks = images.new_ones(len(images), path.mask_count, mask_size, mask_size)
        mean = torch.zeros_like(masks[:, :1])
        for iteration in range(plan.iterations):
            objective = path if iteration < plan.iterations - plan.end_iterations else end
            values, gradient = objective.gradient(masks, iteration)
            masks, sizes = rule.step(
                masks, gradient, values, lambda m, rows, o=objective, draw=iteration: o.value(m, rows, draw)
            )
            mean += masks.prod(1, keepdim=True) / plan.iterations
            if trace:
                steps.append(Step(iteration, values, sizes, network.evaluations, masks))
            if progress:
                progress(iteration + 1, plan.iterations)
        found = end.parts(masks)
    saliency = 1 - (mean if plan.result == "mean" else masks.prod(1, keepdim=True)).clamp(0, 1)
    if plan.result == "ranked":
        saliency = _ranked(saliency, 1 - mean)
    result = Explanation(
        saliency=saliency.float(),
        evaluations=network.evaluations,
        seconds=time.perf_counter() - started,
        method=method,
        deletion_mask=masks[:, :1].float(),
        insertion_mask=masks[:, 1:2].float() if masks.shape[1] == 2 else None,
        objective=found,
        trace=steps if trace else None,
    )
    _warn_of_still(result)
    return result


def _ranked(saliency: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
    """The values of the map in the order of its ranks times those of `history`, the mean map of all iterates.

    A mask that is nearly 0 or 1 everywhere says which entries matter together, not which one most; those that went
    first matter most. No two entries stay equal, but where all are.
    """
    saliency, history = saliency.double(), history.double()
    order = (_ranks(saliency) * _ranks(history)).flatten(1)
    first = order.argsort(dim=1, stable=True)
    steps = TIE * torch.arange(order.shape[1], device=order.device, dtype=order.dtype)
    values = (1 - TIE * order.shape[1]) * saliency.flatten(1).sort(1).values + steps
    ranked = torch.empty_like(order).scatter_(1, first, values).view_as(saliency)
    return torch.where(saliency.amax((2, 3), True) > saliency.amin((2, 3), True), ranked, saliency)


def _ranks(maps: torch.Tensor) -> torch.Tensor:
    """Rank of each entry among those of its image, 0 the lowest and 1 the highest; equal ones share their mean."""
    flat = maps.flatten(1).contiguous()
    known = flat.sort(1).values
    ranks = sum(torch.searchsorted(known, flat, right=right) for right in (False, True)) - 1
    return (ranks.to(maps) / (2 * max(flat.shape[1] - 1, 1))).view_as(maps)


def _warn_of_still(found: Explanation) -> None:
    peaks = found.saliency.amax((1, 2, 3))
    still = found.hardly_moved.nonzero().flatten().tolist()
    if still:
        named = ", ".join(f"{row} (peak {float(peaks[row]):.3f})" for row in still[:5])
        said = f"{found.method}: the masks of these images hardly moved: {named}; their maps say little"
        warnings.warn(said, StillMask, stacklevel=5)

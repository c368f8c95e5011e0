"""Meaningful perturbation (Fong and Vedaldi 2017): one mask, Adam, jitter, total variation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from xray_debug.saliency.asking import explains
from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.images import checked_mask_size, checked_number, checked_whole, compose
from xray_debug.saliency.network import Network, borrowed, prepared
from xray_debug.saliency.optimisers import Adam
from xray_debug.saliency.registry import METHODS
from xray_debug.saliency.result import Explanation
from xray_debug.saliency.seeds import image_seeds, uniform
from xray_debug.saliency.tv import differences

RADII = 10


def gaussian_upsampler(small: int, large: int, like: torch.Tensor, width: float = 0.625) -> torch.Tensor:
    """(large, small) weights that enlarge a mask with a Gaussian of `width` cells (sigma 5 at 8 pixels a cell)."""
    pixels = (torch.arange(large, dtype=torch.float64) + 0.5) * small / large
    centres = torch.arange(small, dtype=torch.float64) + 0.5
    weights = torch.exp(-((pixels[:, None] - centres) ** 2) / (2 * width**2))
    return (weights / weights.sum(1, keepdim=True)).to(like)


def disc_masks(size: int, like: torch.Tensor) -> torch.Tensor:
    """(RADII, 1, m, m) masks that remove a centred disc of growing radius, the last one everything."""
    axis = torch.linspace(-1, 1, size, dtype=torch.float64)
    distance = (axis[:, None] ** 2 + axis**2).sqrt()
    radii = torch.linspace(0.1, 1.5, RADII, dtype=torch.float64).view(-1, 1, 1, 1)
    return (distance > radii).to(like)


@METHODS.register("mask_perturbation", help="meaningful perturbation: one mask, Adam")
@explains
def mask_perturbation(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor | None = None,
    mask_size: int = 28,
    seed: int | Sequence[int] = 0,
    *,
    iterations: int = 300,
    rate: float = 0.1,
    area_weight: float = 1e-4,
    smooth_weight: float = 1e-2,
    beta: float = 3.0,
    jitter: int = 4,
    internal_batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """The mask that lowers the score most: f(I with M) + area_weight |1 - M| + smooth_weight sum |dM|^beta.

    Sums over mask entries, not means, and the paper's settings: Adam, 300 iterations, rate 0.1, images shifted
    by up to `jitter` pixels (circularly) each iteration, the mask enlarged by a Gaussian, and as a start the
    smallest centred disc whose removal takes away 99 % of what removing everything would. `progress` is called with
    (iterations done, iterations).
    """
    started = time.perf_counter()
    checked_mask_size(mask_size)
    checked_whole("iterations", iterations, 1)
    checked_whole("jitter", jitter, 0)
    for name, value in (("area_weight", area_weight), ("smooth_weight", smooth_weight)):
        checked_number(name, value)
    for name, value in (("rate", rate), ("beta", beta)):
        checked_number(name, value, positive=True)
    images, targets = prepared(model, images, targets)
    baselines = checked_baselines(baselines, images)
    seeds = image_seeds(seed, len(images))
    rows, columns = (gaussian_upsampler(mask_size, side, images) for side in images.shape[-2:])
    with borrowed(model):
        network = Network(model, images.device, internal_batch_size)
        masks = _start(network, images, baselines, targets, mask_size, rows, columns)
        rule = Adam(rate, iterations, floor=1e-8, cosine=False)
        for iteration in range(iterations):
            pixels = rows @ masks @ columns.T
            flow = torch.zeros_like(pixels)
            shifts = [_shift(own, iteration, jitter) for own in seeds]

            def build(r, pixels=pixels, shifts=shifts):
                shown = compose(images[r], baselines[r], pixels[r])
                return torch.stack([x.roll(s, (-2, -1)) for x, s in zip(shown, shifts[r], strict=True)])

            def take(r, gradient, factors, flow=flow, shifts=shifts):
                back = torch.stack([g.roll((-s[0], -s[1]), (-2, -1)) for g, s in zip(gradient, shifts[r], strict=True)])
                change = images[r] - baselines[r]
                flow[r] = (back * change).sum(1, keepdim=True) * factors.view(-1, 1, 1, 1)

            values = network.gradients(build, targets, torch.ones_like(images[:, 0, 0, 0]), take)
            gradient = rows.T @ flow @ columns + _regulariser_gradient(masks, area_weight, smooth_weight, beta)
            masks, _ = rule.step(masks, gradient, values, None)
            if progress:
                progress(iteration + 1, iterations)
    saliency = (1 - masks).clamp(0, 1).float()
    seconds = time.perf_counter() - started
    return Explanation(saliency, network.evaluations, seconds, "mask_perturbation", deletion_mask=masks.float())


def _shift(seed: int, iteration: int, jitter: int) -> tuple[int, int]:
    return tuple(int(uniform("jitter", seed, iteration, axis) * (2 * jitter + 1)) - jitter for axis in (0, 1))


def _regulariser_gradient(masks: torch.Tensor, area_weight: float, smooth_weight: float, beta: float) -> torch.Tensor:
    with torch.enable_grad():
        leaf = masks.detach().requires_grad_(True)
        smooth = sum(step.abs().pow(beta).sum() for step in differences(leaf))
        total = area_weight * (1 - leaf).abs().sum() + smooth_weight * smooth
        return torch.autograd.grad(total, leaf)[0]


def _start(network, images, baselines, targets, mask_size, rows, columns) -> torch.Tensor:
    discs = disc_masks(mask_size, images)
    pixels = rows @ discs @ columns.T
    chosen = []
    for image, baseline, target in zip(images, baselines, targets, strict=True):
        scores = network.scores(lambda r, i=image, b=baseline: compose(i, b, pixels[r]), target.expand(len(discs)))
        whole = network.scores(lambda r, i=image: i[None], target.view(1))
        enough = whole - scores >= 0.99 * (whole - scores[-1])
        chosen.append(discs[int(enough.int().argmax())])
    return torch.stack(chosen)

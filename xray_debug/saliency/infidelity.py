"""Infidelity and max-sensitivity (Yeh et al. 2019), through captum.metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from xray_debug.saliency.asking import as_module, measures
from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.images import compose, upsample_saliency
from xray_debug.saliency.network import CPU_CHUNK, answer, borrowed, checked_logits, finite, prepared
from xray_debug.saliency.result import Explanation
from xray_debug.saliency.seeds import generator, image_seeds


@measures
def infidelity(
    model: nn.Module,
    images: torch.Tensor,
    saliency: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor | None = None,
    samples: int = 50,
    side: int | None = None,
    seed: int | Sequence[int] = 0,
) -> torch.Tensor:
    """How badly the saliency of a square foretells what hiding it takes from the score, (N,); 0 is perfect.

    The mean of (b I.S - (f(x) - f(x hidden)))^2 over `samples` random squares I of `side` pixels (a quarter of the
    shorter side) that the baseline hides: the paper's square removal. f is the target's softmax probability; saliency
    (N, 1, m, m) has no unit, so b is the factor that fits best, as in the authors' code (captum's normalize).
    """
    images, targets = prepared(model, images, targets)
    baselines = checked_baselines(baselines, images)
    if len(saliency) != len(images):
        raise ValueError(f"saliency: expected {len(images)} maps, got {len(saliency)}")
    if samples < 1:
        raise ValueError(f"samples: expected at least 1, got {samples}")
    height, width = images.shape[-2:]
    side = max(1, min(height, width) // 4) if side is None else side
    if not 1 <= side <= min(height, width):
        raise ValueError(f"side: expected 1 to {min(height, width)} pixels, got {side}")
    maps = upsample_saliency(saliency.detach().to(images), (height, width)).expand_as(images) / images.shape[1]
    seeds = image_seeds(seed, len(images))
    with borrowed(model):
        found = [_infidelity(model, *(values[row : row + 1] for values in (images, maps, targets, baselines)),
                             samples, _squares(generator("cpu", "infidelity", own), height, width, side))
                 for row, own in enumerate(seeds)]  # fmt: skip
    return torch.cat(found).clamp(min=0)  # rounding


def _infidelity(model, image, saliency, target, baseline, samples: int, squares) -> torch.Tensor:
    """Of one image (1, C, H, W), in which `squares` gives what is hidden."""

    def hide(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = squares(len(frames)).to(frames)
        return hidden.expand_as(frames), compose(frames, baseline, 1 - hidden)

    def score(frames: torch.Tensor) -> torch.Tensor:
        return torch.softmax(finite(checked_logits(answer(model, frames), target), "logits"), 1)

    from captum import metrics  # it takes a second

    return metrics.infidelity(score, hide, image, saliency, target=target, n_perturb_samples=samples,
                              max_examples_per_batch=CPU_CHUNK, normalize=True)  # fmt: skip


def _squares(draws: torch.Generator, height: int, width: int, side: int) -> Callable[[int], torch.Tensor]:
    """count -> (count, 1, H, W), 1 in one square each."""

    def draw(count: int) -> torch.Tensor:
        masks = torch.zeros(count, 1, height, width)
        for mask in masks:
            y, x = (int(torch.randint(length - side + 1, (), generator=draws)) for length in (height, width))
            mask[:, y : y + side, x : x + side] = 1
        return masks

    return draw


def max_sensitivity(
    method: Callable[..., Explanation],
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    radius: float = 0.02,
    samples: int = 10,
    seed: int | Sequence[int] = 0,
    **options,
) -> torch.Tensor:
    """How far a map moves at most when the image hardly does, (N,); 0 is steady, 1 as far as the map is long.

    The largest |S(x + e) - S(x)| / |S(x)| over `samples` draws of e, each pixel's uniform in [-radius, radius], in the
    images' units. `method` and its `options` as the map was made, with the same `seed`: its own noise stays the same.
    """
    images, targets = prepared(as_module(model), images, targets)
    if samples < 1:
        raise ValueError(f"samples: expected at least 1, got {samples}")
    if not radius > 0:
        raise ValueError(f"radius: expected more than 0, got {radius}")
    found = []
    for row, own in enumerate(image_seeds(seed, len(images))):
        explain = partial(method, model, targets=targets[row : row + 1], seed=own, **options)
        found.append(_max_sensitivity(explain, images[row : row + 1], radius, samples,
                                      generator("cpu", "max-sensitivity", own)))  # fmt: skip
    return torch.cat(found)


def _max_sensitivity(explain, image, radius: float, samples: int, draws: torch.Generator) -> torch.Tensor:
    """Of one image (1, C, H, W)."""

    def saliency(frames) -> torch.Tensor:
        frames = frames[0] if isinstance(frames, tuple) else frames
        return explain(images=frames).saliency.contiguous()  # captum takes no other

    def move(frames: torch.Tensor) -> torch.Tensor:
        return frames + radius * (2 * torch.rand(frames.shape, generator=draws) - 1).to(frames)

    from captum import metrics

    return metrics.sensitivity_max(saliency, image, move, n_perturb_samples=samples, max_examples_per_batch=1)

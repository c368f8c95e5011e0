"""RISE (Petsiuk, Das, Saenko 2018): the expected score under random masks, per pixel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from xray_debug.saliency.asking import explains
from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.images import checked_mask_size, checked_whole, compose, normalised, upsample
from xray_debug.saliency.network import Network, borrowed, prepared
from xray_debug.saliency.registry import METHODS
from xray_debug.saliency.result import Explanation
from xray_debug.saliency.seeds import generator, image_seeds

BLOCK = 64


def random_masks(
    numbers: range, seed: int, size: tuple[int, int], cells: int, keep: float, like: torch.Tensor
) -> torch.Tensor:
    """Masks `numbers` of the endless sequence of `seed`, (len, 1, H, W) in [0, 1].

    A cells x cells grid of zeros and ones (1 with probability `keep`) is enlarged bilinearly to one cell more
    than the image and cut at a random place (section 3.2 of the paper).
    """
    height, width = (-(-side // cells) for side in size)
    masks = []
    for number in numbers:
        draws = generator("cpu", "rise", seed, number)
        grid = (torch.rand(1, 1, cells, cells, generator=draws, dtype=torch.float64) < keep).to(torch.float64)
        top = int(torch.randint(height, (1,), generator=draws))
        left = int(torch.randint(width, (1,), generator=draws))
        large = upsample(grid, ((cells + 1) * height, (cells + 1) * width))
        masks.append(large[0, :, top : top + size[0], left : left + size[1]])
    return torch.stack(masks).to(like)


@METHODS.register("rise", help="RISE: mean score under random masks")
@explains
def rise(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor | None = None,
    mask_size: int = 28,
    seed: int | Sequence[int] = 0,
    *,
    masks: int = 4000,
    cells: int = 7,
    keep: float = 0.5,
    internal_batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Saliency = mean over random masks of score * mask / keep, pooled to the mask size and stretched to [0, 1].

    What a mask hides becomes the baseline; without one, zero, as in the paper (4,000 masks there for VGG, 8,000
    for ResNet). Forward passes only, `masks` per image. `progress` is called with (passes done, passes), after each
    BLOCK of them.
    """
    started = time.perf_counter()
    checked_mask_size(mask_size)
    checked_whole("rise: masks", masks, 1)
    checked_whole("rise: cells", cells, 1)
    if not 0 < keep < 1:
        raise ValueError(f"rise: keep: expected a number between 0 and 1, got {keep}")
    images, targets = prepared(model, images, targets)
    hidden = torch.zeros_like(images) if baselines is None else checked_baselines(baselines, images)
    size = tuple(images.shape[-2:])
    maps = []
    with borrowed(model):
        network = Network(model, images.device, internal_batch_size)
        for row, own in enumerate(image_seeds(seed, len(images))):
            total = torch.zeros(1, 1, *size, dtype=torch.float64, device=images.device)
            for first in range(0, masks, BLOCK):
                drawn = random_masks(range(first, min(first + BLOCK, masks)), own, size, cells, keep, images)
                scores = network.scores(
                    lambda r, row=row, drawn=drawn: compose(images[row], hidden[row], drawn[r]),
                    targets[row].expand(len(drawn)),
                )
                total += (scores.double().view(-1, 1, 1, 1) * drawn).sum(0, keepdim=True)
                if progress:
                    progress(row * masks + min(first + BLOCK, masks), len(images) * masks)
            maps.append(F.adaptive_avg_pool2d(total / (masks * keep), mask_size))
    return Explanation(normalised(torch.cat(maps)), network.evaluations, time.perf_counter() - started, "rise")

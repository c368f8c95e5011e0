"""Localisation: how much of a saliency map lies in given boxes (pointing game, relevance mass and rank accuracy)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from xray_debug.saliency.faithfulness import rank_pixels
from xray_debug.saliency.images import upsample_saliency
from xray_debug.saliency.result import as_saliency

Boxes = Sequence[Sequence[Sequence[float]]]


def inside(boxes: Sequence[Sequence[float]], size: tuple[int, int], tolerance: float = 0.0) -> torch.Tensor:
    """(H, W) bool: pixels in any of the boxes (x0, y0, x1, y1), whole pixels, x1 and y1 exclusive, clipped.

    With a `tolerance` also the pixels whose centre is no farther than that from the centre of one in a box.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance: expected 0 or more pixels, got {tolerance}")
    rows, columns = (torch.arange(length, dtype=torch.float64) for length in size)
    region = torch.zeros(size, dtype=torch.bool)
    for box in np.asarray(boxes, dtype=np.float64).reshape(-1, 4):
        x0, y0 = (max(0, int(round(side))) for side in box[:2])
        x1, y1 = (min(length, int(round(side))) for side, length in zip(box[2:], size[::-1], strict=True))
        if x1 <= x0 or y1 <= y0:
            continue
        down = (rows - rows.clamp(y0, y1 - 1)).abs()[:, None]
        across = (columns - columns.clamp(x0, x1 - 1)).abs()[None]
        region |= torch.hypot(down, across) <= tolerance
    return region


def area_share(boxes: Boxes, size: tuple[int, int]) -> torch.Tensor:
    """Share of the image that each image's boxes cover, (N,) in [0, 1]: the relevance mass of an even map."""
    return torch.stack([inside(own, size).double().mean() for own in boxes])


def relevance_mass_accuracy(saliency: torch.Tensor, boxes: Boxes, size: tuple[int, int]) -> torch.Tensor:
    """Share of each map's saliency that lies inside its boxes, (N,) in [0, 1] (Arras, Osman, Samek 2022).

    saliency (N, 1, m, m), boxes one sequence per image in pixels of `size` (H, W). NaN without boxes or saliency.
    """
    maps, regions = _at_size(saliency, boxes, size)
    share = (maps * regions).sum((1, 2)) / maps.sum((1, 2))
    return _where_boxes(share, regions)


def relevance_rank_accuracy(saliency: torch.Tensor, boxes: Boxes, size: tuple[int, int]) -> torch.Tensor:
    """Share of the K most salient pixels that lie in the boxes, K being the pixels of the boxes (Arras et al. 2022).

    (N,) in [0, 1], NaN without boxes; equal saliency is ordered as `rank_pixels` does.
    """
    maps, regions = _at_size(saliency, boxes, size)
    count = regions.sum((1, 2))
    top = rank_pixels(maps[:, None])[:, 0] < count.view(-1, 1, 1)
    return _where_boxes((top & regions).sum((1, 2)) / count.double(), regions)


def pointing_game(
    saliency: torch.Tensor, boxes: Boxes, size: tuple[int, int], tolerance: float = 0.0
) -> torch.Tensor:
    """1 for each map whose most salient pixel lies in its boxes, else 0 (Zhang et al. 2018), (N,); NaN without boxes.

    `tolerance`: pixels by which it may miss (the authors' 15). Several equal maxima share the hit.
    """
    maps, regions = _at_size(saliency, boxes, size, tolerance)
    top = maps == maps.amax((1, 2), keepdim=True)
    return _where_boxes((top & regions).sum((1, 2)).double() / top.sum((1, 2)), regions)


def _where_boxes(values: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    return torch.where(regions.any(2).any(1), values, torch.full_like(values, float("nan")))


def _at_size(saliency: torch.Tensor, boxes: Boxes, size: tuple[int, int], tolerance: float = 0.0):
    saliency = as_saliency(saliency)
    if len(boxes) != len(saliency):
        raise ValueError(f"boxes: expected {len(saliency)} sequences, one per map; got {len(boxes)}")
    maps = upsample_saliency(saliency.detach().double().cpu(), size)[:, 0]
    return maps, torch.stack([inside(own, size, tolerance) for own in boxes])

"""How much of a saliency map lies in given boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from xray_debug.saliency.images import upsample_saliency


def inside(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> torch.Tensor:
    """(H, W) bool: pixels in any of the boxes (x0, y0, x1, y1), whole pixels, x1 and y1 exclusive, clipped."""
    region = torch.zeros(size, dtype=torch.bool)
    for box in np.asarray(boxes, dtype=np.float64).reshape(-1, 4):
        x0, y0, x1, y1 = (int(round(max(0.0, side))) for side in box)
        region[y0:y1, x0:x1] = True
    return region


def mass_inside(saliency: torch.Tensor, boxes: Sequence[Sequence[Sequence[float]]], size: tuple[int, int]):
    """Share of each map's saliency inside its boxes, and that share over the boxes' share of the area.

    saliency (N, 1, m, m), boxes one sequence per image in pixels of `size` (H, W). Two tensors (N,): share in
    [0, 1] (0 for an empty map) and enrichment (1 = no more than by chance, NaN without boxes).
    """
    maps, regions = _at_size(saliency, boxes, size)
    total = maps.sum((1, 2))
    share = (maps * regions).sum((1, 2)) / torch.where(total > 0, total, torch.ones_like(total))
    area = regions.double().mean((1, 2))
    return share, share / torch.where(area > 0, area, torch.full_like(area, float("nan")))


def pointing(saliency: torch.Tensor, boxes: Sequence[Sequence[Sequence[float]]], size: tuple[int, int]) -> torch.Tensor:
    """The pointing game: share of each map's most salient pixels that lie in its boxes, (N,) in [0, 1].

    With one maximum that is 1 for a hit and 0 for a miss; several equal maxima share the hit.
    """
    maps, regions = _at_size(saliency, boxes, size)
    top = maps == maps.amax((1, 2), keepdim=True)
    return (top & regions).sum((1, 2)).double() / top.sum((1, 2))


def _at_size(saliency, boxes, size):
    if len(boxes) != len(saliency):
        raise ValueError(f"boxes: expected {len(saliency)} sequences, one per map; got {len(boxes)}")
    maps = upsample_saliency(saliency.detach().double().cpu(), size)[:, 0]
    return maps, torch.stack([inside(own, size) for own in boxes])

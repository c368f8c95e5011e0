"""The image that counts as no evidence."""

from __future__ import annotations

import torch

from xray_debug.saliency.images import blurred


def checked_baselines(baselines: torch.Tensor | None, images: torch.Tensor) -> torch.Tensor:
    """The baselines at the images' device and dtype, (N, C, H, W); blurred images where none are given."""
    if baselines is None:
        return blurred(images)
    baselines = torch.as_tensor(baselines).detach().to(images)
    if baselines.ndim != 4 or any(b not in (1, i) for b, i in zip(baselines.shape, images.shape, strict=True)):
        raise ValueError(f"baselines: expected {tuple(images.shape)}, got {tuple(baselines.shape)}")
    if not torch.isfinite(baselines).all():
        raise ValueError("baselines: expected finite values, got NaN or infinity")
    return baselines.expand_as(images)

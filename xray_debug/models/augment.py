"""Random changes of a batch of radiographs that a classifier should not care about."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xray_debug.config import AugmentConfig


def pasted(images: np.ndarray, donors: np.ndarray, without: np.ndarray) -> np.ndarray:
    """Images with the text of others: images + donors - without, cut to 0 to 255; all uint8 (B, S, S).

    `donors` and `without`: the images whose text it is, as they are and with their text erased.
    """
    text = donors.astype(np.int16) - without
    return (images + text).clip(0, 255).astype(np.uint8)


def _uniform(n: int, spread: float, generator: torch.Generator) -> Tensor:
    """(n,) values in [-spread, spread]."""
    return (torch.rand(n, generator=generator) * 2 - 1) * spread


def affine_matrices(angle: Tensor, scale: Tensor, shift_x: Tensor, shift_y: Tensor, mirror: Tensor) -> Tensor:
    """(N, 2, 3) matrices from output to input coordinates in [-1, 1], as torch's affine_grid takes them.

    Args:
        angle: (N,) radians.
        scale: (N,) size of the content afterwards over before.
        shift_x, shift_y: (N,) in units of half a side.
        mirror: (N,) 1, or -1 to mirror left and right.
    """
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = [torch.stack([cos * mirror, sin, shift_x], 1), torch.stack([-sin * mirror, cos, shift_y], 1)]
    return torch.stack(rows, 1)


def _grid(matrices: Tensor, size: int) -> Tensor:
    """F.affine_grid for squares, (N, S, S, 2), by sums of a column and a row, which is several times as fast."""
    middle = (torch.arange(size, device=matrices.device, dtype=matrices.dtype) * 2 + 1) / size - 1
    across = matrices[:, :, 0, None, None] * middle + matrices[:, :, 2, None, None]  # (N, 2, 1, S)
    down = matrices[:, :, 1, None, None] * middle[:, None]  # (N, 2, S, 1)
    return (across + down).permute(0, 2, 3, 1)


def augment(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """`images` (N, 1, S, S) in [0, 1], each turned, moved, scaled and exposed differently; the same shape and range.

    Random values are drawn on the CPU, so that every device sees the same ones. What comes in from outside the
    image repeats its border.
    """
    n = len(images)
    angle = _uniform(n, math.radians(config.rotate), generator)
    scale = 1 + _uniform(n, config.scale, generator)
    shift_x, shift_y = (_uniform(n, 2 * config.translate, generator) for _ in range(2))
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0) if config.flip else torch.ones(n)
    contrast = 1 + _uniform(n, config.contrast, generator)
    brightness = _uniform(n, config.brightness, generator)
    if config.rotate or config.scale or config.translate or config.flip:
        matrices = affine_matrices(angle, scale, shift_x, shift_y, mirror).to(images)
        images = F.grid_sample(images, _grid(matrices, images.shape[-1]), padding_mode="border", align_corners=False)
    if config.contrast or config.brightness:
        factor, offset = (v.to(images).view(-1, 1, 1, 1) for v in (contrast, brightness))
        mean = images.mean((1, 2, 3), keepdim=True)
        images = ((images - mean) * factor + mean + offset).clamp(0, 1)
    return images

"""Images, baselines and masks: blurring, resizing, composing. No network in here.

A mask is 1 where the image is kept and 0 where the baseline takes its place; saliency = 1 - mask.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F


def gaussian_kernel(size: int, sigma: float, like: torch.Tensor) -> torch.Tensor:
    """(size,) samples of a Gaussian centred in the window, summing to 1."""
    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    return (kernel / kernel.sum()).to(like)


def _blur_axis(images: torch.Tensor, kernel: torch.Tensor, axis: int) -> torch.Tensor:
    half = len(kernel) // 2
    length = images.shape[axis]
    if length == 1:
        return images
    # mirrored about the border pixel as cv2.GaussianBlur does; the index also serves images smaller than the kernel
    index = torch.arange(-half, length + half, device=images.device).abs() % (2 * (length - 1))
    index = torch.where(index >= length, 2 * (length - 1) - index, index)
    padded = images.index_select(axis, index).movedim(axis, -1)
    shape = padded.shape
    out = F.conv1d(padded.reshape(-1, 1, shape[-1]), kernel.view(1, 1, -1))
    return out.view(*shape[:-1], length).movedim(-1, axis)


def blurred(images: torch.Tensor, kernel_size: int | None = None, sigma: float | None = None) -> torch.Tensor:
    """The heavily blurred image, the default baseline: (N, C, H, W) to (N, C, H, W).

    A Gaussian of 51 pixels and sigma 50 for images below 500 pixels, 151 and 150 below 800, 201 and 200 from
    there (the settings of the iGOS++ authors' code: sigma is the kernel size less one). Borders are mirrored.
    """
    side = max(images.shape[-2:])
    size = kernel_size or (51 if side < 500 else 151 if side < 800 else 201)
    if size % 2 == 0 or size < 1:
        raise ValueError(f"kernel_size: expected a positive odd number, got {size}")
    kernel = gaussian_kernel(size, float(sigma or max(size - 1, 1)), images)
    return _blur_axis(_blur_axis(images, kernel, 2), kernel, 3).contiguous()


@lru_cache(maxsize=64)
def _interpolation(small: int, large: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    eye = torch.eye(small, dtype=torch.float64)[None]
    return F.interpolate(eye, size=large, mode="linear")[0].T.to(dtype=dtype, device=device).contiguous()


def upsample(masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(..., m, n) to (..., H, W), bilinear, pixel centres aligned (align_corners=False)."""
    rows = _interpolation(masks.shape[-2], size[0], masks.dtype, masks.device)
    columns = _interpolation(masks.shape[-1], size[1], masks.dtype, masks.device)
    if masks.shape[-2:] == tuple(size):
        return masks
    return rows @ masks @ columns.T


def upsample_adjoint(gradient: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The transpose of `upsample`: gradients (..., H, W) at the pixels to gradients (..., m, n) at the mask."""
    if gradient.shape[-2:] == tuple(size):
        return gradient
    rows = _interpolation(size[0], gradient.shape[-2], gradient.dtype, gradient.device)
    columns = _interpolation(size[1], gradient.shape[-1], gradient.dtype, gradient.device)
    return rows.T @ gradient @ columns


def upsample_saliency(saliency: torch.Tensor, size: int | tuple[int, int]) -> torch.Tensor:
    """Saliency (N, 1, m, m) at image size (N, 1, H, W), bilinear; `size` is H = W or (H, W)."""
    if saliency.ndim != 4 or saliency.shape[1] != 1:
        raise ValueError(f"saliency: expected (N, 1, m, m), got {tuple(saliency.shape)}")
    return upsample(saliency, (size, size) if isinstance(size, int) else tuple(size))


def compose(images: torch.Tensor, baselines: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Phi(I, B, M) = M I + (1 - M) B (equation 1)."""
    return torch.lerp(baselines, images, mask.expand(torch.broadcast_shapes(mask.shape, images.shape)))


def normalised(maps: torch.Tensor) -> torch.Tensor:
    """Each map of (N, 1, m, m) stretched to [0, 1], float32; a constant map becomes 0.

    ValueError for a map with NaN or infinity.
    """
    flat = maps.flatten(1).double()
    bad = (~torch.isfinite(flat).all(1)).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"saliency: the model's slopes give NaN or infinity for image {bad[0]} of {len(flat)}")
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    span = torch.where(high > low, high - low, torch.ones_like(high))
    return ((flat - low) / span).clamp(0, 1).view(maps.shape).float()


def checked_whole(name: str, value: int, least: int) -> int:
    """A whole number of at least `least`; ValueError names what came."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    return value


def checked_number(name: str, value: float, positive: bool = False) -> float:
    """A finite number of at least 0, or above it; ValueError names what came."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    if not good or (positive and value == 0):
        raise ValueError(f"{name}: expected a finite number {'above 0' if positive else 'of 0 or more'}, got {value!r}")
    return value


def checked_mask_size(mask_size: int) -> int:
    return checked_whole("mask_size", mask_size, 2)

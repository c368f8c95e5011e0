"""Total variation and its bilateral form (equation 7). Everything here is a pure function of (..., H, W)."""

from __future__ import annotations

import torch

SIGMA = 0.01


def differences(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Neighbour differences down (..., H - 1, W) and across (..., H, W - 1)."""
    return maps[..., 1:, :] - maps[..., :-1, :], maps[..., 1:] - maps[..., :-1]


def _mean_power(steps: torch.Tensor, beta: float) -> torch.Tensor:
    return (steps.square() if beta == 2 else steps.abs().pow(beta)).mean((-2, -1))


def total_variation(masks: torch.Tensor, beta: float = 2.0) -> torch.Tensor:
    """mean |down|^beta + mean |across|^beta, (..., H, W) to (...)."""
    down, across = differences(masks)
    return _mean_power(down, beta) + _mean_power(across, beta)


def edge_weights(images: torch.Tensor, sigma: float = SIGMA) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(-(dI)^2 / sigma) between neighbours: (N, C, H, W) to (N, H - 1, W) and (N, H, W - 1), in (0, 1].

    (dI)^2 is the mean over channels of the squared difference, for rows and columns alike.
    """
    return tuple(torch.exp(-step.square().mean(1) / sigma) for step in differences(images))


def bilateral_total_variation(
    masks: torch.Tensor, weights: tuple[torch.Tensor, torch.Tensor], beta: float = 2.0
) -> torch.Tensor:
    """Equation 7: mean of edge weight times |mask step|^beta, rows plus columns; masks (N, H, W) to (N,).

    A step of the mask costs little where the image has an edge and its full price where the image is flat.
    """
    down, across = differences(masks)
    powers = (s.square() if beta == 2 else s.abs().pow(beta) for s in (down, across))
    return sum((weight * power).mean((-2, -1)) for weight, power in zip(weights, powers, strict=True))

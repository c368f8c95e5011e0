"""Total variation and its bilateral form (equation 7). Everything here is a pure function of (..., H, W)."""

from __future__ import annotations

import torch

SIGMA = 0.01
FORMS = ("paper", "code")


def differences(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Neighbour differences down (..., H - 1, W) and across (..., H, W - 1)."""
    return maps[..., 1:, :] - maps[..., :-1, :], maps[..., 1:] - maps[..., :-1]


def _mean_power(steps: torch.Tensor, beta: float, weight: torch.Tensor | float = 1.0) -> torch.Tensor:
    """Mean of weight |step|^beta over the neighbours; 0 where there are none, in a row or column of one pixel."""
    powers = weight * (steps.square() if beta == 2 else steps.abs().pow(beta))
    return powers.sum((-2, -1)) / max(1, steps.shape[-2] * steps.shape[-1])


def total_variation(masks: torch.Tensor, beta: float = 2.0) -> torch.Tensor:
    """mean |down|^beta + mean |across|^beta, (..., H, W) to (...)."""
    down, across = differences(masks)
    return _mean_power(down, beta) + _mean_power(across, beta)


def edge_weights(
    images: torch.Tensor, sigma: float = SIGMA, form: str = "paper", scale: float | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a mask step costs between neighbours: (N, C, H, W) to (N, H - 1, W) and (N, H, W - 1), in (0, 1].

    form="paper" is exp(-(dI)^2 / sigma^2), equation 7; form="code" is exp(-(dI)^2 / sigma), as the authors' code has
    it: with sigma 0.01 its edges are ten times as high. (dI)^2 is the mean over channels of the squared difference, for
    rows and columns alike, of images over their `scale` (`image_scale` by default).
    """
    if form not in FORMS:
        raise ValueError(f"edges: expected one of {', '.join(FORMS)}, got {form!r}")
    width = sigma**2 if form == "paper" else sigma
    return tuple(torch.exp(-step.square().mean(1) / width) for step in differences(images / image_scale(images, scale)))


def image_scale(images: torch.Tensor, scale: float | None = None) -> torch.Tensor:
    """What one unit of the paper's normalised images is in these, (N, 1, 1, 1).

    The paper's images have a standard deviation of about 1, so without a `scale` it is each image's own, over its
    channels and pixels (1 for a constant image). 1.0 takes the inputs as they are, as the authors' code does.
    """
    if scale is not None:
        if not scale > 0:
            raise ValueError(f"scale: expected a positive number, got {scale}")
        return images.new_full((len(images), 1, 1, 1), scale)
    spread = images.flatten(1).std(1, correction=0).view(-1, 1, 1, 1)
    return torch.where(spread > 1e-6 * images.abs().amax((1, 2, 3), keepdim=True), spread, torch.ones_like(spread))


def bilateral_total_variation(
    masks: torch.Tensor, weights: tuple[torch.Tensor, torch.Tensor], beta: float = 2.0
) -> torch.Tensor:
    """Equation 7: mean of edge weight times |mask step|^beta, rows plus columns; masks (N, H, W) to (N,).

    A step of the mask costs little where the image has an edge and its full price where the image is flat.
    """
    return sum(_mean_power(step, beta, weight) for step, weight in zip(differences(masks), weights, strict=True))

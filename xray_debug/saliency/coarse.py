"""Large masks: how much of the gradient a coarser mask should have a say in."""

from __future__ import annotations

import torch

from xray_debug.saliency.faithfulness import curve_scores, rank_pixels
from xray_debug.saliency.images import upsample, upsample_adjoint
from xray_debug.saliency.network import Network

# the mixtures tried, and the shares of the pixels at which each is judged
SHARES = (0.0, 0.8, 1.0)
TOP = (0.02, 0.06, 0.15, 0.4)


def with_coarse(gradient: torch.Tensor, coarse: int, share: float | torch.Tensor) -> torch.Tensor:
    """The gradient and what a coarse x coarse mask would see of it, each scaled to unit root mean square and mixed.

    (N, Q, m, m) to the same; `share` in [0, 1], one number or (N,), is the weight of the coarse part: the
    gradient averaged by the coarse mask's bilinear kernel.
    """
    if isinstance(share, torch.Tensor):
        share = share.view(-1, 1, 1, 1)
    smooth = upsample(upsample_adjoint(gradient, (coarse, coarse)), tuple(gradient.shape[-2:]))
    return (1 - share) * _unit(gradient) + share * _unit(smooth)


def _unit(maps: torch.Tensor) -> torch.Tensor:
    size = maps.square().mean((-2, -1), keepdim=True).sqrt()
    return maps / torch.where(size > 0, size, torch.ones_like(size))


def chosen_shares(
    network: Network, images: torch.Tensor, baselines: torch.Tensor, targets: torch.Tensor, gradient: torch.Tensor,
    coarse: int,
) -> torch.Tensor:  # fmt: skip
    """Each image's best mixture, (N,): the one whose ranking deletes and inserts best.

    A large mask's own gradient is almost noise from entry to entry. On some networks it ranks pixels best, on
    others it inserts well and deletes badly where the coarse one does both. So the mixtures are tried: the
    score with a few shares of the top pixels deleted less the score with them inserted, summed, decides. That
    is 24 forward passes an image.
    """
    size = tuple(images.shape[-2:])
    counts = torch.tensor([round(top * size[0] * size[1]) for top in TOP], device=images.device)
    worth = []
    for share in SHARES:
        order = upsample(with_coarse(gradient, coarse, share).sum(1, keepdim=True), size)
        scores = curve_scores(network, images, baselines, targets, rank_pixels(order), counts)
        worth.append((scores[:, 0] - scores[:, 1]).sum(1))
    best = torch.stack(worth, 1).argmin(1)
    return torch.tensor(SHARES, dtype=gradient.dtype, device=gradient.device)[best]

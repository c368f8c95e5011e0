"""Deletion and insertion curves (Petsiuk et al. 2018, as the iGOS++ paper uses them), and what they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from xray_debug.saliency.asking import measures
from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.images import checked_number, checked_whole, compose, upsample, upsample_saliency
from xray_debug.saliency.network import Network, borrowed, prepared
from xray_debug.saliency.seeds import generator, image_seeds


@dataclass(frozen=True)
class Curves:
    """Scores of the target as pixels are replaced in the order of their saliency.

    deletion_curve  (N, steps + 1) from the image to the baseline, the most salient pixels first
    insertion_curve (N, steps + 1) from the baseline to the image, the most salient pixels first
    shares          (steps + 1,) of the pixels replaced, 0 to 1
    deletion, insertion (N,) areas under them by the trapezoid rule; less deletion and more insertion is better
    """

    deletion: torch.Tensor
    insertion: torch.Tensor
    deletion_curve: torch.Tensor
    insertion_curve: torch.Tensor
    shares: torch.Tensor


def rank_pixels(saliency: torch.Tensor) -> torch.Tensor:
    """Position of each entry in its map, 0 = most salient: (N, 1, h, w) to int64 of the same shape.

    Ties: equal saliency is ordered by the mean saliency of the 3 x 3 neighbourhood (edges repeated), larger
    first, and what still ties by position, row by row. So a plateau is entered from where it is thickest.
    """
    if saliency.ndim != 4 or saliency.shape[1] != 1:
        raise ValueError(f"saliency: expected (N, 1, h, w), got {tuple(saliency.shape)}")
    if not torch.isfinite(saliency).all():
        raise ValueError("saliency: expected finite values, got NaN or infinity")
    values = saliency.detach().double()
    around = nn.functional.avg_pool2d(nn.functional.pad(values, (1, 1, 1, 1), mode="replicate"), 3, 1)
    order = torch.argsort(around.flatten(1), dim=1, descending=True, stable=True)
    by_value = torch.argsort(values.flatten(1).gather(1, order), dim=1, descending=True, stable=True)
    order = order.gather(1, by_value)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(saliency.shape)


def insertion_deletion_images(
    images: torch.Tensor, baselines: torch.Tensor, saliency: torch.Tensor, share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The baseline with the `share` most salient pixels of the image, and the image without them (Figure 11).

    Returns (inserted, deleted), both (N, C, H, W). `saliency` is (N, 1, m, m) of any m; `share` in [0, 1] of
    the pixels, rounded to whole pixels.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, got {share}")
    ranks = rank_pixels(upsample_saliency(saliency.to(images), tuple(images.shape[-2:])))
    top = (ranks < round(share * ranks[0].numel())).to(images.dtype)
    return compose(images, baselines, top), compose(images, baselines, 1 - top)


@measures
def deletion_insertion(
    model: nn.Module,
    images: torch.Tensor,
    saliency: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor | None = None,
    steps: int = 50,
    *,
    grid: str = "pixels",
    noise: float = 0.0,
    seed: int | Sequence[int] = 0,
    internal_batch_size: int | None = None,
) -> Curves:
    """Deletion and insertion curves of N images (N, C, H, W) for saliency (N, 1, m, m).

    grid="pixels" upsamples the saliency and replaces single pixels in its order (rank_pixels breaks ties);
    grid="mask" ranks the m x m entries and upsamples the 0/1 mask bilinearly, the way of the authors' code.
    Either way step k replaces the first round(k * count / steps) entries. `noise` adds Gaussian noise of that
    standard deviation to every perturbed image. Scores are softmax probabilities.
    """
    checked_whole("steps", steps, 1)
    checked_number("noise", noise)
    if grid not in ("pixels", "mask"):
        raise ValueError(f"grid: expected pixels or mask, got {grid!r}")
    images, targets = prepared(model, images, targets)
    baselines = checked_baselines(baselines, images)
    saliency = saliency.detach().to(images)
    if len(saliency) != len(images):
        raise ValueError(f"saliency: expected {len(images)} maps, got {len(saliency)}")
    size = tuple(images.shape[-2:])
    ranks = rank_pixels(upsample_saliency(saliency, size) if grid == "pixels" else saliency)
    counts = torch.tensor([round(k * ranks[0].numel() / steps) for k in range(steps + 1)], device=images.device)
    with borrowed(model):
        network = Network(model, images.device, internal_batch_size)
        scores = curve_scores(
            network, images, baselines, targets, ranks, counts, noise, image_seeds(seed, len(images))
        )
    shares = (counts / ranks[0].numel()).to(scores.dtype)
    areas = torch.trapezoid(scores, shares, dim=-1)
    return Curves(areas[:, 0], areas[:, 1], scores[:, 0], scores[:, 1], shares)


def curve_scores(
    network: Network,
    images: torch.Tensor,
    baselines: torch.Tensor,
    targets: torch.Tensor,
    ranks: torch.Tensor,
    counts: torch.Tensor,
    noise: float = 0.0,
    seeds: Sequence[int] = (),
) -> torch.Tensor:
    """Scores with the counts (P,) first-ranked entries replaced, (N, 2, P): deleted, then inserted.

    ranks (N, 1, h, w) as rank_pixels gives them; where they are not at image size the 0/1 mask is upsampled.
    """
    points = len(counts)

    def build(rows: slice) -> torch.Tensor:
        """Rows are image * 2 * points + (insertion) * points + point."""
        index = torch.arange(rows.start, rows.stop, device=images.device)
        image, inserts, point = index // (2 * points), (index // points) % 2, index % points
        replaced = (ranks[image] < counts[point].view(-1, 1, 1, 1)).to(images.dtype)
        replaced = upsample(replaced, tuple(images.shape[-2:]))
        inserts = inserts.view(-1, 1, 1, 1).bool()
        batch = compose(images[image], baselines[image], torch.where(inserts, replaced, 1 - replaced))
        if noise > 0:
            for row, number in enumerate(index.tolist()):
                draws = generator(batch.device, seeds[number // (2 * points)], number % (2 * points))
                batch[row] += noise * torch.randn(batch.shape[1:], generator=draws, device=batch.device).to(batch)
        return batch

    return network.scores(build, targets.repeat_interleave(2 * points)).view(len(images), 2, points)

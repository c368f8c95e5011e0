"""ROAD, remove and debias (Rong et al. 2022): pixels are removed by noisy linear imputation, not by a baseline.

A removed pixel becomes the weighted mean of its eight neighbours, of which some are removed too: a linear system. So
the shape of what was removed cannot be seen, and a network that was trained on whole images is not shown foreign ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from xray_debug.saliency.asking import measures
from xray_debug.saliency.faithfulness import rank_pixels
from xray_debug.saliency.images import upsample_saliency
from xray_debug.saliency.network import CPU_CHUNK, answer, borrowed, checked_logits, finite, prepared
from xray_debug.saliency.seeds import generator, image_seeds

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
# of the neighbours, by how far they are: side by side 1/6, at the corner 1/12 (the paper's appendix)
WEIGHTS = {1: 1 / 6, 2: 1 / 12}


@dataclass(frozen=True)
class Road:
    """What the network says of images from which a share of the pixels was removed.

    shares     (P,) of the pixels removed
    morf, lerf (N, P) probability of the target, the most / the least salient pixels removed first
    morf_hits, lerf_hits (N, P) bool, whether the target is still predicted: their means over images are ROAD's accuracy
    """

    shares: torch.Tensor
    morf: torch.Tensor
    lerf: torch.Tensor
    morf_hits: torch.Tensor
    lerf_hits: torch.Tensor

    @property
    def gap(self) -> torch.Tensor:
        """Mean over the shares of lerf - morf, (N,) in [-1, 1]: the larger, the better; about 0 for a random map."""
        return (self.lerf - self.morf).mean(1)


@lru_cache(maxsize=2)  # eight numbers a pixel
def _neighbours(height: int, width: int) -> csr_matrix:
    """(H W, H W): row i holds the weights of pixel i's neighbours inside the image, which sum to 1."""
    from scipy import sparse

    place = np.arange(height * width).reshape(height, width)
    rows, columns, values = [], [], []
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if not (dy or dx):
                continue
            here = place[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
            rows.append(here.ravel())
            columns.append(here.ravel() - dy * width - dx)
            values.append(np.full(here.size, WEIGHTS[abs(dy) + abs(dx)]))
    table = tuple(np.concatenate(parts) for parts in (values, rows, columns))
    matrix = sparse.csr_matrix((table[0], table[1:]), shape=(place.size, place.size))
    return sparse.diags(1 / np.asarray(matrix.sum(1)).ravel()) @ matrix


def noisy_linear_imputation(
    images: torch.Tensor, removed: torch.Tensor, noise: float = 0.01, seed: int | Sequence[int] = 0
) -> torch.Tensor:
    """Images (N, C, H, W) with the `removed` pixels (N, 1, H, W) bool filled in from the pixels that are left.

    `noise`: standard deviation of what is added to them, in the images' units. ValueError where nothing is left.
    """
    if removed.shape != (len(images), 1, *images.shape[-2:]):
        raise ValueError(f"removed: expected {(len(images), 1, *images.shape[-2:])}, got {tuple(removed.shape)}")
    found = images.clone()
    for row, own in enumerate(image_seeds(seed, len(images))):
        gone = np.flatnonzero(removed[row].cpu().numpy())
        if not len(gone):
            continue
        values = images[row].detach().double().cpu().numpy().reshape(images.shape[1], -1)
        filled = torch.from_numpy(_filled(values, gone, images.shape[-2:]))
        draws = torch.randn(filled.shape, generator=generator("cpu", "road", own), dtype=filled.dtype)
        where = torch.from_numpy(gone).to(images.device)
        found[row].view(images.shape[1], -1)[:, where] = (filled + noise * draws).to(images)
    return found


def _filled(values: np.ndarray, gone: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(C, n) for the n pixels `gone` of (C, H W)."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    left = np.setdiff1d(np.arange(values.shape[1]), gone, assume_unique=True)
    if not len(left):
        raise ValueError("removed: expected at least one pixel that is left, got none")
    weights = _neighbours(*size)[gone]
    system = sparse.identity(len(gone), format="csc") - weights[:, gone].tocsc()
    return spsolve(system, weights[:, left] @ values[:, left].T).reshape(len(gone), -1).T


@measures
def road(
    model: nn.Module,
    images: torch.Tensor,
    saliency: torch.Tensor,
    targets: torch.Tensor,
    shares: Sequence[float] = SHARES,
    noise: float = 0.01,
    seed: int | Sequence[int] = 0,
) -> Road:
    """ROAD of N images (N, C, H, W) for saliency (N, 1, m, m), removing the most and the least salient pixels first.

    `shares` in (0, 1) of the pixels, rounded to whole ones, at least one of which is left.
    """
    if not len(shares) or not all(0 < share < 1 for share in shares):
        raise ValueError(f"shares: expected numbers between 0 and 1, got {list(shares)}")
    images, targets = prepared(model, images, targets)
    if len(saliency) != len(images):
        raise ValueError(f"saliency: expected {len(images)} maps, got {len(saliency)}")
    ranks = rank_pixels(upsample_saliency(saliency.detach().to(images), tuple(images.shape[-2:])))
    total = ranks[0].numel()
    counts = [min(round(share * total), total - 1) for share in shares]
    seeds = image_seeds(seed, len(images))
    scores, hits = images.new_empty(2, len(images), len(counts)), torch.empty(2, len(images), len(counts)).bool()
    with borrowed(model), torch.no_grad():
        for row in range(len(images)):
            removed = torch.cat([ranks[row : row + 1] < count for count in counts]
                                + [ranks[row : row + 1] >= total - count for count in counts])  # fmt: skip
            frames = images[row : row + 1].expand(len(removed), *images.shape[1:])
            frames = noisy_linear_imputation(frames, removed, noise, [seeds[row]] * len(removed))
            same = targets[row : row + 1].expand(len(frames))
            said = [checked_logits(answer(model, part), same) for part in frames.split(CPU_CHUNK)]
            logits = finite(torch.cat(said), "logits")
            scores[:, row] = torch.softmax(logits, 1)[:, targets[row]].view(2, -1)
            hits[:, row] = (logits.argmax(1) == targets[row]).view(2, -1).cpu()
    return Road(torch.tensor([count / total for count in counts]), scores[0], scores[1], hits[0], hits[1])

"""Group DRO: training for the group that fares worst.

Sagawa, Koh, Hashimoto and Liang 2020, "Distributionally robust neural networks for group shifts", Algorithm 1, in
batches: the images of a batch come from the groups with equal probability; q_g <- q_g exp(eta loss_g), divided by the
sum; the step goes down sum q_g loss_g. loss_g is the mean over the batch's images of the group, 0 where it has none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from xray_debug.models.batches import ranks
from xray_debug.models.repairs.base import REPAIRS, Training

ETA = 0.01  # the step of q, as in the paper's program


def group_losses(losses: Tensor, groups: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean loss of each group in the batch (G,), 0 where it has none, and its number of images (G,).

    Where several processes share a batch, a process's part of the mean over all of them: the parts' sum is the mean.
    """
    sums, counts = losses.new_zeros(count), losses.new_zeros(count)
    sums, counts = sums.index_add(0, groups, losses), counts.index_add(0, groups, torch.ones_like(losses))
    if ranks()[1] > 1:
        torch.distributed.all_reduce(counts)
    return sums / counts.clamp(min=1), counts


def updated(q: Tensor, losses: Tensor, eta: float = ETA) -> Tensor:
    """q_g exp(eta loss_g), divided by its sum."""
    grown = q * torch.exp(eta * losses)
    return grown / grown.sum()


@REPAIRS.register("group_dro", help="trained anew for the group of images that fares worst")
class GroupDro(Training):
    balance = "groups"

    def __init__(self, groups: np.ndarray):
        super().__init__(groups)
        there = np.bincount(groups) > 0
        self.q = torch.from_numpy(there / there.sum()).float()

    def loss(self, losses: Tensor, groups: Tensor) -> Tensor:
        found, _ = group_losses(losses, groups, len(self.q))
        total, world = found.detach().clone(), ranks()[1]
        if world > 1:
            torch.distributed.all_reduce(total)
        self.q = updated(self.q.to(total), total)
        return world * (self.q * found).sum()  # DDP takes the mean of the processes' gradients

    def state(self) -> dict[str, Any]:
        return {"q": self.q}

    def load_state(self, state: dict[str, Any]) -> None:
        self.q = state["q"]

"""The batches of an epoch, the same images in each whatever the number of processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor


def ranks() -> tuple[int, int]:
    """(rank, number of processes) of this training."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def share(rows: np.ndarray) -> np.ndarray:
    """This process's part of `rows`: every world-th, some from the start again so that all parts are as long."""
    rank, world = ranks()
    return np.resize(rows, math.ceil(len(rows) / world) * world)[rank::world]


class Batches:
    """Iterates over one epoch's batches (uint8 (B, S, S), int64 (B,)) of images held as one array.

    The order depends on the seed and the epoch; without a seed the images come as they are. Batches differ in size by
    at most one, so that none has a single image (batch normalisation cannot do with one). `size` is that of a batch of
    all processes together; each gets its share of every batch.
    """

    def __init__(self, images, labels: np.ndarray, size: int, epoch: Callable[[], int], balance: str, seed: int | None):
        self.images, self.labels, self.size, self.epoch = images, labels, size, epoch
        self.balance, self.seed = balance, seed

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the images of `epoch`, in order."""
        n = len(self.labels)
        if self.seed is None:
            return np.arange(n)
        rng = np.random.default_rng([self.seed, epoch])
        if self.balance == "sampler":
            weight = 1 / np.bincount(self.labels)[self.labels]
            return rng.choice(n, n, p=weight / weight.sum())
        return rng.permutation(n)

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in np.array_split(self.order(self.epoch()), len(self)):
            rows = share(batch)
            images = np.ascontiguousarray(self.images[rows])
            yield torch.from_numpy(images), torch.from_numpy(self.labels[rows])

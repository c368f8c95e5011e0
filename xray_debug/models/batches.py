"""The batches of an epoch, the same images in each whatever the number of processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from xray_debug.models.augment import pasted

DONORS = 1  # tells the stream of random numbers that draws donors from the one of the order


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

    With `groups`, (n,) codes, a batch has a third part, those of its images; `balance` "groups" draws from all groups
    alike. With `marked`, the images as they are while `images` are without their text, each gets the text of
    another.
    The order depends on the seed and the epoch; without a seed the images come as they are. Batches differ in size by
    at most one, so that none has a single image (batch normalisation cannot do with one). `size` is that of a batch of
    all processes together; each gets its share of every batch.
    """

    def __init__(self, images, labels: np.ndarray, size: int, epoch: Callable[[], int], balance: str, seed: int | None,
                 groups: np.ndarray | None = None, marked=None):  # fmt: skip
        self.images, self.labels, self.size, self.epoch = images, labels, size, epoch
        self.balance, self.seed, self.groups, self.marked = balance, seed, groups, marked

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the images of `epoch`, in order."""
        n = len(self.labels)
        if self.seed is None:
            return np.arange(n)
        rng = np.random.default_rng([self.seed, epoch])
        if self.balance in ("sampler", "groups"):
            codes = self.labels if self.balance == "sampler" else self.groups
            weight = 1 / np.bincount(codes)[codes]
            return rng.choice(n, n, p=weight / weight.sum())
        return rng.permutation(n)

    def donors(self, epoch: int) -> np.ndarray:
        """(n,) whose text each image gets in `epoch`."""
        n = len(self.labels)
        return np.random.default_rng([self.seed, epoch, DONORS]).integers(0, n, n)

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self.epoch()
        donors = None if self.marked is None else self.donors(epoch)
        for batch in np.array_split(self.order(epoch), len(self)):
            rows = share(batch)
            images = np.ascontiguousarray(self.images[rows])
            if donors is not None:
                images = pasted(images, self.marked[donors[rows]], self.images[donors[rows]])
            codes = () if self.groups is None else (torch.from_numpy(self.groups[rows]),)
            yield torch.from_numpy(images), torch.from_numpy(self.labels[rows]), *codes

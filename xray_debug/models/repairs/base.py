"""What a repair is, its registry, and the weights by group that several of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from xray_debug.data.registry import Registry
from xray_debug.models.classifier import XrayClassifier

REPAIRS = Registry("repair", "xray_debug.repairs")


def balancing_weights(groups: np.ndarray) -> np.ndarray:
    """(n,) weights with mean 1 by which every group that occurs counts alike: n / (G n_g).

    `groups`: (n,) codes from 0; codes without a member count as no group.
    """
    counts = np.bincount(groups)
    return len(groups) / ((counts > 0).sum() * counts[groups])


@dataclass(frozen=True)
class Grouped:
    """Images with what is known of them: uint8 (n, S, S) or anything that is sliced, class indices, codes of groups."""

    images: Any
    labels: np.ndarray
    groups: np.ndarray


class Repair(ABC):
    """One way to mend a classifier; the class is registered in REPAIRS.

    `trains`: it takes part in a training (`Training`); else it works on a trained model (`LastLayer`).
    `needs_groups`: it must be told which images go together. `needs_markers`: it must have the images with and without
    their text.
    """

    trains: ClassVar[bool]
    needs_groups: ClassVar[bool] = True
    needs_markers: ClassVar[bool] = False


class LastLayer(Repair):
    """Mends a trained model without training its network again."""

    trains = False

    @abstractmethod
    def mend(self, model: XrayClassifier, train: Grouped, val: Grouped, seed: int, scale_of=None) -> dict[str, Any]:
        """Changes the last layer of `model` in place. Gives plain facts for the report.

        `scale_of`: images uint8 (n, S, S) by which features are scaled, those of `train` without it. Among cleaned
        images what saw the text hardly varies, and scaled by that it would become loud.
        ValueError where the network or the images do not allow it.
        """


class Training(Repair):
    """Takes part in a training: it may order the images, and weigh their losses.

    Made anew in each process. `groups`: (n,) codes of the training images; empty where it needs none. Where it
    `needs_markers`, it learns from cleaned images into which the text of others is pasted (augment.pasted).
    """

    trains = True
    balance: ClassVar[str] = "none"  # of the order of the images, see batches.Batches; "" as the options have it

    def __init__(self, groups: np.ndarray):
        self.groups = groups

    def loss(self, losses: Tensor, groups: Tensor) -> Tensor:
        """The loss of a batch, from the (B,) cross-entropies of its images and their groups; with groups alone."""
        return losses.mean()

    def state(self) -> dict[str, Any]:
        """What a training that goes on must know."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from a `state`."""


def repair_of_training(name: str, groups: np.ndarray | None) -> Training | None:
    """The repair of that name for a training with these groups; None for none ("")."""
    return REPAIRS[name](np.zeros(0, np.int64) if groups is None else groups) if name else None

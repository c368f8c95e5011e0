"""Training in which every group of images counts alike, by the weights of their losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xray_debug.models.repairs.base import REPAIRS, Training, balancing_weights


@REPAIRS.register("reweight", help="trained anew, every group of images counting alike in the loss")
class Reweight(Training):
    """Loss: the mean of n / (G n_g) times the cross-entropy, over n images in G groups of n_g images."""

    def __init__(self, groups: np.ndarray):
        super().__init__(groups)
        self.weights = np.zeros(int(groups.max()) + 1)
        self.weights[groups] = balancing_weights(groups)

    def loss(self, losses: Tensor, groups: Tensor) -> Tensor:
        return (torch.from_numpy(self.weights).to(losses)[groups] * losses).mean()

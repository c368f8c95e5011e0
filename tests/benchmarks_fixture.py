"""What the tests of the benchmarks share: their modules, a tiny network and tiny photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parents[1] / "benchmarks"
SIDE = 16


class Tiny(nn.Module):
    """A convolutional network with three classes and feature maps."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU(),
                                      nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))  # fmt: skip
        self.asked = 0

    def forward(self, x):
        self.asked += len(x)
        return 6 * self.body(x)


def write_photographs(folder: Path, count: int = 2) -> Path:
    """RGB files photo-0.png, ... of SIDE x SIDE pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        small = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"photo-{number}.png"), cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
    return folder


def tiny_classifier(networks):
    """A Classifier (of the module `networks`) around Tiny."""
    model = Tiny().eval()
    return networks.Classifier("tiny", model, lambda path: networks.photograph(path, SIDE), (0.5,) * 3, (0.25,) * 3,
                               ["one", "two", "three"])  # fmt: skip

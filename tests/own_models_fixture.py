"""Classifiers trained outside the product, with plain torch, on the phantom; used by tests of given models."""

from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision
from torch import nn

from xray_debug.config import PhantomConfig
from xray_debug.phantom.dataset import write_phantom

CLASSES = ["normal", "pneumonia", "COVID-19"]
SIZE = 64


def dataset(folder: Path, plant: str, train: int = 150, test: int = 36, difficulty: float = 0.25) -> Path:
    config = PhantomConfig(train=train, test=test, size=128, plant=plant, correlation=1.0, difficulty=difficulty,
                           style="bright", placement="class")  # fmt: skip
    return write_phantom(folder, config, seed=3)


def films(root: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 1, SIZE, SIZE) in [0, 1] and the classes (N,), read without the product."""
    lines = [line.split() for line in (root / f"{split}_COVIDx.txt").read_text().splitlines()]
    images = [cv2.imread(str(root / split / line[1]), cv2.IMREAD_GRAYSCALE) for line in lines]
    images = [cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for image in images]
    return torch.tensor(np.stack(images)[:, None] / 255).float(), torch.tensor([CLASSES.index(x[2]) for x in lines])


def imagenet(images: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images.expand(-1, 3, -1, -1) - mean[:, None, None]) / std[:, None, None]


def trained(arch: str, root: Path, epochs: int, rate: float) -> nn.Module:
    """torchvision's `arch` for three classes, or "small", in evaluation mode."""
    torch.manual_seed(0)
    net = Small() if arch == "small" else torchvision.models.get_model(arch, weights=None, num_classes=3)
    net = net.to(memory_format=torch.channels_last).train()
    images, codes = films(root, "train")
    images = images if arch == "small" else imagenet(images)
    images, steps = images.contiguous(memory_format=torch.channels_last), epochs * (len(images) // 16)
    best = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, rate, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(16)[: len(images) // 16]:
            best.zero_grad()
            nn.functional.cross_entropy(net(images[rows]), codes[rows]).backward()
            best.step()
            plan.step()
    return net.eval()


class OneLogit(nn.Module):
    """COVID-19 or not, (N, 1)."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.net(images)
        return found[:, 2:] - found[:, :2].logsumexp(1, keepdim=True)


class Findings(nn.Module):
    """Eighteen findings, of which three are the classes and the others never there."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.net(images)
        own = [found[:, i] - found[:, [j for j in range(3) if j != i]].logsumexp(1) for i in range(3)]
        return torch.stack([*([own[0] * 0 - 4] * 7), *own, *([own[0] * 0 - 5] * 8)], 1)


FINDINGS = [*(f"finding {i}" for i in range(7)), *CLASSES, *(f"finding {i}" for i in range(7, 15))]


def onnx_of(net: nn.Module, example: torch.Tensor, file: Path, free: bool = True) -> None:
    """Writes an ONNX file by torch's exporter, without the package onnx, which adds nothing for plain layers."""
    import torch.onnx._internal.torchscript_exporter.onnx_proto_utils as utils

    kept, utils._add_onnxscript_fn = utils._add_onnxscript_fn, lambda content, opsets: content
    try:
        axes = {"images": {0: "n"}, "answers": {0: "n"}} if free else None
        torch.onnx.export(net, (example,), str(file), dynamo=False, input_names=["images"], output_names=["answers"],
                          dynamic_axes=axes)  # fmt: skip
    finally:
        utils._add_onnxscript_fn = kept


class Small(nn.Module):
    """A few convolutions for one channel of values from 0 to 1."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32),
            nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(1024, 3),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)

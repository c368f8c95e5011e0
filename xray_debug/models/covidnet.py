"""COVID-Net's design in a size for CPUs (Wang and Wong, "COVID-Net", Scientific Reports 10, 2020).

The network is a stem and four stages of projection-expansion-projection-extension (PEPX) blocks. A long-range
link, a 1x1 convolution of what enters a stage, reaches every block of that stage, as does the output of every
earlier block: block i sees link + sum of blocks j < i, which is a running sum. The paper's network has 3, 4, 6 and 3
blocks of 56, 112, 216 and 424 channels; `width` and `depth` scale both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from xray_debug.data.view import ModelView
from xray_debug.models.registry import NETWORKS

PAPER_DEPTHS = (3, 4, 6, 3)
SMALLEST = 32  # pixels: the network halves its input five times


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution that keeps the size (for stride 1) and batch normalisation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class PEPX(nn.Module):
    """Projection, expansion, depthwise 3x3, projection, extension: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, expansion: float = 1.5):
        super().__init__()
        narrow, wide = channels // 2, max(int(channels * expansion), 1)
        self.projection = conv_norm(channels, narrow, 1)
        self.expansion = conv_norm(narrow, wide, 1)
        self.depthwise = conv_norm(wide, wide, 3, groups=wide)
        self.second_projection = conv_norm(wide, narrow, 1)
        self.extension = conv_norm(narrow, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.projection, self.expansion, self.depthwise, self.second_projection):
            x = torch.relu_(layer(x))  # in place: nothing else looks at what a normalisation gives
        return self.extension(x)


class Stage(nn.Module):
    """PEPX blocks, each seeing the long-range link and all earlier blocks; halves the size where `pool`."""

    def __init__(self, inputs: int, channels: int, blocks: int, pool: bool, expansion: float):
        super().__init__()
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.link = conv_norm(inputs, channels, 1)
        self.blocks = nn.ModuleList(PEPX(channels, expansion) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        total = torch.relu_(self.link(self.pool(x)))
        for block in self.blocks:
            total = torch.relu_(total + block(total))
        return total


class CovidNet(nn.Module):
    """(N, 1, S, S) -> (N, classes) logits; S at least 32.

    Args:
        classes: number of classes.
        width: channels of the first stage; each later stage has twice as many. The paper's is 56.
        depth: share of the paper's 3, 4, 6, 3 blocks, rounded up.
        expansion: channels of a block's depthwise convolution over the block's own.
        dropout: before the last layer.
    """

    input_channels, normalise = 1, "gray"

    def __init__(
        self, classes: int, width: int = 32, depth: float = 0.5, expansion: float = 1.5, dropout: float = 0.0
    ):
        super().__init__()
        if width < 2 or depth <= 0 or expansion <= 0 or not 0 <= dropout < 1:
            raise ValueError(
                "covidnet: expected width >= 2, depth > 0, expansion > 0 and dropout in [0, 1), "
                f"got {width}, {depth}, {expansion} and {dropout}"
            )
        self.stem = nn.Sequential(conv_norm(1, width, 7, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        stages, inputs = [], width
        for i, blocks in enumerate(PAPER_DEPTHS):
            channels = width * 2**i
            stages.append(Stage(inputs, channels, math.ceil(blocks * depth), i > 0, expansion))
            inputs = channels
        self.stages = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))
        self.fc = nn.Linear(inputs, classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, PEPX):
                # a block starts as the identity, which lets small data sets train at a high rate
                nn.init.zeros_(module.extension[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.stages(self.stem(x))))


@NETWORKS.register("covidnet", help="COVID-Net's design in a size for CPUs")
def build(classes: int, view: ModelView, pretrained: bool, **options) -> CovidNet:
    if pretrained:
        raise ValueError("pretrained: covidnet has no ImageNet weights; set pretrained to false")
    if view.size < SMALLEST:
        raise ValueError(f"view.size: covidnet needs at least {SMALLEST} pixels, got {view.size}")
    return CovidNet(classes, **options)

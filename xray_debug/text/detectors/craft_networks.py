"""CRAFT's network and its link refiner, for where the package craft-text-detector cannot be installed.

From the paper (Baek et al. 2019, section 3.1 and figure 2): VGG16 with batch normalisation, four up-convolution blocks
with skip connections, and a head of two maps at half the resolution; its last stage takes convolutions in place of
VGG's dense layers. Modules are named as in the official weights, so that these load; the tests hold keys and outputs
against the package's own networks.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import vgg16_bn

# ends of VGG's stages in torchvision's list of layers: after conv2_2, 3_3, 4_3, 5_3 with their normalisation
STAGES = ((0, 12), (12, 19), (19, 29), (29, 39))
# channels of the up-convolution blocks: of the deeper features, of the skipped ones, and out
BLOCKS = ((1024, 512, 256), (512, 256, 128), (256, 128, 64), (128, 64, 32))


class Backbone(nn.Module):
    """VGG16's stages and the last one; gives five feature maps, the deepest first."""

    def __init__(self):
        super().__init__()
        layers = vgg16_bn(weights=None).features
        for number, (start, end) in enumerate(STAGES, 1):
            named = OrderedDict((str(i), layers[i]) for i in range(start, end))
            setattr(self, f"slice{number}", nn.Sequential(named))
        self.slice5 = nn.Sequential(
            nn.MaxPool2d(3, 1, 1), nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.Conv2d(1024, 1024, 1)
        )

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for number in range(1, 6):
            images = getattr(self, f"slice{number}")(images)
            found.append(images)
        return found[::-1]


class UpConvolution(nn.Module):
    """1 x 1, then 3 x 3, each normalised."""

    def __init__(self, deeper: int, skipped: int, out: int):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(deeper + skipped, skipped, 1), nn.BatchNorm2d(skipped), nn.ReLU(),
            nn.Conv2d(skipped, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images)


class CraftNetwork(nn.Module):
    """(N, 3, H, W) normalised as ImageNet -> ((N, H/2, W/2, 2) region and affinity, (N, 32, H/2, W/2) features)."""

    def __init__(self):
        super().__init__()
        self.basenet = Backbone()
        for number, channels in enumerate(BLOCKS, 1):
            setattr(self, f"upconv{number}", UpConvolution(*channels))
        self.conv_cls = nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 2, 1),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found, *skipped = self.basenet(images)
        for number, features in enumerate(skipped, 1):
            if number > 1:
                found = F.interpolate(found, size=features.shape[-2:], mode="bilinear", align_corners=False)
            found = getattr(self, f"upconv{number}")(torch.cat([found, features], 1))
        return self.conv_cls(found).permute(0, 2, 3, 1), found


class RefineNetwork(nn.Module):
    """Links between characters, refined: (N, h, w, 2) and features (N, 32, h, w) -> (N, h, w, 1)."""

    def __init__(self):
        super().__init__()
        layers = []
        for channels in (34, 64, 64):
            layers += [nn.Conv2d(channels, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()]
        self.last_conv = nn.Sequential(*layers)
        for number in range(1, 5):  # the same at four dilations, summed
            wide = nn.Conv2d(64, 128, 3, dilation=6 * number, padding=6 * number)
            setattr(self, f"aspp{number}", nn.Sequential(
                wide, nn.BatchNorm2d(128), nn.ReLU(), nn.Conv2d(128, 128, 1), nn.BatchNorm2d(128), nn.ReLU(),
                nn.Conv2d(128, 1, 1)))  # fmt: skip

    def forward(self, maps: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        found = self.last_conv(torch.cat([maps.permute(0, 3, 1, 2), features], 1))
        return sum(getattr(self, f"aspp{number}")(found) for number in range(1, 5)).permute(0, 2, 3, 1)

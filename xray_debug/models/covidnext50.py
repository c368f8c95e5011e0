"""COVID-Next: ResNeXt-50 32x4d with three more convolutions, the classifier of the iGOS++ paper's COVID-19 study.

The architecture and the names in its published state dict (`COVIDNext50_*.pth` of velebit-ai/COVID-Next-Pytorch)
are those of that project; it was trained on 256x256 images in [0, 1] without ImageNet normalisation, classes
normal, pneumonia, COVID-19 in this order.
"""

from __future__ import annotations

from torch import Tensor, nn

from xray_debug.data.view import ModelView
from xray_debug.models import imagenet
from xray_debug.models.registry import NETWORKS

# name in the published state dict -> name here, by prefix
PUBLISHED_PREFIXES = {
    "block0.module.0.": "stem.0.",
    "block0.module.1.": "stem.1.",
    "block1.module.": "layer1.",
    "block2.module.": "layer2.",
    "block3.module.": "layer3.",
    "block4.module.": "layer4.",
    "backbone_end.module.": "neck.",
    "logits.module.": "fc.",
}


def is_published(state: dict[str, Tensor]) -> bool:
    """Whether `state` has the names of the published COVID-Next checkpoint."""
    return any(key.startswith("backbone_end.module.") for key in state)


def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published state dict under this module's names; ValueError for a name that is not COVID-Next's."""
    renamed = {}
    for key, value in state.items():
        prefix = next((p for p in PUBLISHED_PREFIXES if key.startswith(p)), None)
        if prefix is None:
            raise ValueError(f"{key}: not a name of the published COVID-Next state dict")
        renamed[PUBLISHED_PREFIXES[prefix] + key[len(prefix) :]] = value
    return renamed


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1))


class CovidNext50(nn.Module):
    """(N, 3, S, S) -> (N, classes) logits."""

    input_channels, normalise = 3, "imagenet"

    def __init__(self, classes: int):
        from torchvision.models import resnext50_32x4d  # takes seconds to import

        super().__init__()
        trunk = resnext50_32x4d(weights=None)
        self.stem = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        self.layer1, self.layer2, self.layer3, self.layer4 = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4
        self.neck = nn.Sequential(_conv(2048, 512, 3), _conv(512, 1024, 1), _conv(1024, 512, 3))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.stem, self.layer1, self.layer2, self.layer3, self.layer4, self.neck, self.pool):
            x = layer(x)
        return self.fc(x.flatten(1))

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Takes the trunk's weights from torchvision's resnext50_32x4d `state`."""
        names = {"conv1.": "stem.0.", "bn1.": "stem.1."}
        own = self.state_dict()
        for key, value in state.items():
            prefix = next((p for p in names if key.startswith(p)), None)
            key = names[prefix] + key[len(prefix) :] if prefix else key
            if key.startswith(("stem.", "layer")):
                own[key] = value
        self.load_state_dict(own)


@NETWORKS.register("covidnext50", help="COVID-Next: ResNeXt-50 with three more convolutions, the paper's classifier")
def build(classes: int, view: ModelView, pretrained: bool, **options) -> CovidNext50:
    net = CovidNext50(classes, **options)
    if pretrained:
        net.load_imagenet(imagenet.imagenet_weights("resnext50_32x4d"))
    return net

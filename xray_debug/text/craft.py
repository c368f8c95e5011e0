"""Text as CRAFT sees it (Baek et al., "Character Region Awareness for Text Detection", CVPR 2019).

A network gives two maps at half resolution: `region`, high at the centres of characters, and `affinity`, high
between characters of one word. Connected components of the thresholded maps are the words. `CraftLite` is a small
network for radiographs, which may give a third map, high on devices; `decode` turns the maps of this or of the official
network into boxes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

WINDOW = 33  # pixels, side of the neighbourhood that the second input channel is normalised by
OUTPUTS = ("text", "affinity", "device")  # a network's maps, in this order; the official one and older files have two
CONTRAST_FLOOR = 0.02  # of the grey range: contrast below this is noise and is not amplified to full range


@dataclass(frozen=True)
class Thresholds:
    """`text`: the least peak of a word; `low`: where a character ends; `link`: where two are one word; all in [0, 1].

    `min_area` is in pixels of the map (the package's own constant is 10).
    """

    text: float = 0.7
    link: float = 0.4
    low: float = 0.4
    min_area: int = 10

    def __post_init__(self):
        for name in ("text", "link", "low"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"threshold {name} must be in [0, 1], got {value}")
        if self.min_area < 1:
            raise ValueError(f"min_area must be at least 1 pixel, got {self.min_area}")


@dataclass(frozen=True)
class Word:
    """One component: `points` (P, 2) int32 (x, y) of its grown pixels in the map, `score` its highest region value."""

    points: np.ndarray
    score: float

    @property
    def rectangle(self) -> np.ndarray:
        """(4,) float64 x0, y0, x1, y1 in map pixels, ends exclusive."""
        low, high = self.points.min(axis=0), self.points.max(axis=0) + 1
        return np.concatenate([low, high]).astype(np.float64)

    def quad(self, height: int, width: int) -> np.ndarray:
        """(4, 2) float32 corners of the tightest rotated rectangle, clockwise from the top left, inside the map."""
        corners = cv2.boxPoints(cv2.minAreaRect(self.points))
        corners = np.clip(corners, 0, (width, height)).astype(np.float32)
        sides = np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[1] - corners[2])
        if abs(1 - max(sides) / (min(sides) + 1e-5)) <= 0.1:  # a lone letter: a diamond means nothing, stand upright
            (left, top), (right, bottom) = self.points.min(axis=0), self.points.max(axis=0)
            corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
        return np.roll(corners, 4 - corners.sum(axis=1).argmin(), axis=0)


def find_words(region: np.ndarray, affinity: np.ndarray, thresholds: Thresholds = Thresholds()) -> list[Word]:
    """Components of `region` > low or `affinity` > link, float32 (h, w) each, whose peak reaches `text`.

    Each component loses its pure link pixels and is dilated by 2 sqrt(area * shorter side / box area), the amount
    by which the official decoding undoes the shrinking of the heat maps.
    """
    if region.ndim != 2 or region.shape != affinity.shape:
        raise ValueError(f"score maps must be two (h, w) arrays of one shape, got {region.shape} and {affinity.shape}")
    height, width = region.shape
    text, link = region > thresholds.low, affinity > thresholds.link
    count, labels, stats, _ = cv2.connectedComponentsWithStats((text | link).astype(np.uint8), connectivity=4)
    words = []
    for label in range(1, count):
        x, y, w, h, area = (int(value) for value in stats[label])
        if area < thresholds.min_area:
            continue
        inside = labels[y:y + h, x:x + w] == label
        peak = float(region[y:y + h, x:x + w][inside].max())
        if peak < thresholds.text:
            continue
        grow = int(math.sqrt(area * min(w, h) / (w * h)) * 2)
        x0, x1 = max(0, x - grow), min(width, x + w + grow + 1)
        y0, y1 = max(0, y - grow), min(height, y + h + grow + 1)
        here = (labels[y0:y1, x0:x1] == label) & ~(link & ~text)[y0:y1, x0:x1]
        grown = cv2.dilate(here.astype(np.uint8), np.ones((1 + grow, 1 + grow), np.uint8))
        rows, columns = np.nonzero(grown)
        if len(rows):
            words.append(Word(np.stack([columns + x0, rows + y0], axis=1).astype(np.int32), peak))
    return words


def decode(region: np.ndarray, affinity: np.ndarray, thresholds: Thresholds = Thresholds()) -> list[np.ndarray]:
    """The official decoding: one (4, 2) float32 quadrilateral per word, in map pixels (half the input's)."""
    return [word.quad(*region.shape) for word in find_words(region, affinity, thresholds)]


# ---------------------------------------------------------------------------------------------------- the network


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(self.first(x)))


class _Up(nn.Module):
    """Doubles the resolution and adds what the way down knew at that resolution."""

    def __init__(self, below: int, skip: int, width: int):
        super().__init__()
        self.below, self.skip = nn.Conv2d(below, width, 1), nn.Conv2d(skip, width, 1, bias=False)
        self.smooth = _conv(width, width)

    def forward(self, below: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.smooth(F.interpolate(self.below(below), size=skip.shape[2:], mode="nearest") + self.skip(skip))


def _way_back(ups: nn.ModuleList, features: list[torch.Tensor]) -> torch.Tensor:
    x = features[-1]
    for up, skip in zip(ups, features[-2::-1], strict=False):
        x = up(x, skip)
    return x


class CraftLite(nn.Module):
    """CRAFT with a compact backbone: five stages of stride 2, a U-shaped way back to half resolution.

    Plain 3x3 convolutions: on CPUs they run nearer to peak than depthwise ones. Input (N, 2, H, W) as `prepare`
    makes it, H and W multiples of 32; output (N, P, H / 2, W / 2) logits, P = `outputs`, the first of OUTPUTS.

    The map of devices has a way back of its own, to a quarter of the resolution: learnt alone, it leaves the maps of
    text what they were, bit for bit.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 160, 192), blocks: tuple[int, ...] = (0, 1, 1, 1, 1),
                 outputs: int = 2):
        super().__init__()
        if len(widths) != 5 or len(blocks) != 5:
            raise ValueError(f"CraftLite has five stages, got widths {widths} and blocks {blocks}")
        if outputs not in (2, 3):
            raise ValueError(f"CraftLite has 2 or 3 outputs, got {outputs}")
        self.widths, self.blocks, self.outputs = tuple(widths), tuple(blocks), outputs
        self.devices_apart = False  # training: what the map of devices gets wrong does not change the maps of text
        inputs = (2, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(_conv(i, o, 2), *(_Residual(o) for _ in range(n)))
            for i, o, n in zip(inputs, widths, blocks, strict=True)
        )
        back = widths[::-1]
        self.ups = nn.ModuleList(_Up(below, skip, skip) for below, skip in zip(back[:-1], back[1:], strict=True))
        self.head = nn.Sequential(_conv(widths[0], 16), nn.Conv2d(16, 2, 1))
        nn.init.constant_(self.head[-1].bias, -3.0)  # nearly all pixels are nothing: start there
        self.device_ups, self.device_head = nn.ModuleList(), None
        if outputs == len(OUTPUTS):
            self.device_ups.extend(_Up(below, skip, skip) for below, skip in zip(back[:-2], back[1:-1], strict=True))
            self.device_head = nn.Sequential(_conv(widths[1], 24), nn.Conv2d(24, 1, 1))
            nn.init.constant_(self.device_head[-1].bias, -3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        maps = self.head(_way_back(self.ups, features))
        if self.device_head is None:
            return maps
        if self.devices_apart:
            features = [feature.detach() for feature in features]
        devices = self.device_head(_way_back(self.device_ups, features))
        return torch.cat([maps, F.interpolate(devices, scale_factor=2.0, mode="bilinear")], dim=1)


def prepare(gray: np.ndarray) -> np.ndarray:
    """uint8 (H, W) -> float32 (2, H, W): grey in [-1, 1], and grey less the local mean over the local contrast.

    The second channel shows a letter five grey levels above black as clearly as one of full contrast.
    """
    x = gray.astype(np.float32) / 255
    mean = cv2.blur(x, (WINDOW, WINDOW), borderType=cv2.BORDER_REPLICATE)
    power = cv2.blur(x * x, (WINDOW, WINDOW), borderType=cv2.BORDER_REPLICATE)
    spread = np.sqrt(np.maximum(power - mean * mean, 0))
    return np.stack([2 * x - 1, np.clip((x - mean) / (spread + CONTRAST_FLOOR), -3, 3)])


def fold(net: CraftLite) -> CraftLite:
    """The same network for inference: batch normalisation folded into the convolutions, in place."""
    net.eval()
    for module in list(net.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for i in range(len(module) - 1):
            if isinstance(module[i], nn.Conv2d) and isinstance(module[i + 1], nn.BatchNorm2d):
                module[i] = nn.utils.fusion.fuse_conv_bn_eval(module[i], module[i + 1])
                module[i + 1] = nn.Identity()
    return net


def with_devices(net: CraftLite) -> CraftLite:
    """The same network with a map of devices, whose way back starts as that of text; text's maps are what they were."""
    if net.outputs == len(OUTPUTS):
        return net
    wider = CraftLite(net.widths, net.blocks, len(OUTPUTS)).train(net.training)
    wider.load_state_dict(net.state_dict(), strict=False)
    for up, known in zip(wider.device_ups, net.ups, strict=False):
        up.load_state_dict(known.state_dict())
    return wider


def without_devices(net: CraftLite) -> CraftLite:
    """The same network without a map of devices, and without its work. In place."""
    net.device_ups, net.device_head, net.outputs = nn.ModuleList(), None, 2
    return net


def learn_devices_alone(net: CraftLite) -> CraftLite:
    """All but the way back to the map of devices is held as it is, running means too; `train` of the network undoes the
    latter. In place."""
    net.requires_grad_(False)
    for part in (net.device_ups, net.device_head):
        part.requires_grad_(True)
    for part in (net.stages, net.ups, net.head):
        part.eval()
    return net


def save_lite(net: CraftLite, path: str | Path, **facts) -> None:
    """Weights as half-precision safetensors; the shape of the network and `facts` (JSON values) in the header."""
    state = {
        name: value.detach().to("cpu", torch.float16 if value.is_floating_point() else value.dtype).contiguous()
        for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    header = {"network": "craft-lite", "widths": list(net.widths), "blocks": list(net.blocks),
              "outputs": list(OUTPUTS[:net.outputs]), **facts}
    save_file(state, str(path), metadata={name: json.dumps(value) for name, value in header.items()})


def lite_facts(path: str | Path) -> dict:
    """What the header of a craft-lite weight file says."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such weight file") from error
    except Exception as error:  # safetensors raises its own types, and JSON its
        raise ValueError(f"{path}: not a craft-lite weight file ({str(error).splitlines()[0]})") from error


def load_lite(path: str | Path) -> CraftLite:
    """A CraftLite in eval mode, float32, from `save_lite`'s file; ValueError names a file that is not one."""
    facts = lite_facts(path)
    if facts.get("network") != "craft-lite":
        raise ValueError(f"{path}: expected weights of craft-lite, its header says {facts.get('network')!r}")
    try:
        outputs = facts.get("outputs", list(OUTPUTS[:2]))  # files without the word are older
        if outputs not in ([*OUTPUTS[:2]], [*OUTPUTS]):
            raise ValueError(f"expected the outputs {', '.join(OUTPUTS)} or the first two, its header says {outputs}")
        net = CraftLite(tuple(facts["widths"]), tuple(facts["blocks"]), len(outputs))
        state = {name: value.float() for name, value in load_file(str(path)).items()}
        missing, unknown = net.load_state_dict(state, strict=False)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # a header or shapes that fit no network
        raise ValueError(f"{path}: not weights of craft-lite ({' '.join(str(error).split())[:200]})") from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unknown:
        raise ValueError(f"{path}: expected the weights of craft-lite {net.widths}: lacks {missing}, unknown {unknown}")
    return net.eval()

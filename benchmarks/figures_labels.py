"""Figure 3 of the iGOS++ paper: maps of a network trained on the labels, and of one trained on random labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from figure_grid import Item, Picture, draw, heat
from scipy.stats import spearmanr
from torch import nn

from xray_debug.config import PhantomConfig
from xray_debug.phantom import make_case
from xray_debug.saliency import METHODS

PHANTOM_SIDE = 64


@dataclass(frozen=True)
class Request:
    """`data`: a folder that holds torchvision's FashionMNIST; None, or where it is not there: drawn X-rays."""

    out: Path
    data: Path | None = None
    images: int = 2000
    epochs: int = 60
    mask_size: int = 28
    options: dict[str, dict] = field(default_factory=dict)
    seed: int = 0


def labelled(ask: Request) -> tuple[torch.Tensor, torch.Tensor, list[str], str]:
    """Images (M, 1, S, S) in [0, 1], labels (M,), the classes' names, and what they are."""
    if ask.data is not None:
        import torchvision

        try:
            found = torchvision.datasets.FashionMNIST(str(ask.data), train=True, download=False)
        except RuntimeError:
            print(f"{ask.data}: no FashionMNIST as torchvision keeps it; drawn X-rays instead")
        else:
            images = found.data[: ask.images, None].float() / 255
            return images, found.targets[: ask.images], list(found.classes), "Fashion-MNIST"
    config = PhantomConfig(size=128)
    names = ["normal", "pneumonia", "COVID-19"]
    count = min(ask.images, 300)
    films = [make_case(config, names[number % 3], ("figure 3", ask.seed, number)).image for number in range(count)]
    images = torch.from_numpy(np.stack(films))[:, None].float() / 255
    images = F.interpolate(images, (PHANTOM_SIDE, PHANTOM_SIDE), mode="area")
    return images, torch.arange(count) % 3, names, "drawn X-rays"


def small_network(side: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * (side // 4) ** 2, 128), nn.ReLU(), nn.Linear(128, classes),
    )  # fmt: skip


def trained(
    images: torch.Tensor, labels: torch.Tensor, classes: int, epochs: int, seed: int
) -> tuple[nn.Module, float]:
    """A network trained until it knows every label, or for `epochs`; and its accuracy on them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = small_network(images.shape[-1], classes)
    draws = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    accuracy = 0.0
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=draws).split(64):
            optimiser.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimiser.step()
        with torch.no_grad():
            said = torch.cat([model(part).argmax(1) for part in images.split(256)])
        accuracy = float((said == labels).double().mean())
        if accuracy == 1:
            break
    return model.eval(), accuracy


def figure_3(ask: Request) -> None:
    """One image of each class; its map by the network of the labels, and by that of the random labels.

    Each network is asked for what it says itself. The rank correlation of the two maps stands below.
    """
    images, labels, classes, what = labelled(ask)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(ask.seed))
    networks = [trained(images, own, len(classes), ask.epochs, ask.seed) for own in (labels, labels[order])]
    rows: list[list[Item]] = [[], [], []]
    for label, name in enumerate(classes):
        place = int((labels == label).nonzero()[0])
        image = images[place : place + 1]
        picture = (image[0, 0] * 255).round().byte().numpy()
        maps = []
        for model, _ in networks:
            with torch.no_grad():
                target = model(image).argmax(1)
            maps.append(METHODS["igos_pp"](model, image, target, mask_size=ask.mask_size, seed=ask.seed,
                                           **ask.options.get("igos_pp", {})).saliency[0, 0].numpy())  # fmt: skip
        alike = spearmanr(maps[0].ravel(), maps[1].ravel()).statistic
        rows[0].append(Picture(picture, name))
        rows[1].append(heat(picture, maps[0]))
        rows[2].append(heat(picture, maps[1], "", f"rank corr. {alike:.2f}"))
    said = [f"{accuracy:.0%}" for _, accuracy in networks]
    draw(rows, ["image", f"labels ({said[0]})", f"random labels ({said[1]})"], ask.out,
         f"Figure 3: label randomisation, {what} (accuracy on what each was trained on)", side=1.2)  # fmt: skip

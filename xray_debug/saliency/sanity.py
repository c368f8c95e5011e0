"""Label randomisation (Adebayo et al. 2018) and adversarial examples with insertion as the alarm."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from xray_debug.saliency.faithfulness import deletion_insertion
from xray_debug.saliency.network import answer, borrowed, checked_logits, prepared
from xray_debug.saliency.randomisation import rank_correlation
from xray_debug.saliency.result import Explanation
from xray_debug.saliency.seeds import generator

Method = Callable[..., Explanation]


@dataclass(frozen=True)
class LabelRandomisation:
    """Maps of a network trained on the labels and of one trained on shuffled labels, compared.

    similarity (N,) rank correlation per test image; accuracies on the data each was trained on.
    """

    similarity: torch.Tensor
    accuracy: float
    accuracy_shuffled: float


def randomise_labels(
    method: Method, build: Callable[[], nn.Module], images: torch.Tensor, labels: torch.Tensor,
    test_images: torch.Tensor, test_targets: torch.Tensor, seed: int = 0, epochs: int = 20, rate: float = 1e-3,
    batch_size: int = 64, **options,
) -> LabelRandomisation:  # fmt: skip
    """Trains build() twice from the same start, on the labels and on the labels shuffled, and compares the maps.

    images (M, C, H, W) and labels (M,) may be anything: Fashion-MNIST, or a synthetic set. A method that explains
    what was learned gives unlike maps.
    """
    shuffled = labels[torch.randperm(len(labels), generator=generator("cpu", "labels", seed))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = build()
    plan = (seed, epochs, rate, batch_size)
    networks = [_trained(copy.deepcopy(start), images, own, *plan) for own in (labels, shuffled)]
    maps = [method(network, test_images, test_targets, **options).saliency for network in networks]
    scores = [_accuracy(network, images, own) for network, own in zip(networks, (labels, shuffled), strict=True)]
    return LabelRandomisation(rank_correlation(*maps), *scores)


def _batches(count: int, size: int, *key) -> Iterator[torch.Tensor]:
    yield from torch.randperm(count, generator=generator("cpu", *key)).split(size)


def _trained(model, images, labels, seed, epochs, rate, batch_size) -> nn.Module:
    optimiser = torch.optim.Adam(model.parameters(), rate)
    model.train()
    for epoch in range(epochs):
        for rows in _batches(len(images), batch_size, "order", seed, epoch):
            optimiser.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimiser.step()
    return model.eval()


def _accuracy(model, images, labels) -> float:
    with torch.no_grad():
        return (torch.cat([model(part) for part in images.split(256)]).argmax(1) == labels).double().mean().item()


def mi_fgsm(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float = 8 / 255, steps: int = 10,
    decay: float = 1.0, wanted: torch.Tensor | None = None, low: float = 0.0, high: float = 1.0,
) -> torch.Tensor:  # fmt: skip
    """Adversarial images by the momentum iterative method (Dong et al. 2018), (N, C, H, W) in [low, high].

    Away from `labels`, or towards the classes `wanted` where given; no pixel moves by more than epsilon.
    """
    images, labels = prepared(model, images, labels)
    goal = labels if wanted is None else wanted.to(labels)
    sign = 1.0 if wanted is None else -1.0
    moved, momentum = images.clone(), torch.zeros_like(images)
    with borrowed(model), torch.enable_grad():
        for _ in range(steps):
            x = moved.detach().requires_grad_(True)
            logits = checked_logits(answer(model, x), goal)
            (slope,) = torch.autograd.grad(F.cross_entropy(logits, goal, reduction="sum"), x)
            size = slope.abs().mean((1, 2, 3), keepdim=True)
            momentum = decay * momentum + slope / torch.where(size > 0, size, torch.ones_like(size))
            moved = moved + sign * epsilon / steps * momentum.sign()
            moved = torch.minimum(torch.maximum(moved, images - epsilon), images + epsilon).clamp(low, high)
    return moved.detach()


@dataclass(frozen=True)
class Alarm:
    """Insertion areas of the predicted class, (N,) each; `auc` is how often a clean image has the larger one."""

    clean: torch.Tensor
    adversarial: torch.Tensor
    auc: float


def adversarial_alarm(
    method: Method, model: nn.Module, clean: torch.Tensor, adversarial: torch.Tensor, steps: int = 50, **options
) -> Alarm:
    """Explains what the model predicts for both and compares the insertion areas.

    An honest prediction comes back from a few salient pixels; an adversarial one rests on noise everywhere, so
    its insertion area is small. auc = P(clean > adversarial) + P(equal) / 2; 1 separates, 0.5 says nothing.
    """
    areas = []
    for images in (clean, adversarial):
        images, _ = prepared(model, images, 0)
        with borrowed(model), torch.no_grad():
            predicted = torch.cat([answer(model, part) for part in images.split(8)]).argmax(1)
        saliency = method(model, images, predicted, **options).saliency
        areas.append(deletion_insertion(model, images, saliency, predicted, steps=steps).insertion)
    difference = areas[0][:, None] - areas[1][None, :]
    auc = ((difference > 0).double() + 0.5 * (difference == 0).double()).mean().item()
    return Alarm(areas[0], areas[1], auc)

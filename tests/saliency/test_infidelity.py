"""Infidelity and max-sensitivity of explanations that are known to be exact, or to be wrong by a known amount."""

import pytest
import torch
from torch import nn

from xray_debug.saliency import METHODS, Evaluations, Explanation, infidelity, max_sensitivity


class WeightedMeans(nn.Module):
    """Probability of class 1 = 0.5 + sum of weights * pixels: hiding pixels takes exactly their share."""

    def __init__(self, weights):
        super().__init__()
        self.register_buffer("weights", weights.double())

    def forward(self, x):
        p = 0.5 + (x * self.weights).sum((1, 2, 3))
        return torch.stack([torch.log1p(-p), torch.log(p)], 1)


WEIGHTS = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) / 200
IMAGES = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
ZEROS = torch.zeros_like(IMAGES)


def test_the_exact_explanation_has_no_infidelity():
    exact = (IMAGES * WEIGHTS).sum(1, keepdim=True)
    model = WeightedMeans(WEIGHTS)
    for saliency in (exact, 40 * exact):  # the unit does not matter
        assert infidelity(model, IMAGES, saliency, 1, ZEROS).abs().max() < 1e-12
    assert infidelity(model, IMAGES, exact.flip(-1), 1, ZEROS).min() > 1e-7


def test_infidelity_by_hand():
    """Squares as large as the image: one and the same perturbation, which one factor fits; none fits an empty map."""
    model = WeightedMeans(WEIGHTS)
    saliency = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert infidelity(model, IMAGES, saliency, 1, ZEROS, side=8).abs().max() < 1e-12
    taken = (IMAGES * WEIGHTS).sum((1, 2, 3))
    nothing = infidelity(model, IMAGES, torch.zeros(2, 1, 4, 4), 1, ZEROS, side=8)
    assert nothing.tolist() == pytest.approx(taken.square().tolist())


def test_infidelity_follows_the_images_own_seed():
    model, saliency = WeightedMeans(WEIGHTS), torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    both = infidelity(model, IMAGES, saliency, 1, seed=[3, 4], samples=11)
    assert torch.allclose(both[1:], infidelity(model, IMAGES[1:], saliency[1:], 1, seed=[4], samples=11))
    assert not torch.allclose(both[1:], infidelity(model, IMAGES[1:], saliency[1:], 1, seed=[5], samples=11))


def steady(model, images, targets, seed=0, **options):
    return Explanation(torch.full((len(images), 1, 2, 2), 0.5), Evaluations(0, 0), 0.0)


def pixels(model, images, targets, seed=0, **options):
    return Explanation(images.mean(1, keepdim=True).float(), Evaluations(0, 0), 0.0)


def test_max_sensitivity_of_a_steady_and_of_a_copying_method():
    model = WeightedMeans(WEIGHTS)
    assert max_sensitivity(steady, model, IMAGES, 1).tolist() == [0, 0]
    before = torch.get_rng_state()
    found = max_sensitivity(pixels, model, IMAGES[:, :1], 1, radius=0.1, samples=40)
    assert torch.equal(torch.get_rng_state(), before)
    size = IMAGES[:, :1].flatten(1).norm(dim=1)
    one = 0.1 * (64 / 3) ** 0.5 / size  # a uniform draw in [-r, r] has the deviation r / sqrt(3)
    assert (found > one).all() and (found < 1.5 * one).all()  # the largest of forty is somewhat larger
    assert (max_sensitivity(pixels, model, IMAGES[:, :1], 1, radius=0.2, samples=40) / found).tolist() == pytest.approx(
        [2, 2], abs=1e-4)  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*hardly moved")
@pytest.mark.parametrize("name", METHODS)
def test_max_sensitivity_of_every_method(name):
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)
    model = nn.Sequential(*layers)
    options = {"rise": {"masks": 8}, "mask_perturbation": {"iterations": 2}}.get(name, {})
    images = torch.rand(2, 1, 16, 16)
    both = max_sensitivity(METHODS[name], model, images, [0, 1], samples=2, seed=[1, 2], mask_size=4, **options)
    alone = max_sensitivity(METHODS[name], model, images[1:], [1], samples=2, seed=[2], mask_size=4, **options)
    assert torch.isfinite(both).all() and (both >= 0).all() and torch.allclose(both[1:], alone, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters()) and model.training


@pytest.mark.parametrize(("call", "words"), [
    (lambda m, x: infidelity(m, x, x[:1, :1], 1), "saliency: expected 2 maps"),
    (lambda m, x: infidelity(m, x, x[:, :1], 1, samples=0), "samples: expected at least 1"),
    (lambda m, x: infidelity(m, x, x[:, :1], 1, side=9), "side: expected 1 to 8 pixels"),
    (lambda m, x: max_sensitivity(steady, m, x, 1, samples=0), "samples: expected at least 1"),
    (lambda m, x: max_sensitivity(steady, m, x, 1, radius=0), "radius: expected more than 0"),
])  # fmt: skip
def test_what_cannot_be_used_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(WeightedMeans(WEIGHTS), IMAGES)

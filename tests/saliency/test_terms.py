"""Every term of the objective: its value against the equations written out, its gradient against differences."""

import pytest
import torch
from torch import nn

from xray_debug.saliency.images import upsample, upsample_adjoint
from xray_debug.saliency.network import Network, borrowed
from xray_debug.saliency.terms import VARIANTS, Objective, Setting, Term
from xray_debug.saliency.tv import bilateral_total_variation, edge_weights, total_variation


class Curved(nn.Module):
    """A small smooth network: convolution, tanh, linear."""

    def __init__(self, side=6, channels=2, seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            last = nn.Linear(3 * (side - 2) ** 2, 3)
            self.body = nn.Sequential(nn.Conv2d(channels, 3, 3), nn.Tanh(), nn.Flatten(), last)
        self.double()

    def forward(self, x):
        return 3 * self.body(x)


def case(count=2, side=6, channels=2):
    draws = torch.Generator().manual_seed(3)
    images, baselines = (torch.rand(count, channels, side, side, generator=draws, dtype=torch.float64) for _ in "ab")
    masks = 0.1 + 0.8 * torch.rand(count, 2, 3, 3, generator=draws, dtype=torch.float64)
    return images, baselines, torch.tensor([0, 2])[:count], masks


def objective(model, setting, chunk=5, count=2):
    images, baselines, targets, masks = case(count)
    built = Objective(Network(model, images.device, chunk), images, baselines, targets, [7, 8][:count], setting)
    return built, masks[:, : built.mask_count]


def assert_gradient(built, masks, draw=4, step=1e-6):
    _, gradient = built.gradient(masks, draw)
    rows = torch.arange(len(masks))
    for place in torch.cartesian_prod(*(torch.arange(n) for n in masks.shape)).tolist():
        moved = []
        for sign in (1, -1):
            other = masks.clone()
            other[tuple(place)] += sign * step
            moved.append(built.value(other, rows, draw)[place[0]])
        assert gradient[tuple(place)].item() == pytest.approx(((moved[0] - moved[1]) / (2 * step)).item(), abs=2e-8)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_of_every_variant(variant):
    model = Curved()
    with borrowed(model):
        assert_gradient(*objective(model, Setting(variant=variant, steps=3, points="stratified", noise=0.3), count=1))


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
@pytest.mark.parametrize("mask", ["x", "y", "xy"])
@pytest.mark.parametrize("noisy", [False, True])
def test_gradient_of_each_term_alone(monkeypatch, kind, mask, noisy):
    terms = (Term(kind, mask, noisy), Term("deletion", "y", False))[: 1 if mask == "y" else 2]
    monkeypatch.setitem(VARIANTS, "alone", (terms, ()))
    model = Curved()
    with borrowed(model):
        built, masks = objective(model, Setting(variant="alone", steps=2, noise=0.2), count=1)
        built.regulariser = lambda m, rows: 0 * m.sum((1, 2, 3))
        assert_gradient(built, masks)


def test_value_is_the_papers_equation():
    """Equations 1, 2, 4, 5 and 7 written out image by image, point by point, without noise."""
    model = Curved()
    setting = Setting(steps=4, noise=0.0, area_weight=1.5, smooth_weight=7.0)
    images, baselines, targets, masks = case()
    built, _ = objective(model, setting)
    values = built.value(masks, torch.arange(2), 0)
    for row in range(2):
        image, baseline = images[row], baselines[row]

        def score(x, row=row):
            return torch.softmax(model(x[None]), 1)[0, targets[row]]

        x, y = masks[row, 0], masks[row, 1]
        total = 0.0
        for mask, signs in ((x, (1, 0)), (y, (0, 1)), (x * y, (1, 1))):
            large = torch.nn.functional.interpolate(mask[None, None], size=(6, 6), mode="bilinear")[0]
            for s in range(1, 5):
                deleted = image * (s / 4 * large) + baseline * (1 - s / 4 * large)
                inserted = baseline * (s / 4 * large) + image * (1 - s / 4 * large)
                total = total + (signs[0] * score(deleted) - signs[1] * score(inserted)) / 4
        large = torch.nn.functional.interpolate((x * y)[None, None], size=(6, 6), mode="bilinear")[0]
        edges = edge_weights(images[row : row + 1])
        smooth = (total_variation((x * y)[None]) + bilateral_total_variation(large, edges)) / 2
        total = total + 1.5 * (1 - x * y).mean() + 7.0 * smooth[0]
        assert values[row].item() == pytest.approx(total.item(), abs=1e-12)


def test_rows_in_another_order_have_their_own_edges():
    model = Curved()
    with borrowed(model):
        built, masks = objective(model, Setting(steps=2))
        values = built.value(masks, torch.arange(2), 0)
        assert torch.allclose(built.value(masks.flip(0), torch.tensor([1, 0]), 0), values.flip(0), atol=1e-12)


def test_gradient_also_returns_the_value():
    model = Curved()
    with borrowed(model):
        built, masks = objective(model, Setting(steps=3))
        assert torch.allclose(built.gradient(masks, 2)[0], built.value(masks, torch.arange(2), 2), atol=1e-12)
        assert torch.allclose(built.value(masks, torch.arange(2), 2)[1:], built.value(masks[1:], torch.tensor([1]), 2))


def test_shared_passes_at_the_start_change_nothing():
    """At masks of 1 half the passes are saved; just beside it none are, and the gradient is the same."""
    model = Curved()
    with borrowed(model):
        built, masks = objective(model, Setting(steps=3, noise=0.0, smooth_weight=0.0, area_weight=0.0))
        ones = torch.ones_like(masks)
        value, gradient = built.gradient(ones, 0)
        assert built.network.forward == 2 * 2 * 3
        near, other = built.gradient(ones - 1e-13, 0)
        assert built.network.forward == 2 * 2 * 3 + 2 * 4 * 3
    assert torch.allclose(value, near, atol=1e-10)
    assert torch.allclose(gradient, other, atol=1e-10)


def test_noise_follows_the_draw_and_the_image_seed_only():
    model = Curved()
    with borrowed(model):
        built, masks = objective(model, Setting(steps=2, noise=0.5))
        rows = torch.arange(2)
        again = built.value(masks, rows, 1)
        assert torch.equal(again, built.value(masks, rows, 1))
        assert not torch.allclose(again, built.value(masks, rows, 2))
        built.network.chunk = 1
        assert torch.allclose(again, built.value(masks, rows, 1), atol=1e-12)


@pytest.mark.parametrize("small, large", [(3, 8), (8, 8), (9, 4)])
def test_upsampling_is_bilinear_and_its_adjoint_is_its_transpose(small, large):
    draws = torch.Generator().manual_seed(0)
    mask = torch.rand(1, 1, small, small, generator=draws, dtype=torch.float64)
    other = torch.rand(1, 1, large, large + 1, generator=draws, dtype=torch.float64)
    up = upsample(mask, (large, large + 1))
    reference = torch.nn.functional.interpolate(mask, size=(large, large + 1), mode="bilinear", align_corners=False)
    assert torch.allclose(up, reference, atol=1e-14)
    assert (up * other).sum().item() == pytest.approx((mask * upsample_adjoint(other, (small, small))).sum().item())


@pytest.mark.parametrize("change, word", [({"variant": "half"}, "variant"), ({"points": "odd"}, "points")])
def test_unknown_choice_is_named(change, word):
    with pytest.raises(ValueError, match=word):
        objective(Curved(), Setting(**change))

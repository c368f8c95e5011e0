"""RISE, meaningful perturbation and the captum methods against what their papers say."""

import inspect

import pytest
import torch
from torch import nn

from xray_debug.saliency import METHODS, gradcam, gradient, integrated_gradients, mask_perturbation
from xray_debug.saliency.images import normalised
from xray_debug.saliency.methods.gradients import attributions
from xray_debug.saliency.methods.mask import disc_masks, gaussian_upsampler
from xray_debug.saliency.methods.rise import random_masks, rise
from xray_debug.saliency.optimisers import Adam


def linear(side=6, classes=3):
    model = nn.Sequential(nn.Flatten(), nn.Linear(side * side, classes)).double()
    with torch.no_grad():
        draws = torch.Generator().manual_seed(0)
        model[1].weight.copy_(0.3 * torch.randn(model[1].weight.shape, generator=draws, dtype=torch.float64))
    return model


def picture(side=6):
    return torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_random_masks_are_reproducible_and_keep_half():
    like = torch.zeros(1, dtype=torch.float64)
    masks = random_masks(range(400), 3, (20, 24), 5, 0.5, like)
    assert masks.shape == (400, 1, 20, 24)
    assert masks.min() >= 0 and masks.max() <= 1
    assert masks.mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(masks[100:150], random_masks(range(100, 150), 3, (20, 24), 5, 0.5, like))
    assert not torch.equal(masks[:5], random_masks(range(5), 4, (20, 24), 5, 0.5, like))


def test_rise_is_the_mean_of_score_times_mask():
    model, image = linear(), picture()
    found = rise(model, image, [1], mask_size=6, masks=150, cells=3, seed=5)
    masks = random_masks(range(150), 5, (6, 6), 3, 0.5, image)
    with torch.no_grad():
        scores = torch.softmax(model(image * masks), 1)[:, 1]
    expected = sum(score * mask for score, mask in zip(scores, masks, strict=True)) / (150 * 0.5)
    assert torch.allclose(found.saliency, normalised(expected[None]), atol=1e-6)
    assert found.evaluations == (150, 0)


def test_gradient_and_integrated_gradients_of_a_linear_network():
    model, image = linear(), picture()
    baseline = torch.zeros_like(image)
    x = image.clone().requires_grad_(True)
    torch.softmax(model(x), 1)[0, 2].backward()
    assert torch.allclose(gradient(model, image, [2], mask_size=6).saliency, normalised(x.grad.abs()), atol=1e-6)
    total = torch.zeros_like(image)
    for step in range(40):
        y = (image * (step + 0.5) / 40).requires_grad_(True)
        torch.softmax(model(y), 1)[0, 2].backward()
        total += y.grad / 40
    found = integrated_gradients(model, image, [2], baseline, mask_size=6, steps=40)
    assert torch.allclose(found.saliency, normalised(total * image), atol=1e-5)
    assert ((total * image) < 0).any()
    absolute = integrated_gradients(model, image, [2], baseline, mask_size=6, steps=40, absolute=True)
    assert torch.allclose(absolute.saliency, normalised((total * image).abs()), atol=1e-5)


def test_integrated_gradients_are_complete():
    """They sum to f(image) - f(baseline)."""
    model, image = linear(), picture()
    found = attributions(model, image, [2], torch.zeros_like(image), steps=300)
    with torch.no_grad():
        scores = torch.softmax(model(torch.cat([image, torch.zeros_like(image)])), 1)[:, 2]
    assert found.sum().item() == pytest.approx((scores[0] - scores[1]).item(), abs=1e-5)


@pytest.mark.parametrize("pool", [False, True])
def test_gradcam_weighs_channels_by_their_mean_gradient(pool):
    """At the last features before pooling: here the activation, not the convolution before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        tail = [nn.MaxPool2d(2)] if pool else []
        side = 3 if pool else 6
        head = nn.Linear(4 * side**2, 3)
        model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), *tail, nn.Flatten(), head).double()
    image = picture()
    features = model[:2](image).detach().requires_grad_(True)
    model[2:](features)[0, 1].backward()
    expected = torch.relu((features.grad.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True)).detach()
    assert torch.allclose(gradcam(model, image, [1], mask_size=6).saliency, normalised(expected), atol=1e-6)


def test_gradcam_looks_where_the_paper_does():
    """layer4 of a ResNet, at its sum and activation, not its last convolution."""
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.resnet18(num_classes=3).eval()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    named = gradcam(model, image, [1], mask_size=2, layer=model.layer4).saliency
    assert torch.allclose(gradcam(model, image, [1], mask_size=2).saliency, named)
    with pytest.raises(ValueError, match="feature maps"):
        gradcam(linear(), picture(), [0])


def test_mask_upsampler_rows_sum_to_one_and_keep_constants():
    weights = gaussian_upsampler(7, 56, torch.zeros(1, dtype=torch.float64))
    assert torch.allclose(weights.sum(1), torch.ones(56, dtype=torch.float64))
    assert torch.allclose(weights.flip(0).flip(1), weights)


def test_mask_starts_from_growing_discs():
    discs = disc_masks(9, torch.zeros(1))
    removed = (1 - discs).sum((1, 2, 3))
    assert (removed.diff() >= 0).all() and removed[-1] == 81
    assert discs[0, 0, 4, 4] == 0 and discs[0, 0, 0, 0] == 1


def test_mask_perturbation_passes():
    found = mask_perturbation(linear(), picture(), [0], mask_size=3, iterations=4)
    assert found.evaluations == (10 + 1 + 4, 4)


def test_adam_without_floor_or_decay_is_torchs():
    start = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(3)) * 0.5 + 0.25
    ours, theirs = start.clone(), nn.Parameter(start.clone())
    rule, reference = Adam(0.01, 5, floor=0.0, cosine=False), torch.optim.Adam([theirs], 0.01, eps=0.0)
    for _ in range(5):
        theirs.grad = torch.cos(3 * theirs.detach())
        ours, _ = rule.step(ours, torch.cos(3 * ours), torch.zeros(1), None)
        reference.step()
    assert torch.allclose(ours, theirs.detach(), atol=1e-6)


@pytest.mark.parametrize(("options", "word"), [
    ({"iterations": 0}, "iterations"), ({"jitter": -1}, "jitter"), ({"rate": -1.0}, "rate"),
    ({"beta": float("nan")}, "beta"), ({"area_weight": float("inf")}, "area_weight"),
])  # fmt: skip
def test_bad_options_of_mask_perturbation(options, word):
    with pytest.raises(ValueError, match=f"{word}: expected a"):
        mask_perturbation(linear(), picture(), [0], mask_size=3, **options)


def test_integrated_gradients_need_a_step():
    with pytest.raises(ValueError, match="steps: expected a whole number of at least 1, got 0"):
        integrated_gradients(linear(), picture(), [0], steps=0)


@pytest.mark.parametrize("options", [{"masks": 0}, {"masks": 2.5}, {"cells": 0}, {"keep": 1.0}])
def test_bad_rise_options(options):
    with pytest.raises(ValueError, match="rise"):
        rise(linear(), picture(), [0], **options)


@pytest.mark.parametrize(("name", "options", "told"), [
    ("igos_pp", {"iterations": 3}, [1, 2, 3]), ("igos", {"iterations": 3}, [1, 2, 3]),
    ("mask_perturbation", {"iterations": 4}, [1, 2, 3, 4]), ("rise", {"masks": 150}, [64, 128, 150]),
    ("integrated_gradients", {"steps": 50, "internal_batch_size": 20}, [20, 40, 50]),
])  # fmt: skip
def test_a_method_that_iterates_tells_how_far_it_is(name, options, told):
    model, image, calls = linear(), picture(), []
    given = {"mask_size": 6, "seed": 2, **options}
    found = METHODS[name](model, image, [1], progress=lambda *call: calls.append(call), **given)
    assert calls == [(done, told[-1]) for done in told]
    silent = METHODS[name](model, image, [1], **given)
    assert torch.equal(found.saliency, silent.saliency)  # being told changes nothing
    assert found.evaluations == silent.evaluations


@pytest.mark.parametrize(("name", "options", "total"), [("rise", {"masks": 70}, 140),
                                                        ("integrated_gradients", {"steps": 8}, 16)])  # fmt: skip
def test_of_several_images_all_are_counted(name, options, total):
    calls = []
    METHODS[name](linear(), torch.cat([picture(), picture() / 2]), [1, 2], mask_size=6, **options,
                  progress=lambda *call: calls.append(call))  # fmt: skip
    assert [done for done, _ in calls] == sorted({done for done, _ in calls}) and calls[-1] == (total, total)
    assert {of for _, of in calls} == {total}


def test_every_method_but_those_of_one_pass_takes_progress():
    takes = {name for name in METHODS if "progress" in inspect.signature(METHODS[name]).parameters}
    assert set(METHODS) - takes == {"gradient", "gradcam"}

"""Label randomisation, adversarial examples, and the figures for comparing methods."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from xray_debug.saliency import adversarial_alarm, gradient, integrated_gradients, mi_fgsm
from xray_debug.saliency.measure import mean_error, objective_of
from xray_debug.saliency.sanity import randomise_labels


def network(seed=0, side=8, classes=2):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        last = nn.Linear(6 * side * side // 4, classes)
        return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), last)


def halves(count=60, side=8):
    """Class 1 is bright on the left, class 0 on the right."""
    draws = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % 2
    images = 0.2 * torch.rand(count, 1, side, side, generator=draws)
    for image, label in zip(images, labels, strict=True):
        image[:, 2:6, slice(1, 3) if label else slice(5, 7)] += 0.7
    return images, labels


def test_shuffled_labels_give_other_maps():
    images, labels = halves()
    tests = images[:4], labels[:4]
    found = randomise_labels(
        integrated_gradients, network, images, labels, *tests, epochs=15, rate=0.01, mask_size=8, steps=8
    )
    assert found.accuracy > 0.95
    assert found.similarity.shape == (4,)
    assert found.similarity.mean() < 0.9


@pytest.mark.parametrize("wanted", [None, "other"])
def test_adversarial_images_stay_near_and_fool(wanted):
    images, labels = halves(8)
    model = network()
    from xray_debug.saliency.sanity import _trained

    model = _trained(model, images, labels, 0, 10, 0.01, 8)
    assert (model(images).argmax(1) == labels).all()
    goal = None if wanted is None else 1 - labels
    moved = mi_fgsm(model, images, labels, epsilon=0.6, wanted=goal)
    assert (moved - images).abs().max() <= 0.6 + 1e-6
    assert moved.min() >= 0 and moved.max() <= 1
    assert (model(moved).argmax(1) != labels).float().mean() > 0.7
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(ValueError, match="targets: expected classes 0 to 1"):
        mi_fgsm(model, images, labels, wanted=labels + 2)


def test_one_step_of_mi_fgsm_is_the_sign_of_the_gradient():
    model, (images, labels) = network(), halves(2)
    x = images.clone().requires_grad_(True)
    nn.functional.cross_entropy(model(x), labels, reduction="sum").backward()
    expected = (images + 0.01 * x.grad.sign()).clamp(0, 1)
    assert torch.allclose(mi_fgsm(model, images, labels, epsilon=0.01, steps=1), expected, atol=1e-6)


def test_alarm_compares_insertion_areas():
    images, _ = halves(4)
    same = adversarial_alarm(gradient, network(), images, images, steps=5, mask_size=4)
    assert same.auc == 0.5
    assert torch.equal(same.clean, same.adversarial)


def test_mean_and_error():
    mean, error = mean_error([1.0, 2.0, 4.0])
    assert mean == pytest.approx(7 / 3)
    assert error == pytest.approx(stats.sem([1.0, 2.0, 4.0]))
    assert math.isnan(mean_error([1.0])[1])


def test_objective_of_untouched_masks_is_the_scores_alone():
    """At Mx = My = 1 there is no regulariser: twice the image's score less twice the baseline's."""
    model, (images, labels) = network(), halves(1)
    from xray_debug.saliency import Evaluations, Explanation, blurred

    nothing = Explanation(torch.zeros(1, 1, 4, 4), Evaluations(0, 0), 0.0)
    score = [torch.softmax(model(x), 1)[0, labels[0]].item() for x in (images, blurred(images))]
    # deletion terms see the image (nothing deleted), insertion terms the baseline (nothing inserted)
    expected = 2 * score[0] - 2 * score[1]
    assert objective_of(model, images, labels, None, nothing).item() == pytest.approx(expected, abs=1e-6)

"""The measures against Quantus, where both mean the same."""

import numpy as np
import pytest
import torch
from torch import nn

from xray_debug.saliency import (
    gradient,
    mprt,
    noisy_linear_imputation,
    pointing_game,
    relevance_mass_accuracy,
    relevance_rank_accuracy,
    road,
    sparseness,
)

quantus = pytest.importorskip("quantus", reason="quantus is not installed (the group dev)")

DRAWS = np.random.default_rng(0)
IMAGES = DRAWS.random((5, 2, 12, 12)).astype(np.float32)
MAPS = DRAWS.random((5, 1, 12, 12)).astype(np.float32)
CLASSES = np.array([0, 1, 2, 0, 1])
BOXES = [[(1, 2, 5, 6)], [(0, 0, 12, 3), (4, 4, 8, 8)], [(6, 6, 7, 7)], [(0, 0, 12, 12)], [(3, 1, 9, 11)]]
QUIET = {"disable_warnings": True, "display_progressbar": False, "normalise": False, "abs": False}


def network(channels=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 3)).eval()


def masks():
    found = np.zeros((5, 1, 12, 12), bool)
    for mask, boxes in zip(found, BOXES, strict=True):
        for x0, y0, x1, y1 in boxes:
            mask[:, y0:y1, x0:x1] = True
    return found


@pytest.mark.parametrize(("name", "own"), [("RelevanceMassAccuracy", relevance_mass_accuracy),
                                           ("RelevanceRankAccuracy", relevance_rank_accuracy),
                                           ("PointingGame", pointing_game)])  # fmt: skip
def test_localisation(name, own):
    metric = getattr(quantus, name)(**QUIET)
    expected = metric(network(), IMAGES[:, :1], CLASSES, a_batch=MAPS, s_batch=masks(), channel_first=True)
    np.testing.assert_allclose(own(torch.from_numpy(MAPS), BOXES, (12, 12)), np.asarray(expected, float), rtol=1e-5)


def test_sparseness():
    expected = quantus.Sparseness(**QUIET)(network(), IMAGES, CLASSES, a_batch=MAPS.copy(), channel_first=True)
    np.testing.assert_allclose(sparseness(torch.from_numpy(MAPS)), expected, rtol=1e-4)


def test_imputation():
    gone = np.flatnonzero(DRAWS.random(144) < 0.7)
    expected = quantus.noisy_linear_imputation(IMAGES[0], gone, noise=0.0)
    removed = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    removed.view(-1)[torch.from_numpy(gone)] = True
    found = noisy_linear_imputation(torch.from_numpy(IMAGES[:1]), removed, noise=0)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_road():
    """Quantus counts the hits when the most salient pixels go; the shares are whole pixels."""
    model, shares, images = network(1), [0.125, 0.25, 0.5, 0.75], 5 * IMAGES[:, :1]
    with torch.no_grad():
        said = model(torch.from_numpy(images)).argmax(1)
    metric = quantus.ROAD(percentages=[100 * share for share in shares], noise=0.0, return_aggregate=False, **QUIET)
    expected = metric(model, images, said.numpy(), a_batch=MAPS, channel_first=True, softmax=False)
    found = road(model, torch.from_numpy(images), torch.from_numpy(MAPS), said, shares=shares, noise=0)
    counted = np.array(list(expected.values())) if isinstance(expected, dict) else np.asarray(expected)
    assert 0 < counted.min() < 1  # something was lost, and not everything
    assert counted.squeeze().tolist() == pytest.approx(found.morf_hits.double().mean(0).tolist())


def test_mprt(monkeypatch):
    """The cascade layer by layer, with Quantus's way of drawing the weights."""

    def drawn(module, *key):
        torch.manual_seed(43)
        module.reset_parameters()

    monkeypatch.setattr("xray_debug.saliency.randomisation.draw_anew", drawn)
    images, classes = torch.from_numpy(IMAGES), torch.from_numpy(CLASSES)

    def explain(model, inputs, targets, **options):
        return gradient(model, torch.as_tensor(inputs), torch.as_tensor(targets), mask_size=12).saliency.numpy()

    metric = quantus.MPRT(similarity_func=quantus.correlation_spearman, layer_order="top_down", seed=42, **QUIET)
    expected = metric(network(), IMAGES, CLASSES, a_batch=explain(network(), images, classes), explain_func=explain,
                      channel_first=True)  # fmt: skip
    for step in mprt(gradient, network(), images, classes, mask_size=12):
        np.testing.assert_allclose(step.similarity, expected[step.layer], atol=1e-5)

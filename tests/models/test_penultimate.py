"""What goes into the last linear layer, of ordinary networks, of those with something after it, and of none."""

import numpy as np
import pytest
import torch
from torch import nn

from xray_debug.data.view import ModelView
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.penultimate import penultimate_features


class After(nn.Module):
    """Something that makes other logits of a layer's."""

    def forward(self, logits):
        return torch.cat([-logits, logits], 1)


def body():
    return [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9, 7), nn.ReLU()]


def classifier(*layers):
    torch.manual_seed(0)
    return XrayClassifier("toy", ["a", "b"], ModelView(size=12), nn.Sequential(*layers))


@pytest.mark.parametrize("last", [[nn.Linear(7, 2)], [nn.Linear(7, 1), After()]])
def test_features_are_what_the_last_layer_takes(last):
    model = classifier(*body(), *last).train()
    images = np.random.default_rng(0).integers(0, 256, (11, 12, 12)).astype(np.uint8)
    found = penultimate_features(model, images)
    inputs = (torch.from_numpy(images)[:, None].float() / 255 - model.mean) / model.std
    with torch.no_grad():
        expected = model.net[:4](inputs).double().numpy()
    assert found.shape == (11, 7) and np.allclose(found, expected, atol=1e-5)
    assert model.training


@pytest.mark.parametrize("layers", [
    [nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()],  # without one
    [nn.Linear(12, 12), nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()],  # of every row of pixels
])
def test_a_network_without_such_a_layer_is_refused(layers):
    with pytest.raises(ValueError, match="toy has no last linear layer"):
        penultimate_features(classifier(*layers), np.zeros((3, 12, 12), np.uint8))

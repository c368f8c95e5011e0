"""Folding: the same answers and gradients from fewer layers, and no folding where it would not be the same."""

import pytest
import torch
from torch import nn
from training_fixture import CLASSES, tiny

from xray_debug.data.view import ModelView
from xray_debug.models import build_model, save_checkpoint
from xray_debug.models.inference import folded, load_for_inference


def lively(model):
    """With statistics and weights of normalisations as training leaves them."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_var, 0.5),
                               (module.running_mean, -0.5)):  # fmt: skip
                value.data = low + torch.rand(value.shape, generator=generator)
    return model


def norms(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(("name", "size", "left"), [("covidnet", 32, 0), ("resnet18", 32, 0), ("covidnext50", 64, 0),
                                                    ("mobilenet_v3_small", 64, 0)])  # fmt: skip
def test_a_folded_model_says_the_same(name, size, left):
    options = {"width": 8, "depth": 0.3} if name == "covidnet" else {}
    model = lively(build_model(name, CLASSES, ModelView(size), seed=0, **options)).double()
    fast = folded(model)
    assert norms(model) > 0 and norms(fast) == left and not fast.training and model.training
    x = torch.rand(3, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, found = model.eval()(a), fast(b)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    expected[:, 1].sum().backward()
    found[:, 1].sum().backward()
    torch.testing.assert_close(b.grad, a.grad, rtol=1e-6, atol=1e-8)


def test_names_alone_are_not_believed():
    class Before(nn.Module):
        """Normalises before it convolves, under the names of those that do it after."""

        def __init__(self):
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(1), nn.Conv2d(1, 1, 3)
            self.fc = nn.Linear(1, 3)

        def forward(self, x):
            return self.fc(self.conv1(self.bn1(x)).mean((2, 3)))

    model = tiny(classes=3)
    model.net = lively(Before())
    fast, x = folded(model), torch.rand(2, 1, 32, 32)
    assert norms(fast) == 1
    torch.testing.assert_close(fast(x), model.eval()(x))


def test_load_for_inference_reads_a_model_folder(tmp_path):
    model = lively(tiny(classes=3)).eval()
    found = load_for_inference(save_checkpoint(model, tmp_path, note=1))
    x = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(found(x), model(x), rtol=1e-4, atol=1e-5)
    assert found.extra == {"note": 1} and found.classes == CLASSES and norms(found) == 0

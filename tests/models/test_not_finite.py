"""NaN and infinity in a model's answers are noticed wherever they enter, and the image is named."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from xray_debug.data.view import ModelView
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.explainer import ExplainWorker
from xray_debug.models.predict import NotFinite, probabilities, probabilities_side_by_side
from xray_debug.models.threads import threads_of
from xray_debug.run.engine import run_here
from xray_debug.run.worker import EngineError
from xray_debug.saliency import METHODS, deletion_insertion

SIZE = 16


class Odd(nn.Module):
    """Two logits from the mean; `bad` instead for images whose first pixel is above 0.9 (all, with everywhere)."""

    def __init__(self, bad: float, everywhere: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.bad, self.everywhere = bad, everywhere

    def forward(self, x):
        logits = self.conv(x).mean((2, 3))
        hit = (x[:, 0, 0, 0] > 0.9) | self.everywhere
        return torch.where(hit[:, None], torch.full_like(logits, self.bad), logits)


def classifier(bad, everywhere=False):
    torch.manual_seed(0)
    return XrayClassifier("odd", ["a", "b"], ModelView(SIZE), Odd(bad, everywhere), normalise="unit").eval()


def films(count=3, odd=1):
    images = np.random.default_rng(0).integers(20, 200, (count, SIZE, SIZE), np.uint8)
    images[odd, 0, 0] = 255
    return images


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_probabilities_name_the_image(bad):
    with pytest.raises(NotFinite, match="NaN or infinity for image 9 ") as caught:
        probabilities(classifier(bad), films(12, 9))
    assert caught.value.rows == [9]
    with threads_of(2), pytest.raises(NotFinite, match="NaN or infinity for image 9 ") as caught:
        probabilities_side_by_side(classifier(bad).eval(), films(12, 9))
    assert caught.value.rows == [9]


def test_the_sentence_survives_another_process():
    error = pickle.loads(pickle.dumps(NotFinite([2], "x.png")))
    assert str(error) == "the model gives NaN or infinity for x.png" and error.rows == [2]


def test_logits_of_another_shape_are_refused():
    model = classifier(0.0)
    model.classes = ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"logits of shape \(8, 3\), one for each class, got shape \(8, 2\)"):
        probabilities(model, films())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_method_makes_a_map_of_nothing(method, bad):
    images = torch.from_numpy(films()[:, None]).float() / 255
    with pytest.raises(ValueError, match="NaN or infinity") as caught:
        METHODS[method](classifier(bad), images, torch.zeros(3, dtype=torch.long), mask_size=4)
    assert "\n" not in str(caught.value)


def test_slopes_that_are_no_numbers_are_refused():
    class Root(nn.Module):
        def forward(self, x):
            flat = x.flatten(1).sum(1)
            return torch.stack([torch.sqrt(flat * 0) + flat, flat * 0], 1)  # finite, its slope is not

    images = torch.rand(2, 1, SIZE, SIZE)
    for method in ("igos_pp", "gradient", "integrated_gradients"):
        with pytest.raises(ValueError, match="NaN or infinity"):
            METHODS[method](Root(), images, torch.zeros(2, dtype=torch.long), mask_size=4)


def test_curves_are_not_drawn_of_nan():
    images = torch.from_numpy(films()[:, None]).float() / 255
    with pytest.raises(ValueError, match="model: logits must be finite, got NaN or infinity for"):
        deletion_insertion(classifier(float("nan")), images, torch.rand(3, 1, 4, 4), torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_model_has_a_finite_map(method):
    images = torch.from_numpy(films()[:, None]).float() / 255
    found = METHODS[method](classifier(1.0, True), images, torch.zeros(3, dtype=torch.long), mask_size=4)
    assert torch.isfinite(found.saliency).all()
    assert found.saliency.min() >= 0
    assert found.saliency.max() <= 1


@pytest.fixture
def worker(monkeypatch, tmp_path):
    def make(model):
        monkeypatch.setattr("xray_debug.models.explainer.load_for_inference", lambda folder, trusted: model)
        return ExplainWorker(str(tmp_path), "igos_pp", {"iterations": 2}, mask_size=4)

    return make


def test_one_image_is_set_aside_and_the_others_are_unharmed(worker):
    rows = [{"image_id": f"{i}.png", "view": view, "target": "a"} for i, view in enumerate(films())]
    found = run_here(worker(classifier(float("nan"))), rows)
    alone = run_here(worker(classifier(float("nan"))), rows[:1])
    assert [row["problem"] == "" for row in found] == [True, False, True]
    assert found[1]["problem"].startswith("1.png: model: logits must be finite")
    np.testing.assert_array_equal(found[0]["saliency"], alone[0]["saliency"])


def test_a_model_that_always_gives_nan_is_one_sentence(worker):
    rows = [{"image_id": f"{i}.png", "view": view, "target": "a"} for i, view in enumerate(films(9))]
    with pytest.raises(EngineError, match="none of 9 images could be done, the first: 0.png: model: logits must be"):
        run_here(worker(classifier(float("nan"), True)), rows)

"""A given model against chance, and the ways to ask it that do better; and labels beside classes."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import nn

from xray_debug.config import ConfigError, ModelConfig
from xray_debug.data.asked import negatives, negatives_said, relabelled, run_classes
from xray_debug.data.view import ModelView
from xray_debug.models.own import OwnModel, opened
from xray_debug.models.own.held import hold
from xray_debug.models.own.standing import better_ways, standing
from xray_debug.stats.auroc import auroc

SIZE = 16


def test_auroc_is_scikit_learns_with_ties_and_without():
    rng = np.random.default_rng(0)
    for scores in (rng.random(200), rng.integers(0, 5, 200)):
        has = rng.random(200) < 0.2
        assert auroc(scores, has) == pytest.approx(roc_auc_score(has, scores))
    assert np.isnan(auroc(np.ones(3), np.ones(3, bool)))


def test_a_standing_has_the_usual_figures_and_knows_chance():
    rng, codes = np.random.default_rng(1), np.repeat([0, 1, 2], 40)
    good = rng.random((120, 3)) + 0.6 * np.eye(3)[codes]
    found = standing(good, codes)
    assert found.balanced.value == pytest.approx(balanced_accuracy_score(codes, good.argmax(1)))
    assert found.auroc is None and not found.chance and found.balanced.low > 1 / 3
    assert standing(rng.random((120, 3)), codes).chance
    assert standing(good[:, [1, 2, 0]], codes).chance  # worse than chance is no better


def test_of_two_classes_the_area_decides_and_a_moved_threshold_is_told():
    rng, codes = np.random.default_rng(2), np.repeat([0, 1], [90, 20])
    score = rng.normal(codes * 2.0, 1) - 6
    one = 1 / (1 + np.exp(-score))
    found = standing(np.stack([1 - one, one], 1), codes)
    assert found.auroc.value == pytest.approx(roc_auc_score(codes, one)) and not found.chance and found.threshold
    assert standing(np.stack([one, 1 - one], 1), codes).chance  # the other way round


class Bright(nn.Module):
    """Three classes by how bright the left, middle and right of the input are, which must be as `unit` makes it."""

    def __init__(self, order):
        super().__init__()
        self.order = order

    def forward(self, images):
        parts = torch.stack([part.mean((1, 2, 3)) for part in images.tensor_split(3, dim=3)], 1)
        trusted = ((images.amin((1, 2, 3)) >= -1e-3) & (images.amax((1, 2, 3)) <= 1.001)).float()[:, None]
        return (parts * 40)[:, self.order] * trusted + (1 - trusted) * torch.tensor([5.0, 0.0, 0.0])


def films(view: ModelView, n=60):
    """Wide films whose bright third is the class; what a centre crop shows of it is the middle alone."""
    rng, codes = np.random.default_rng(3), np.arange(n) % 3
    images = rng.integers(0, 60, (n, 24, 72), dtype=np.uint8)
    for image, code in zip(images, codes, strict=True):
        image[:, 24 * code : 24 * code + 24] += 100
    return np.stack([view.apply(image) for image in images]), codes


@pytest.mark.parametrize(("changes", "order", "option"), [
    ({"normalise": "imagenet"}, [0, 1, 2], "--normalise unit"),
    ({"resize": "shorter+crop"}, [0, 1, 2], "--resize squash"),
    ({}, [1, 2, 0], "the classes in another order (b,c,a)"),
    ({"normalise": "none"}, [2, 0, 1], "--normalise unit the classes in another order (c,a,b)"),
])  # fmt: skip
def test_the_way_that_does_better_is_found(changes, order, option):
    settings = ModelConfig(**({"classes": ["a", "b", "c"], "size": SIZE, "normalise": "unit"} | changes),
                           held=hold(Bright(order)))  # fmt: skip
    model = opened(OwnModel(settings, ModelView(SIZE, resize=settings.resize)))
    codes = films(model.view)[1]
    ways = better_ways(model, lambda view: films(view)[0], codes)
    assert ways[0].option == option and ways[0].value.value == 1.0 and ways[0].base < 0.7
    assert ways[0].value.low > ways[0].base + 0.05


def test_nothing_is_told_of_a_model_that_is_asked_rightly():
    settings = ModelConfig(classes=["a", "b", "c"], size=SIZE, normalise="unit", held=hold(Bright([0, 1, 2])))
    model = opened(OwnModel(settings, ModelView(SIZE)))
    assert better_ways(model, lambda view: films(view)[0], films(model.view)[1]) == []


def labelled(*labels: str) -> list[dict]:
    return [{"image_id": f"{i}.png", "label": label, "problem": ""} for i, label in enumerate(labels)]


@pytest.mark.parametrize(("changes", "labels", "expected"), [
    ({}, ["a", "b"], ["a", "b"]),
    ({"labels": {"A": "a"}}, ["A", "b"], ["a", "b"]),
    ({"labels": {"odd": None}}, ["a", "odd", "b"], ["a", "left out", "b"]),
    ({"findings": ["b"]}, ["a", "b", "else", "a|b", "no b"], ["no b", "b", "no b", "b", "no b"]),
    ({"findings": ["b"], "labels": {"B": "b"}}, ["B", "a|B", "a"], ["b", "b", "no b"]),
    ({"classes": ["b"], "output": "logit"}, ["b", "healthy"], ["b", "no b"]),
])  # fmt: skip
def test_labels_become_the_classes_that_are_asked_for(changes, labels, expected):
    config = ModelConfig(**({"classes": ["a", "b", "c"]} | changes))
    rows = relabelled(labelled(*labels), config)
    assert ["left out" if row["problem"] else row["label"] for row in rows] == expected
    assert {row["label"] for row in rows if not row["problem"]} <= set(run_classes(config))


@pytest.mark.parametrize(("changes", "labels", "sentence"), [
    ({}, ["A", "b", "tumour"], "not among the model's classes: 'A', 'tumour'; the classes are 'a', 'b', 'c'"),
    ({}, ["A", "b"], "--labels A=a, or NAME= for none"),
    ({"findings": ["b"]}, ["a", "else"], "no image of the dataset has the label 'b'; its labels are 'a', 'else'"),
    ({"findings": ["b"]}, ["b", "B"], "the label 'B' of the dataset is not the model's class 'b' to the letter"),
    ({"findings": ["b"]}, ["b", "a| b"], "' b' of the dataset is not the model's class 'b'"),
    ({"findings": ["b"]}, ["b", "No B"], "is not the model's class 'no b'"),
    ({"classes": ["Lung Opacity"], "output": "logit"}, ["Lung Opacity", "lung_opacity"],
     "--labels lung_opacity='Lung Opacity', or lung_opacity= for none"),
    ({"labels": {"nothing": "a"}}, ["a", "b"], "the dataset has no label 'nothing'; it has 'a', 'b'"),
])  # fmt: skip
def test_labels_that_are_no_classes_are_named(changes, labels, sentence):
    with pytest.raises(ConfigError) as caught:
        relabelled(labelled(*labels), ModelConfig(**({"classes": ["a", "b", "c"]} | changes)))
    assert sentence in str(caught.value)


def test_labels_that_count_as_without_the_finding_are_named_with_their_images():
    config = ModelConfig(classes=["a", "b"], output="sigmoid", findings=["b"], labels={"healthy": "a", "odd": None})
    rows = labelled("b", "a", "no a", "healthy", "odd", "bb", "bb", "b|c", "a|bb", "no b")
    assert negatives(rows, config) == {"bb": 3, "c": 1}
    assert "count as 'no b': 'bb' (3 images), 'c' (1 images); where" in negatives_said(rows, config)
    assert negatives_said(labelled("a", "b"), config) == ""
    assert negatives_said(labelled("a", "x"), ModelConfig(classes=["a", "b"])) == ""  # refused by relabelled
    assert negatives(labelled("x", "y", "x"), ModelConfig(classes=["y"], output="logit")) == {"x": 2}

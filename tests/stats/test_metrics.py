"""Metrics against scikit-learn, and intervals against a slow bootstrap of images."""

import json

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.stats import metrics
from xray_debug.stats.intervals import wilson

CLASSES = ["normal", "pneumonia", "COVID-19"]


def case(n=120, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    logits = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


RELAXED = settings(max_examples=40, deadline=None)  # a busy machine is slow, not wrong
PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@RELAXED
@given(PAIRS)
def test_metrics_are_scikit_learns(pairs):
    labels, predicted = (np.array(x) for x in zip(*pairs, strict=True))
    found = metrics.classification_metrics(labels, np.eye(3)[predicted], CLASSES)
    options = {"average": "macro", "zero_division": 0}
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, predicted, **options))
    assert found["precision"] == pytest.approx(sk.precision_score(labels, predicted, **options))
    assert found["recall"] == pytest.approx(sk.recall_score(labels, predicted, **options))
    assert found["confusion"] == sk.confusion_matrix(labels, predicted, labels=[0, 1, 2]).tolist()
    parts = sk.precision_recall_fscore_support(labels, predicted, labels=[0, 1, 2], zero_division=0)
    for name, ppv, sensitivity, f1, support in zip(CLASSES, *parts, strict=True):
        expected = {"sensitivity": sensitivity, "ppv": ppv, "f1": f1, "support": support}
        assert found["per_class"][name] == pytest.approx(expected)


def test_scores_of_many_matrices_are_scores_of_each():
    matrices = np.random.default_rng(0).integers(0, 9, (4, 5, 3, 3))
    together = metrics.scores(matrices)
    for name, values in together.items():
        for i, j in np.ndindex(4, 5):
            np.testing.assert_allclose(values[i, j], metrics.scores(matrices[i, j])[name])


def test_intervals_are_those_of_resampled_images():
    labels, probabilities = case()
    found = metrics.metrics_with_intervals(labels, probabilities, CLASSES, samples=4000)
    rng, draws = np.random.default_rng(5), []
    for _ in range(1500):
        rows = rng.integers(0, 120, 120)
        draws.append(metrics.classification_metrics(labels[rows], probabilities[rows], CLASSES))
    plain = metrics.classification_metrics(labels, probabilities, CLASSES)
    for name in metrics.OVERALL:
        low, high = np.quantile([d[name] for d in draws], [0.025, 0.975])
        assert found[name]["value"] == plain[name]
        assert (found[name]["low"], found[name]["high"]) == pytest.approx((low, high), abs=0.012)
    low, high = np.quantile([d["per_class"]["COVID-19"]["f1"] for d in draws], [0.025, 0.975])
    covid = found["per_class"]["COVID-19"]
    assert (covid["f1"]["low"], covid["f1"]["high"]) == pytest.approx((low, high), abs=0.02)
    confusion = np.array(found["confusion"])
    assert tuple(covid["sensitivity"].values()) == pytest.approx(wilson(confusion[2, 2], confusion[2].sum()))
    assert tuple(covid["ppv"].values()) == pytest.approx(wilson(confusion[2, 2], confusion[:, 2].sum()))


def test_the_bootstrap_of_patients_is_wider_where_their_images_repeat():
    labels, probabilities = case(40)
    labels, probabilities, patients = (np.repeat(x, 5, axis=0) for x in (labels, probabilities, np.arange(40)))
    images = metrics.metrics_with_intervals(labels, probabilities, CLASSES)["accuracy"]
    grouped = metrics.metrics_with_intervals(labels, probabilities, CLASSES, groups=patients)["accuracy"]
    assert grouped["high"] - grouped["low"] > 1.6 * (images["high"] - images["low"])  # sqrt(5) = 2.2 in theory
    single = metrics.metrics_with_intervals(labels, probabilities, CLASSES, groups=np.arange(200))["accuracy"]
    assert (single["low"], single["high"]) == pytest.approx((images["low"], images["high"]), abs=0.015)


def test_resampled_matrices_keep_the_number_of_images():
    labels, probabilities = case(50)
    drawn = metrics.resampled_confusions(labels, probabilities.argmax(1), 3, 100, 0)
    assert drawn.shape == (100, 3, 3) and (drawn.sum((1, 2)) == 50).all()
    expected = metrics.confusion_matrix(labels, probabilities.argmax(1), 3)
    np.testing.assert_allclose(drawn.mean(0), expected, atol=1.5)
    with pytest.raises(ValueError, match="groups: expected 50"):
        metrics.resampled_confusions(labels, probabilities.argmax(1), 3, 100, 0, groups=[1, 2])


@RELAXED
@given(PAIRS, st.integers(0, 5))
def test_values_lie_in_their_intervals_and_are_json(pairs, seed):
    labels, predicted = (np.array(x) for x in zip(*pairs, strict=True))
    found = metrics.metrics_with_intervals(labels, np.eye(3)[predicted], CLASSES, 200, seed)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found == metrics.metrics_with_intervals(labels, np.eye(3)[predicted], CLASSES, 200, seed)
    for name in metrics.OVERALL:
        assert 0 <= found[name]["low"] <= found[name]["high"] <= 1
    for part in found["per_class"].values():
        if part["support"]:
            share = part["sensitivity"]
            assert share["low"] <= share["value"] <= share["high"]
        else:
            assert part["sensitivity"]["value"] is None


def test_no_images_gives_no_numbers():
    found = metrics.metrics_with_intervals([], np.zeros((0, 3)), CLASSES)
    assert found["accuracy"] == {"value": None, "low": None, "high": None} and found["n"] == 0
    assert found["per_class"]["normal"]["ppv"]["value"] is None


def test_groups_and_the_worst():
    labels = np.array([0, 0, 1, 2, 2, 2, 1])
    predicted = np.array([0, 0, 0, 2, 1, 0, 0])
    groups = ["rsna", "rsna", "rsna", "sirm", "sirm", "sirm", "one"]
    found = metrics.by_group(labels, np.eye(3)[predicted], CLASSES, groups)
    assert list(found["groups"]) == ["one", "rsna", "sirm"]
    assert found["groups"]["rsna"]["classes"] == {"normal": 2, "pneumonia": 1}
    assert tuple(found["groups"]["rsna"]["accuracy"].values()) == pytest.approx(wilson(2, 3))
    assert found["worst"]["group"] == "one" and found["worst"]["n"] == 1
    assert sum(g["n"] for g in found["groups"].values()) == 7
    assert metrics.by_group([], np.zeros((0, 3)), CLASSES, [])["worst"] is None


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], np.ones((2, 2)), r"\(n, 3\), got \(2,\) and \(2, 2\)"),
        ([0, 3], np.ones((2, 3)), "class indices 0 to 2"),
        ([0, -1], np.ones((2, 3)), "class indices 0 to 2"),
        ([0.0, 1.0], np.ones((2, 3)), "class indices 0 to 2"),
        ([0, 1], np.full((2, 3), np.nan), "6 of them are not finite"),
    ],
)
def test_bad_input_is_named(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        metrics.classification_metrics(labels, probabilities, CLASSES)

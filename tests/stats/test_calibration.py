"""Calibration against a slow second implementation and closed forms."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss

from xray_debug.stats.calibration import (
    calibrated_error,
    error_interval,
    expected_calibration_error,
    reliability_curve,
    weighted_calibration,
)
from xray_debug.stats.intervals import wilson
from xray_debug.stats.resampling import resampled


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], 200)
    return probabilities, np.array([rng.choice(3, p=p) for p in probabilities])


def slow_error(probabilities, labels, bins):
    total = 0.0
    for i in range(bins):
        rows = [j for j, p in enumerate(probabilities) if i / bins < p.max() <= (i + 1) / bins]
        if rows:
            accuracy = np.mean([probabilities[j].argmax() == labels[j] for j in rows])
            total += len(rows) / len(labels) * abs(accuracy - np.mean([probabilities[j].max() for j in rows]))
    return total


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_error_is_guos_equation_3(case, bins):
    assert expected_calibration_error(*case, bins) == pytest.approx(slow_error(*case, bins))


def test_closed_forms():
    sure = np.tile([0.9, 0.1], (10, 1))
    assert expected_calibration_error(sure, np.zeros(10, int)) == pytest.approx(0.1)
    assert expected_calibration_error(sure, np.ones(10, int)) == pytest.approx(0.9)
    assert expected_calibration_error(sure, np.array([0] * 9 + [1])) == pytest.approx(0)


def test_curve_bins_every_case_once(case):
    curve = reliability_curve(*case, bins=10)
    assert curve.count.sum() == 200 and curve.edges.tolist() == np.linspace(0, 1, 11).tolist()
    confidence, right = case[0].max(1), case[0].argmax(1) == case[1]
    rows = (confidence > 0.5) & (confidence <= 0.6)
    assert curve.count[5] == rows.sum() and curve.confidence[5] == pytest.approx(confidence[rows].mean())
    assert (curve.accuracy[5], curve.low[5], curve.high[5]) == pytest.approx(wilson(right[rows].sum(), rows.sum()))
    assert np.isnan([curve.accuracy[0], curve.low[0], curve.high[0]]).all()  # three classes: never below 1/3


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="probabilities, labels"):
        expected_calibration_error(np.ones((3, 2)), np.zeros(2, int))
    with pytest.raises(ValueError, match="bins"):
        reliability_curve(np.ones((3, 2)), np.zeros(3, int), bins=0)


def drawn(size: int, seed: int, sure: float = 1.0):
    """Probabilities of two classes, and labels that come as often as they say; `sure` > 1: the model exaggerates."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.05, 0.95, size)
    labels = (rng.random(size) >= first).astype(int)
    told = first**sure / (first**sure + (1 - first) ** sure)
    return np.stack([told, 1 - told], axis=1), labels


def test_weights_are_repetitions_and_models_are_averaged():
    each = [drawn(50, seed)[0] for seed in (0, 1)]
    labels = drawn(50, 2)[1]
    weights = np.random.default_rng(3).integers(0, 3, (4, 50))
    found = weighted_calibration(np.stack(each), labels, weights)
    for row, own in enumerate(weights):
        rows = np.repeat(np.arange(50), own)
        errors = [expected_calibration_error(p[rows], labels[rows]) for p in each]
        brier = [2 * brier_score_loss(labels[rows], p[rows, 1]) for p in each]
        over = [p[rows].max(1).mean() - accuracy_score(labels[rows], p[rows].argmax(1)) for p in each]
        assert found["ece"][row] == pytest.approx(np.mean(errors))
        assert found["brier"][row] == pytest.approx(np.mean(brier))
        assert found["overconfidence"][row] == pytest.approx(np.mean(over))
    alone = weighted_calibration(each[0][None], labels)
    assert alone["ece"] == pytest.approx(expected_calibration_error(each[0], labels))
    assert np.isnan(weighted_calibration(each[0][None], labels, np.zeros((1, 50)))["ece"]).all()


def test_a_calibrated_models_error_stays_below_as_often_as_said():
    below = []
    for seed in range(150):
        probabilities, labels = drawn(200, seed)
        bound = calibrated_error(probabilities.max(1), samples=200, seed=seed)
        below.append(expected_calibration_error(probabilities, labels) <= bound)
    assert 0.89 < np.mean(below) <= 0.99  # 0.95, give or take three binomial standard errors
    probabilities, labels = drawn(200, 0, sure=3.0)
    assert expected_calibration_error(probabilities, labels) > calibrated_error(probabilities.max(1))
    assert calibrated_error(np.ones(20)) == 0


def test_the_interval_of_an_error_holds_what_such_tests_give():
    errors = [expected_calibration_error(*drawn(200, seed, 1.8)) for seed in range(1000, 1300)]
    held, usual = [], np.mean(errors)
    for seed in range(100):
        probabilities, labels = drawn(200, seed, 1.8)
        value = expected_calibration_error(probabilities, labels)
        draws = resampled(np.arange(200), lambda w, p=probabilities, y=labels: weighted_calibration(p[None], y, w), 200,
                          seed)["ece"]  # fmt: skip
        found = error_interval(value, draws)
        assert 0 <= found.low <= value <= found.high
        held.append(found.low <= usual <= found.high)
    assert np.mean(held) > 0.86
    assert np.isnan(error_interval(0.1, np.array([np.nan])).low)

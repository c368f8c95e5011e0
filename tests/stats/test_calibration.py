"""Calibration against a slow second implementation and closed forms."""

import numpy as np
import pytest

from xray_debug.stats.calibration import expected_calibration_error, reliability_curve
from xray_debug.stats.intervals import wilson


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

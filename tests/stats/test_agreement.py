"""Cohen's kappa against scikit-learn, its interval against resampling and a worked example."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from xray_debug.stats.agreement import cohen_kappa
from xray_debug.stats.intervals import bootstrap


def raters(seed: int, count: int, agree: float) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    first = rng.choice(["approve", "reject", "edit", "exclude"], count, p=[0.5, 0.3, 0.15, 0.05])
    other = rng.choice(["approve", "reject", "edit"], count, p=[0.4, 0.4, 0.2])
    return first.tolist(), np.where(rng.random(count) < agree, first, other).tolist()


@pytest.mark.parametrize("agree", [0, 0.3, 0.8, 0.97])
@pytest.mark.parametrize("count", [7, 40, 400])
def test_kappa_is_scikit_learns(agree, count):
    first, second = raters(count, count, agree)
    assert cohen_kappa(first, second).value == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


@pytest.mark.parametrize("agree", [0, 0.5, 0.9])
def test_the_interval_is_that_of_resampling(agree):
    first, second = raters(3, 1000, agree)
    found = cohen_kappa(first, second)
    drawn = bootstrap(lambda a, b: cohen_kappa_score(a, b), [np.array(first), np.array(second)], samples=400)
    assert found.high - found.low == pytest.approx(drawn.high - drawn.low, rel=0.12)
    assert found.low == pytest.approx(drawn.low, abs=0.02)


def test_the_standard_error_is_that_of_a_worked_example():
    """Two raters of two words, 20 5 / 10 15 of 50: kappa 0.4, by hand the variance is .2016 / 12.5."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    found = cohen_kappa(*zip(*pairs, strict=True))
    assert found.value == pytest.approx(0.4)
    assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(np.sqrt(0.016128), abs=1e-6)


def test_what_cannot_be_told_is_nan():
    assert np.isnan(cohen_kappa(["a"] * 5, ["a"] * 5)).all()
    full = cohen_kappa(["a", "b", "a"], ["a", "b", "a"])
    assert full.value == 1 and np.isnan(full[1:]).all()


@pytest.mark.parametrize("pair", [([], []), (["a"], ["a", "b"])])
def test_unequal_raters_are_refused(pair):
    with pytest.raises(ValueError, match="expected the same number of words"):
        cohen_kappa(*pair)

"""The permutation test against all permutations and what is known of its p."""

from itertools import permutations as all_permutations

import numpy as np
import pytest
import scipy.stats

from xray_debug.stats import randomisation


def test_permutation_test_against_all_permutations():
    x, y = np.array([0, 0, 0, 1, 1, 1]), np.array([1.0, 2.0, 4.0, 3.0, 5.0, 6.0])

    def difference(x, y):
        return y[x == 1].mean() - y[x == 0].mean()

    draws = [difference(x, np.array(p)) for p in all_permutations(y)]
    exact = np.mean(np.array(draws) >= difference(x, y) - 1e-9)
    found = randomisation.permutation_test(difference, x, y, permutations=4000, seed=0)
    assert found.value == pytest.approx(difference(x, y))
    assert found.p == pytest.approx(exact, abs=0.02)
    assert found.chance == pytest.approx(0, abs=0.1)


def test_permutation_test_is_never_zero_and_is_seeded():
    x = np.arange(40.0)

    def agreement(x, y):
        return float(np.corrcoef(x, y)[0, 1])

    assert randomisation.permutation_test(agreement, x, x, 99).p == pytest.approx(0.01)
    noise = np.random.default_rng(0).normal(size=40)
    first = randomisation.permutation_test(agreement, x, noise, 99, seed=1)
    assert first == randomisation.permutation_test(agreement, x, noise, 99, seed=1) and first.p > 0.05


def test_permutation_within_groups_keeps_what_the_group_explains():
    groups = np.repeat(["a", "b"], 20)
    y = np.repeat([0.0, 10.0], 20) + np.random.default_rng(0).normal(size=40)
    x = np.repeat([0.0, 1.0], 20)

    def agreement(x, y):
        return float(np.corrcoef(x, y)[0, 1])

    assert randomisation.permutation_test(agreement, x, y, 99).p == pytest.approx(0.01)
    assert randomisation.permutation_test(agreement, x, y, 99, groups=groups).p == pytest.approx(1.0)
    with pytest.raises(ValueError, match="groups: expected 40"):
        randomisation.permutation_test(agreement, x, y, 9, groups=[1])


def test_p_of_the_permutation_test_is_uniform_under_the_null():
    rng = np.random.default_rng(0)
    p = [
        randomisation.permutation_test(np.dot, rng.normal(size=12), rng.normal(size=12), 49, seed=i).p
        for i in range(200)
    ]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.001


def test_shuffles_are_the_same_in_parts_and_few_are_held(monkeypatch):
    """The draws grow with the questions: of many images they must not be held all at once."""
    rng = np.random.default_rng(4)
    beyond, own, codes = rng.normal(size=37), np.arange(37) < 11, rng.integers(0, 3, 37)
    each = rng.normal(size=(37, 3))
    beyond[own] += 0.4
    whole = [randomisation.separation_p(beyond, own, 300, 1), randomisation.label_permutation_p(each, codes, 300, 1)]
    monkeypatch.setattr(randomisation, "HELD", 37 * 8)
    sizes, shuffles = [], randomisation._shuffles
    monkeypatch.setattr(randomisation, "_shuffles", lambda *a: (sizes.append(len(x)) or x for x in shuffles(*a)))
    parts = [randomisation.separation_p(beyond, own, 300, 1), randomisation.label_permutation_p(each, codes, 300, 1)]
    assert parts == whole and 0 < whole[0] < 1 and set(sizes) == {8, 4} and sum(sizes) == 600

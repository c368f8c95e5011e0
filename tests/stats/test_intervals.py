"""Every interval and test against scipy, a closed form or a slow second implementation."""

from itertools import permutations as all_permutations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.stats import intervals as stats

RELAXED = settings(max_examples=40, deadline=None)  # a busy machine is slow, not wrong
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@RELAXED
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_is_scipys(pair, level):
    k, n = pair
    expected = scipy.stats.binomtest(k, n).proportion_ci(level, method="wilson")
    found = stats.wilson(k, n, level)
    np.testing.assert_allclose(found, (k / n, expected.low, expected.high), atol=1e-12)


def test_wilson_of_arrays_and_of_nothing():
    found = stats.wilson(np.array([0, 3, 5]), np.array([0, 10, 5]))
    for i, (k, n) in enumerate([(0, 0), (3, 10), (5, 5)]):
        np.testing.assert_allclose([v[i] for v in found], stats.wilson(k, n))
    assert np.isnan(stats.wilson(0, 0).value) and stats.wilson(0, 0)[1:] == (0, 1)
    with pytest.raises(ValueError, match="0 <= k <= n"):
        stats.wilson(4, 3)
    with pytest.raises(ValueError, match="level"):
        stats.wilson(1, 3, 95)


@RELAXED
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_the_binomial_test(pairs):
    a, b = (np.array(x) for x in zip(*pairs, strict=True))
    found = stats.mcnemar(a, b)
    only_a, only_b = sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)
    assert found[:2] == (only_a, only_b)
    expected = scipy.stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p == pytest.approx(expected)
    assert stats.mcnemar(b, a).p == pytest.approx(found.p)


def test_mcnemar_needs_pairs():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        stats.mcnemar([True, False], [True, False, True])


def slow_holm(p):
    """Holm's step-down rule written as he states it."""
    order, adjusted, running = sorted(range(len(p)), key=lambda i: p[i]), [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = running
    return adjusted


@RELAXED
@given(P_VALUES)
def test_holm_is_the_step_down_rule(p):
    found = stats.holm(p)
    np.testing.assert_allclose(found, slow_holm(p))
    assert (found >= np.array(p) - 1e-15).all() and (found <= 1).all()


def test_holm_published_example_and_nan():
    # Holm's procedure on 0.01 0.04 0.03 0.005: 0.03 0.06 0.06 0.02
    np.testing.assert_allclose(stats.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(stats.holm([0.01, np.nan, 0.03]), [0.02, np.nan, 0.03])
    with pytest.raises(ValueError, match="p_values"):
        stats.holm([0.5, 1.5])


def test_mean_interval_is_scipys():
    values = np.random.default_rng(0).normal(3, 2, 17)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose(stats.mean_interval(values, 0.9), (values.mean(), expected.low, expected.high))
    with_nan = stats.mean_interval(np.append(values, np.nan), 0.9)
    np.testing.assert_allclose(with_nan, stats.mean_interval(values, 0.9))
    assert stats.mean_interval([4.0]).value == 4 and np.isnan(stats.mean_interval([4.0]).low)
    assert np.isnan(stats.mean_interval([])).all()


def test_bootstrap_is_scipys_percentile_interval():
    values = np.random.default_rng(1).exponential(size=80)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    found = stats.bootstrap(np.mean, [values], samples=20_000)
    assert found.value == values.mean()
    np.testing.assert_allclose(found[1:], (expected.low, expected.high), atol=0.01)


def test_bootstrap_vectorised_and_looped_agree():
    values = np.random.default_rng(1).normal(size=(2, 40))

    def looped(x, y):
        return float(np.mean(x * y))

    def vectorised(x, y, axis=-1):
        return np.mean(x * y, axis=axis)

    np.testing.assert_allclose(stats.bootstrap(looped, values, 300), stats.bootstrap(vectorised, values, 300))


def test_bootstrap_is_seeded_and_chunks_do_not_matter(monkeypatch):
    values = np.random.default_rng(1).normal(size=50)
    first = stats.bootstrap(np.mean, [values], 500, seed=4)
    assert first == stats.bootstrap(np.mean, [values], 500, seed=4)
    assert first != stats.bootstrap(np.mean, [values], 500, seed=5)
    monkeypatch.setattr(stats, "CHUNK", 700)
    assert first == stats.bootstrap(np.mean, [values], 500, seed=4)


def test_bootstrap_of_groups_is_wider_where_rows_repeat():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 6)
    values = np.repeat(rng.normal(size=30), 6)
    single = stats.bootstrap(np.mean, [values], 600)
    grouped = stats.bootstrap(np.mean, [values], 600, groups=patients)
    independent = stats.bootstrap(np.mean, [values[::6]], 600)
    assert grouped.high - grouped.low > 1.8 * (single.high - single.low)  # sqrt(6) = 2.4 in theory
    assert grouped.high - grouped.low == pytest.approx(independent.high - independent.low, rel=0.15)


def test_bootstrap_covers_the_truth():
    rng, hits = np.random.default_rng(0), 0
    for i in range(200):
        low, high = stats.bootstrap(np.mean, [rng.normal(1, 1, 40)], 300, seed=i)[1:]
        hits += low <= 1 <= high
    assert 0.88 <= hits / 200 <= 0.99


@pytest.mark.parametrize("arrays", [[[]], [[1, 2], [1]], []])
def test_bootstrap_refuses_arrays_that_do_not_fit(arrays):
    with pytest.raises(ValueError, match="expected the same length"):
        stats.bootstrap(np.mean, [np.array(a) for a in arrays])


def test_paired_difference_uses_the_same_rows_for_both():
    a = np.random.default_rng(0).normal(size=60)
    found = stats.paired_bootstrap_difference(np.mean, [a], [a + 0.25], 200)
    np.testing.assert_allclose(found, (0.25, 0.25, 0.25))

    def slow(x):  # no axis: the other path
        return float(np.mean(x))

    b = np.random.default_rng(1).normal(size=60)
    fast = stats.paired_bootstrap_difference(np.mean, [a], [b], 300, seed=2)
    np.testing.assert_allclose(fast, stats.paired_bootstrap_difference(slow, [a], [b], 300, seed=2))
    np.testing.assert_allclose(fast, stats.bootstrap(np.mean, [b - a], 300, seed=2))


def test_permutation_test_against_all_permutations():
    x, y = np.array([0, 0, 0, 1, 1, 1]), np.array([1.0, 2.0, 4.0, 3.0, 5.0, 6.0])

    def difference(x, y):
        return y[x == 1].mean() - y[x == 0].mean()

    draws = [difference(x, np.array(p)) for p in all_permutations(y)]
    exact = np.mean(np.array(draws) >= difference(x, y) - 1e-9)
    found = stats.permutation_test(difference, x, y, permutations=4000, seed=0)
    assert found.value == pytest.approx(difference(x, y))
    assert found.p == pytest.approx(exact, abs=0.02)
    assert found.chance == pytest.approx(0, abs=0.1)


def test_permutation_test_is_never_zero_and_is_seeded():
    x = np.arange(40.0)

    def agreement(x, y):
        return float(np.corrcoef(x, y)[0, 1])

    assert stats.permutation_test(agreement, x, x, 99).p == pytest.approx(0.01)
    noise = np.random.default_rng(0).normal(size=40)
    first = stats.permutation_test(agreement, x, noise, 99, seed=1)
    assert first == stats.permutation_test(agreement, x, noise, 99, seed=1) and first.p > 0.05


def test_permutation_within_groups_keeps_what_the_group_explains():
    groups = np.repeat(["a", "b"], 20)
    y = np.repeat([0.0, 10.0], 20) + np.random.default_rng(0).normal(size=40)
    x = np.repeat([0.0, 1.0], 20)

    def agreement(x, y):
        return float(np.corrcoef(x, y)[0, 1])

    assert stats.permutation_test(agreement, x, y, 99).p == pytest.approx(0.01)
    assert stats.permutation_test(agreement, x, y, 99, groups=groups).p == pytest.approx(1.0)
    with pytest.raises(ValueError, match="groups: expected 40"):
        stats.permutation_test(agreement, x, y, 9, groups=[1])


def test_p_of_the_permutation_test_is_uniform_under_the_null():
    rng = np.random.default_rng(0)
    p = [
        stats.permutation_test(lambda x, y: float(x @ y), rng.normal(size=12), rng.normal(size=12), 49, seed=i).p
        for i in range(200)
    ]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.001


@RELAXED
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=50), st.floats(0.5, 0.99))
def test_percentile_interval_is_inside_the_draws_and_ordered(draws, level):
    found = stats.percentile_interval(0.0, np.array([*draws, np.nan]), level)
    assert min(draws) - 1e-9 <= found.low <= found.high <= max(draws) + 1e-9


def test_percentile_interval_of_nothing_is_nan():
    assert np.isnan(stats.percentile_interval(0.5, np.full(4, np.nan))[1:]).all()

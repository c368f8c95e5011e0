"""Every interval against scipy, a closed form or a slow second implementation."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.stats import intervals

RELAXED = settings(max_examples=40, deadline=None)  # a busy machine is slow, not wrong

@RELAXED
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_is_scipys(pair, level):
    k, n = pair
    expected = scipy.stats.binomtest(k, n).proportion_ci(level, method="wilson")
    found = intervals.wilson(k, n, level)
    np.testing.assert_allclose(found, (k / n, expected.low, expected.high), atol=1e-12)


def test_wilson_of_arrays_and_of_nothing():
    found = intervals.wilson(np.array([0, 3, 5]), np.array([0, 10, 5]))
    for i, (k, n) in enumerate([(0, 0), (3, 10), (5, 5)]):
        np.testing.assert_allclose([v[i] for v in found], intervals.wilson(k, n))
    assert np.isnan(intervals.wilson(0, 0).value) and intervals.wilson(0, 0)[1:] == (0, 1)
    with pytest.raises(ValueError, match="0 <= k <= n"):
        intervals.wilson(4, 3)
    with pytest.raises(ValueError, match="level"):
        intervals.wilson(1, 3, 95)


def test_mean_interval_is_scipys():
    values = np.random.default_rng(0).normal(3, 2, 17)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose(intervals.mean_interval(values, 0.9), (values.mean(), expected.low, expected.high))
    with_nan = intervals.mean_interval(np.append(values, np.nan), 0.9)
    np.testing.assert_allclose(with_nan, intervals.mean_interval(values, 0.9))
    assert intervals.mean_interval([4.0]).value == 4 and np.isnan(intervals.mean_interval([4.0]).low)
    assert np.isnan(intervals.mean_interval([])).all()


def test_bootstrap_is_scipys_percentile_interval():
    values = np.random.default_rng(1).exponential(size=80)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    found = intervals.bootstrap(np.mean, [values], samples=20_000)
    assert found.value == values.mean()
    np.testing.assert_allclose(found[1:], (expected.low, expected.high), atol=0.01)


def test_bootstrap_vectorised_and_looped_agree():
    values = np.random.default_rng(1).normal(size=(2, 40))

    def looped(x, y):
        return float(np.mean(x * y))

    def vectorised(x, y, axis=-1):
        return np.mean(x * y, axis=axis)

    np.testing.assert_allclose(intervals.bootstrap(looped, values, 300), intervals.bootstrap(vectorised, values, 300))


def test_bootstrap_is_seeded_and_chunks_do_not_matter(monkeypatch):
    values = np.random.default_rng(1).normal(size=50)
    first = intervals.bootstrap(np.mean, [values], 500, seed=4)
    assert first == intervals.bootstrap(np.mean, [values], 500, seed=4)
    assert first != intervals.bootstrap(np.mean, [values], 500, seed=5)
    monkeypatch.setattr(intervals, "CHUNK", 700)
    assert first == intervals.bootstrap(np.mean, [values], 500, seed=4)


def test_bootstrap_of_groups_is_wider_where_rows_repeat():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 6)
    values = np.repeat(rng.normal(size=30), 6)
    single = intervals.bootstrap(np.mean, [values], 600)
    grouped = intervals.bootstrap(np.mean, [values], 600, groups=patients)
    independent = intervals.bootstrap(np.mean, [values[::6]], 600)
    assert grouped.high - grouped.low > 1.8 * (single.high - single.low)  # sqrt(6) = 2.4 in theory
    assert grouped.high - grouped.low == pytest.approx(independent.high - independent.low, rel=0.15)


def test_bootstrap_covers_the_truth():
    rng, hits = np.random.default_rng(0), 0
    for i in range(200):
        low, high = intervals.bootstrap(np.mean, [rng.normal(1, 1, 40)], 300, seed=i)[1:]
        hits += low <= 1 <= high
    assert 0.88 <= hits / 200 <= 0.99


@pytest.mark.parametrize("arrays", [[[]], [[1, 2], [1]], []])
def test_bootstrap_refuses_arrays_that_do_not_fit(arrays):
    with pytest.raises(ValueError, match="expected the same length"):
        intervals.bootstrap(np.mean, [np.array(a) for a in arrays])


def test_paired_difference_uses_the_same_rows_for_both():
    a = np.random.default_rng(0).normal(size=60)
    found = intervals.paired_bootstrap_difference(np.mean, [a], [a + 0.25], 200)
    np.testing.assert_allclose(found, (0.25, 0.25, 0.25))

    def slow(x):  # no axis: the other path
        return float(np.mean(x))

    b = np.random.default_rng(1).normal(size=60)
    fast = intervals.paired_bootstrap_difference(np.mean, [a], [b], 300, seed=2)
    np.testing.assert_allclose(fast, intervals.paired_bootstrap_difference(slow, [a], [b], 300, seed=2))
    np.testing.assert_allclose(fast, intervals.bootstrap(np.mean, [b - a], 300, seed=2))


@RELAXED
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=50), st.floats(0.5, 0.99))
def test_percentile_interval_is_inside_the_draws_and_ordered(draws, level):
    found = intervals.percentile_interval(0.0, np.array([*draws, np.nan]), level)
    assert min(draws) - 1e-9 <= found.low <= found.high <= max(draws) + 1e-9


def test_percentile_interval_of_nothing_is_nan():
    assert np.isnan(intervals.percentile_interval(0.5, np.full(4, np.nan))[1:]).all()

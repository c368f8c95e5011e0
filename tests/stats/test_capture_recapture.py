"""Capture and recapture: against exact expectations, the closed forms as published, and simulated readers."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.stats.capture_recapture import (
    chapman,
    chapman_variance,
    few_things_limit,
    lognormal_interval,
    missed_by_both,
    missed_interval,
    resampled_sums,
    share_interval,
)
from xray_debug.stats.intervals import wilson

CELLS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))  # the first alone, the second alone, both


@given(CELLS)
def test_the_estimate_is_chapmans_and_never_under_what_was_found(cells):
    a, b, both = cells
    assert chapman(a + both, b + both, both) == pytest.approx((a + both + 1) * (b + both + 1) / (both + 1) - 1)
    assert missed_by_both(a + both, b + both, both) == missed_by_both(b + both, a + both, both) >= 0
    assert chapman(a + both, b + both, both) >= a + b + both
    assert (missed_by_both(a + both, b + both, both) == 0) == (a == 0 or b == 0)


def test_it_is_exact_where_the_two_samples_cover_all():
    """Chapman's estimate has no bias where first + second >= all: its mean over the hypergeometric law is the truth."""
    things, first, second = 12, 8, 7
    shares = {m: comb(first, m) * comb(things - first, second - m) / comb(things, second)
              for m in range(max(0, first + second - things), min(first, second) + 1)}  # fmt: skip
    assert sum(shares.values()) == pytest.approx(1)
    assert sum(p * float(chapman(first, second, m)) for m, p in shares.items()) == pytest.approx(things)
    mean = sum(p * float(chapman_variance(first, second, m)) for m, p in shares.items())
    true = sum(p * (float(chapman(first, second, m)) - things) ** 2 for m, p in shares.items())
    assert mean == pytest.approx(true)  # Seber's variance is without bias there, too


def test_a_worked_example_by_hand():
    """60 and 50 found, 30 of them by both: 61 * 51 / 31 - 1 = 99.35; variance 61 * 51 * 30 * 20 / (31^2 * 32)."""
    assert float(chapman(60, 50, 30)) == pytest.approx(99.3548, abs=1e-4)
    assert float(chapman_variance(60, 50, 30)) == pytest.approx(60.699, abs=1e-3)
    found = lognormal_interval(60, 50, 30)
    missed, variance = 99.3548387 - 80, 60.6988163
    factor = np.exp(1.959964 * np.sqrt(np.log(1 + variance / missed**2)))
    assert found == pytest.approx((99.3548387, 80 + missed / factor, 80 + missed * factor), rel=1e-5)
    assert lognormal_interval(5, 5, 5) == (5, 5, 5)


@given(CELLS)
def test_the_closed_interval_holds_the_estimate_and_what_was_found(cells):
    a, b, both = cells
    found = lognormal_interval(a + both, b + both, both)
    assert a + b + both <= found.low <= found.value <= found.high


def simulated(rng, images, boxes, one, other, effect=0.0):
    """(images, 3) counts of two independent readers, and how many both missed; `effect`: how unlike images are."""
    number = rng.poisson(boxes * rng.gamma(1 / effect, effect, images) if effect else boxes, images)
    first, second = rng.binomial(number, one), np.zeros(images, int)
    both, alone = rng.binomial(first, other), rng.binomial(number - first, other)
    second = both + alone
    return np.stack([first, second, both], axis=-1), int((number - first - alone).sum())


@pytest.mark.parametrize(("one", "other", "effect"), [(0.9, 0.6, 0.0), (0.75, 0.75, 0.5)])
def test_the_interval_covers_the_truth_of_independent_readers_at_about_its_rate(one, other, effect):
    rng, images, boxes, runs = np.random.default_rng(5), 60, 3, 200
    expected = images * boxes * (1 - one) * (1 - other)
    own = closed = 0
    for run in range(runs):
        counts, missed = simulated(rng, images, boxes, one, other, effect)
        found = missed_interval(counts, samples=300, seed=run)
        own += found.low <= expected <= found.high
        low, high = lognormal_interval(*counts.sum(0))[1:]
        closed += low <= counts[:, :2].sum() - counts[:, 2].sum() + missed <= high
    assert 0.9 * runs <= own <= 0.99 * runs and 0.9 * runs <= closed <= 0.99 * runs


def test_readers_that_miss_the_same_letters_make_it_too_low_and_false_finds_too_high():
    """The two caveats of the report, by simulation: a fifth of the boxes that nobody can see; a false find an image."""
    rng = np.random.default_rng(2)
    counts, missed = simulated(rng, 400, 3, 0.8, 0.8)
    assert missed_interval(counts).high < missed + 0.2 * 1200  # the faint fifth is in neither list
    false = counts + np.array([0, 1, 0])
    assert missed_interval(false).low > missed


@given(st.integers(1, 300), st.integers(0, 300))
def test_no_disagreement_is_no_proof_that_nothing_was_missed(both, alone):
    limit = few_things_limit(both + alone, both, both)
    odds = [1 / wilson(both, count).low - 1 for count in (both, both + alone)]
    assert limit == pytest.approx(both * odds[0] * odds[1]) and limit > 0
    found = missed_interval([[both + alone, both, both]] * 3, samples=50)
    least = few_things_limit(3 * (both + alone), 3 * both, 3 * both)
    assert found.value == 0 and found.low == 0 and found.high >= least


def test_nothing_can_be_said_where_a_reader_found_nothing():
    for counts in ([], [[0, 0, 0]], [[4, 0, 0], [1, 0, 0]], [[0, 3, 0]]):
        found = missed_interval(counts)
        assert np.isnan(found.value) and found[1:] == (0, float("inf"))
    nothing_common = missed_interval([[2, 0, 0], [0, 3, 0]], samples=50)
    assert nothing_common.value == 6 and nothing_common.high == float("inf")
    for bad in ((3, 3, 4), (3, 3, -1)):
        with pytest.raises(ValueError, match="both: expected 0 to the lesser"):
            missed_by_both(*bad)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=15), st.integers(0, 3))
def test_a_share_lies_in_its_interval_which_is_no_narrower_than_wilsons(rows, seed):
    hits, misses = np.array(rows).T
    found, own = share_interval(hits, hits + misses, samples=40, seed=seed), wilson(hits.sum(), (hits + misses).sum())
    assert found.low <= own.low and found.high >= own.high and 0 <= found.low <= found.high <= 1
    if (hits + misses).sum():
        assert found.value == pytest.approx(hits.sum() / (hits + misses).sum())
        assert found.low <= found.value <= found.high


def test_boxes_of_one_patient_are_no_further_evidence():
    hits, totals = np.tile([3, 0], 20), np.full(40, 3)
    groups = np.repeat(np.arange(8), 5)
    alone, together = share_interval(hits, totals), share_interval(hits, totals, np.arange(40) % 2)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert share_interval(hits, totals, groups) == share_interval(hits, totals, groups)


def test_whole_groups_are_drawn_and_every_resample_has_as_many():
    counts, groups = np.array([[1, 0], [10, 1], [100, 5]]), ["a", "b", "a"]
    sums = {tuple(row) for row in resampled_sums(counts, groups, 200, 0).tolist()}
    parts = np.array([[101, 5], [10, 1]])
    assert sums == {tuple(map(float, parts[i] + parts[j])) for i, j in product(range(2), repeat=2)}
    with pytest.raises(ValueError, match="groups: expected 3, one per row, got 2"):
        resampled_sums(counts, ["a", "b"], 5, 0)


@given(CELLS)
def test_the_limit_of_few_things_is_above_what_the_plain_shares_give(cells):
    a, b, both = cells
    if both:
        assert few_things_limit(a + both, b + both, both) >= a * b / both  # Lincoln and Petersen's estimate

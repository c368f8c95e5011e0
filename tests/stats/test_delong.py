"""DeLong's test against its own sums over all pairs, against resampled patients, and as a test that keeps its level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score

from xray_debug.stats.delong import area_covariance, components, delong, midranks
from xray_debug.stats.ranking import ranking_scores
from xray_debug.stats.resampling import resampled


def pairs(scores: np.ndarray, has: np.ndarray) -> np.ndarray:
    """(m, n): 1 where the image with the finding scores higher than the one without, 1/2 where they tie."""
    difference = scores[has][:, None] - scores[~has][None]
    return np.where(difference > 0, 1.0, np.where(difference == 0, 0.5, 0.0))


def slow(scores: list[np.ndarray], has: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's areas and covariance S10 / m + S01 / n, by all pairs; scores (S, n) each, a mean over S models."""
    kernels = [np.mean([pairs(one, has) for one in np.atleast_2d(each)], axis=0) for each in scores]
    some, others = np.stack([k.mean(1) for k in kernels]), np.stack([k.mean(0) for k in kernels])
    covariance = np.cov(some) / some.shape[1] + np.cov(others) / others.shape[1]
    return np.array([k.mean() for k in kernels]), covariance


def drawn(size: int, seed: int, ties: bool = False, models: int = 1):
    rng = np.random.default_rng(seed)
    has = np.arange(size) % 3 == 0
    base = has * 0.8 + rng.normal(size=size)
    made = [base + rng.normal(size=(models, size)) for _ in range(2)]
    return [np.round(each, 0) if ties else each for each in made], has


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_midranks_are_scipys(values):
    assert midranks(np.array(values)) == pytest.approx(rankdata(values))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("models", [1, 3])
def test_it_is_the_sum_over_all_pairs(ties, models):
    scores, has = drawn(45, 3, ties, models)
    areas, covariance = area_covariance(scores, has)
    wanted_areas, wanted = slow(scores, has)
    assert areas == pytest.approx(wanted_areas) and covariance == pytest.approx(wanted)
    assert areas == pytest.approx([np.mean([roc_auc_score(has, one) for one in each]) for each in scores])
    some, others = components(scores[0][0], has)
    kernel = pairs(scores[0][0], has)
    assert some == pytest.approx(kernel.mean(1)) and others == pytest.approx(kernel.mean(0))
    test = delong(*scores, has)
    z = (wanted_areas[1] - wanted_areas[0]) / np.sqrt(wanted[0, 0] + wanted[1, 1] - 2 * wanted[0, 1])
    assert test.p == pytest.approx(2 * norm.sf(abs(z)))
    assert (test.high - test.low) / 2 == pytest.approx(norm.ppf(0.975) * abs(test.difference / z))


@given(st.integers(6, 30), st.integers(0, 50), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_a_patients_copies_add_no_evidence(size, seed, copies):
    scores, has = drawn(size, seed, ties=True)
    alone = area_covariance(scores, has)
    twice = area_covariance([np.tile(each, (1, copies)) for each in scores], np.tile(has, copies),
                            np.tile(np.arange(size), copies))  # fmt: skip
    assert twice[0] == pytest.approx(alone[0]) and twice[1] == pytest.approx(alone[1])


def test_patients_with_images_of_both_kinds_spread_as_their_resamples_do():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(120), 3)
    has = rng.random(360) < 0.4
    shared = rng.normal(size=120)[groups]  # what a patient's images have in common
    scores = [np.atleast_2d(has * 0.7 + shared * part + rng.normal(size=360)) for part in (1.5, 0.3)]
    _, covariance = area_covariance(scores, has, groups)
    draws = [resampled(groups, lambda w, s=each[0]: ranking_scores(s, has, w), 2000, 1)["auroc"] for each in scores]
    assert covariance == pytest.approx(np.cov(draws), rel=0.2)
    assert area_covariance(scores, has)[1] != pytest.approx(covariance, rel=0.2)  # as if images were independent


def test_it_keeps_its_level_and_turns_with_the_models():
    found = []
    for seed in range(400):
        (first, second), has = drawn(60, seed)
        test, turned = delong(first[0], second[0], has), delong(second[0], first[0], has)
        found.append(test.p)
        assert turned.p == pytest.approx(test.p) and turned.low == pytest.approx(-test.high)
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.085  # 0.05, give or take three binomial standard errors


def test_what_cannot_be_tested():
    has = np.array([True, True, True, False, False, False])
    good = np.array([6.0, 5, 4, 3, 2, 1])
    assert delong(good, good, has) == (1.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    worst = delong(good, -good, has)
    assert worst.difference == -1 and np.isnan(worst.p) and np.isnan(worst.low)
    assert np.isnan(delong(good, good[::-1] * 2, has, groups=[0, 0, 0, 1, 2, 3]).p)  # one patient has the finding
    with pytest.raises(ValueError, match="expected images with the finding and without, got 0 and 6"):
        delong(good, good, np.zeros(6, bool))

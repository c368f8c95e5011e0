"""AUROC, AUPRC and sensitivity at fixed specificity against scikit-learn, with weights and with ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scores_fixture import CLASSES, make_cell
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from xray_debug.stats.auroc import auroc
from xray_debug.stats.ranking import MEASURES, SPECIFICITIES, cell_rankings, macro, ranking_scores


@st.composite
def ranked(draw):
    """Scores with ties, truths of both kinds, weights of which each kind has some."""
    size = draw(st.integers(4, 25))
    scores = np.array(draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))) / 6
    has = np.array([True, False, *draw(st.lists(st.booleans(), min_size=size - 2, max_size=size - 2))])
    weights = np.array([1, 1, *draw(st.lists(st.integers(0, 3), min_size=size - 2, max_size=size - 2))])
    return scores, has, weights


def expected(scores, has, weights) -> dict[str, float]:
    false, found, _ = roc_curve(has, scores, sample_weight=weights, drop_intermediate=False)
    result = {"auroc": roc_auc_score(has, scores, sample_weight=weights),
              "auprc": average_precision_score(has, scores, sample_weight=weights)}  # fmt: skip
    return result | {name: found[false <= 1 - s + 1e-9].max() for name, s in SPECIFICITIES.items()}


@given(ranked())
@settings(max_examples=40, deadline=None)
def test_it_is_scikit_learns_with_and_without_weights(case):
    scores, has, weights = case
    found = ranking_scores(scores, has, np.stack([np.ones(len(has), int), weights]))
    for row, own in enumerate((np.ones(len(has)), weights)):
        wanted = expected(scores, has, own)
        assert {name: found[name][row] for name in MEASURES} == pytest.approx(wanted)


@given(ranked())
@settings(max_examples=60)
def test_only_the_order_counts_and_a_weight_is_a_repetition(case):
    scores, has, weights = case
    weighted = ranking_scores(scores, has, weights[None])
    repeated = ranking_scores(np.repeat(scores, weights), np.repeat(has, weights))
    moved = ranking_scores(np.exp(3 * scores) - 7, has, weights[None])
    for name in MEASURES:
        assert weighted[name] == pytest.approx(repeated[name]) and weighted[name] == pytest.approx(moved[name])
    assert ranking_scores(scores, has)["auroc"][0] == pytest.approx(auroc(scores, has))
    turned = ranking_scores(-scores, has, weights[None])["auroc"]
    assert weighted["auroc"] + turned == pytest.approx(1)


def test_a_threshold_keeps_its_specificity():
    has = np.array([True] * 4 + [False] * 20)
    scores = np.concatenate([[0.9, 0.8, 0.5, 0.1], [0.85, 0.6], np.linspace(0.0, 0.4, 18)])
    found = ranking_scores(scores, has)
    assert found["sensitivity_at_95"] == 0.5 and found["sensitivity_at_90"] == 0.75  # one, and two, of 20 false


def test_a_resample_without_one_side_says_nothing():
    found = ranking_scores([0.1, 0.9, 0.4], [True, False, False], np.array([[0, 1, 1], [1, 0, 0], [1, 1, 1]]))
    for values in found.values():
        assert np.isnan(values[:2]).all() and not np.isnan(values[2])


def test_the_mean_over_classes_is_scikit_learns_one_against_the_rest():
    cell = make_cell(60, seeds=(0, 1), skill=0.6)
    found = cell_rankings(cell)
    wanted = [roc_auc_score(cell.labels, p, multi_class="ovr", average="macro") for p in cell.probabilities]
    assert macro(found["auroc"], np.ones(3, bool))[0] == pytest.approx(np.mean(wanted))
    truth = np.eye(3)[cell.labels]
    precision = [average_precision_score(truth, p, average="macro") for p in cell.probabilities]
    assert macro(found["auprc"], np.ones(3, bool))[0] == pytest.approx(np.mean(precision))
    assert found["auroc"].shape == (1, len(CLASSES))
    assert np.isnan(macro(found["auroc"], np.zeros(3, bool))).all()

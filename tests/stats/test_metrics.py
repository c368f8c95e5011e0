"""Scores from confusion matrices against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.stats.metrics import scores

RELAXED = settings(max_examples=40, deadline=None)  # a busy machine is slow, not wrong
PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@RELAXED
@given(PAIRS)
def test_scores_are_scikit_learns(pairs):
    labels, predicted = (np.array(x) for x in zip(*pairs, strict=True))
    found = scores(sk.confusion_matrix(labels, predicted, labels=[0, 1, 2]))
    options = {"average": "macro", "zero_division": 0}
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, predicted, **options))
    assert found["precision"] == pytest.approx(sk.precision_score(labels, predicted, **options))
    assert found["recall"] == pytest.approx(sk.recall_score(labels, predicted, **options))
    ppv, sensitivity, f1, _ = sk.precision_recall_fscore_support(labels, predicted, labels=[0, 1, 2], zero_division=0)
    for name, expected in (("ppv", ppv), ("sensitivity", sensitivity), ("class_f1", f1)):
        assert found[name] == pytest.approx(expected)


def test_scores_of_many_matrices_are_scores_of_each():
    matrices = np.random.default_rng(0).integers(0, 9, (4, 5, 3, 3))
    together = scores(matrices)
    for name, values in together.items():
        for i, j in np.ndindex(4, 5):
            np.testing.assert_allclose(values[i, j], scores(matrices[i, j])[name])


def test_no_images_give_zeros():
    assert all((value == 0).all() for value in scores(np.zeros((3, 3))).values())

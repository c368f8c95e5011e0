import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from xray_debug.stats.recall import mean_recall


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_mean_recall_is_scikit_learn_s_balanced_accuracy(seed):
    rng = np.random.default_rng(seed)
    labels, guesses = rng.integers(0, 3, (2, 5, 40))
    expected = [balanced_accuracy_score(y, g) for y, g in zip(labels, guesses, strict=True)]
    assert mean_recall(guesses == labels, labels, axis=-1) == pytest.approx(expected)


def test_classes_that_do_not_occur_do_not_count():
    assert mean_recall(np.array([1.0, 0.0, 1.0]), np.array([0, 0, 2])) == 0.75

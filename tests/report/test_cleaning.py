"""Does a yes/no fact give the class away: against an exhaustive search, scikit-learn and a plain permutation test."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from xray_debug.config import parse_config
from xray_debug.report.cleaning import best_balanced_accuracy, kept, predicts_label


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=6, max_size=40))
def test_the_best_guess_is_found(rows):
    fact = np.array([row[0] for row in rows], int)
    labels = np.array([0, 1, 2] + [row[1] for row in rows[3:]])  # every class occurs
    sizes, yes = np.bincount(labels), np.bincount(labels, weights=fact)
    guesses = [np.array(rule)[fact] for rule in product(range(3), repeat=2)]
    best = max(np.mean([(g[labels == k] == k).mean() for k in range(3)]) for g in guesses)
    assert best_balanced_accuracy(yes, sizes) == pytest.approx(best)


def test_against_scikit_learn():
    fact, labels = np.array([1, 1, 1, 0, 0, 0, 1, 0]), np.array(list("aaabbbbb"))
    found = predicts_label(fact, labels, 99, 0)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, np.where(fact == 1, "a", "b")))
    assert found["auc"]["a"] == pytest.approx(roc_auc_score(labels == "a", fact))
    assert found["auc"]["b"] == pytest.approx(roc_auc_score(labels == "b", fact))


def test_the_p_value_agrees_with_permuting_labels():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 60)
    fact = rng.random(60) < np.array([0.5, 0.5, 0.25])[labels]
    found = predicts_label(fact, labels, 4000, 0)
    sizes = np.bincount(labels)
    shuffled = [rng.permutation(labels) for _ in range(4000)]
    scores = [best_balanced_accuracy(np.bincount(y, weights=fact, minlength=3), sizes) for y in shuffled]
    assert found["p"] == pytest.approx(np.mean(np.array(scores) >= found["balanced_accuracy"] - 1e-12), abs=0.03)
    assert found["by_chance"] == pytest.approx(np.mean(scores), abs=0.005)


def test_a_fact_that_is_the_class_and_one_that_says_nothing():
    labels = np.array(["x", "y"] * 40)
    assert predicts_label(labels == "x", labels, 199, 0)["p"] == 1 / 200
    nothing = predicts_label(np.ones(80, bool), labels, 199, 0)
    assert nothing["p"] == 1 and nothing["balanced_accuracy"] == 0.5 and nothing["auc"] == {"x": 0.5, "y": 0.5}


def test_letters_that_stay_are_counted_by_class():
    found = [("a", 1, 2, 3, 4, "R"), ("a", 5, 6, 7, 8, "L"), ("c", 1, 2, 3, 4, "L"), ("gone", 0, 0, 1, 1, "R")]
    letters = pd.DataFrame(found, columns=["image_id", "x0", "y0", "x1", "y1", "text"])
    flags = pd.DataFrame({"image_id": ["a", "b", "c"], "label": ["x", "x", "y"]})
    store = SimpleNamespace(has=lambda name: name == "letters", table=lambda name: letters)
    config = parse_config({"phantom": {}, "clean": {"keep": "laterality"}})
    run = SimpleNamespace(config=config, store=store, classes=["x", "y", "z"])
    found = kept(run, flags)
    assert (found["letters"], found["images"], found["by_class"]) == (3, 2, {"x": 1, "y": 1, "z": 0})
    assert "3 laterality letters in 2 images" in found["text"] and "x 1 of 2, y 1 of 1, z 0 of 0" in found["text"]
    run.config = parse_config({"phantom": {}})
    assert kept(run, flags) is None  # an earlier run's letters, and all text was to go

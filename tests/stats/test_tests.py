"""Every test against scipy, the rule as its author states it, or a simulation."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.stats import tests

RELAXED = settings(max_examples=40, deadline=None)  # a busy machine is slow, not wrong
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)

@RELAXED
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_the_binomial_test(pairs):
    a, b = (np.array(x) for x in zip(*pairs, strict=True))
    found = tests.mcnemar(a, b)
    only_a, only_b = sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)
    assert found[:2] == (only_a, only_b)
    expected = scipy.stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p == pytest.approx(expected)
    assert tests.mcnemar(b, a).p == pytest.approx(found.p)


def test_mcnemar_needs_pairs():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        tests.mcnemar([True, False], [True, False, True])


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
    found = tests.holm(p)
    np.testing.assert_allclose(found, slow_holm(p))
    assert (found >= np.array(p) - 1e-15).all() and (found <= 1).all()


def test_holm_published_example_and_nan():
    # Holm's procedure on 0.01 0.04 0.03 0.005: 0.03 0.06 0.06 0.02
    np.testing.assert_allclose(tests.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(tests.holm([0.01, np.nan, 0.03]), [0.02, np.nan, 0.03])
    with pytest.raises(ValueError, match="p_values"):
        tests.holm([0.5, 1.5])


def test_combined_p_is_ruegers():
    assert tests.combined_p([0.03]) == 0.03
    assert tests.combined_p([0.01, 0.5]) == pytest.approx(0.02)
    assert tests.combined_p([0.5, 0.01, 0.02]) == pytest.approx(0.03)
    assert tests.combined_p([0.9, 0.9]) == 1.0


def test_combined_p_is_valid_where_the_tests_are_one_and_the_same():
    p = np.random.default_rng(0).random(20000)
    combined = np.array([tests.combined_p([v] * 3) for v in p])
    assert (combined <= 0.05).mean() <= 0.05

"""What every image has one way or another: who loses, who gains, and how many questions a test can bear."""

import numpy as np
import pandas as pd
import pytest

from xray_debug.audit.following import follow_columns, follow_hypothesis, gain_said, gains, one_way, with_gain
from xray_debug.audit.hypotheses import PERMUTATIONS, Hypothesis, test_all
from xray_debug.audit.measures import Outcomes
from xray_debug.audit.summary import per_patient
from xray_debug.config import AuditConfig

CONFIG, RNG = AuditConfig(min_effect=0.1), np.random.default_rng(0)


def table(own=0.5, gain=0.5, n=12, others=12):
    """Images of class a that lose `own`, images of b that gain `gain` of a; the controls do nothing."""
    rows = [{"label": "a", "x_effect_a": own, "x_control_effect_a": 0.0}] * n
    rows += [{"label": "b", "x_gain_effect_a": gain, "x_gain_control_effect_a": 0.0}] * others
    rows += [{"label": "b", "x_gain_effect_a": np.nan, "x_gain_control_effect_a": np.nan}] * 3  # moved to another class
    frame = pd.DataFrame(rows)
    numbers = frame.columns.drop("label")
    return frame.assign(**{name: frame[name] + RNG.normal(0, 1e-3, len(frame)) for name in numbers})


def test_a_hypothesis_of_those_that_were_moved():
    cases = table(own=0.4, gain=0.3)
    (h,) = follow_hypothesis(cases, "x", "look:x", "a", "words", "said")
    assert len(h.effect) == len(h.control) == 12 and h.own.sum() == 12 and len(h.beyond) == 24
    assert h.beyond[h.own].mean() == pytest.approx(0.4, abs=0.01)
    assert h.beyond[~h.own].mean() == pytest.approx(-0.3, abs=0.01)  # what others gain counts for the separation
    assert follow_hypothesis(cases, "x", "look:x", "b", "words", "said") == []  # none of its images was moved
    assert len(gains(cases, "x", "a")[0]) == 12


@pytest.mark.parametrize(("found", "shown"), [
    ({}, True), ({"gain": 0.06}, True), ({"gain": 0.04}, False), ({"gain": -0.3}, False), ({"others": 7}, False),
    ({"others": 8}, True)])  # fmt: skip
def test_what_others_do_not_gain_is_not_shown(found, shown):
    entry = with_gain({"shown": True, "unit": "images"}, table(**found), "x", "a", CONFIG, 0)
    assert entry["shown"] is shown
    assert entry["gain_elsewhere"]["value"] == pytest.approx(found.get("gain", 0.5), abs=0.01)
    assert f"{found.get('others', 12)} images of other classes gain it by" in gain_said(entry)
    assert with_gain({"shown": False}, table(), "x", "a", CONFIG, 0)["shown"] is False


@pytest.mark.parametrize(("found", "told"), [
    ({}, True), ({"gain": 0.12}, True), ({"gain": 0.08}, False), ({"others": 7}, False),
    ({"gain": -0.3}, False)])  # fmt: skip
def test_what_others_alone_gain_is_told(found, told):
    own = {"shown": False, "n": 12, "effect": {"value": 0.01}}
    assert one_way(with_gain(own, table(own=0.0, **found), "x", "a", CONFIG, 0), CONFIG) is told
    for other in ({"shown": True}, {"n": 7}, {"effect": {"value": 0.06}}):  # shown; too few; they do lose it
        assert not one_way(with_gain(own | other, table(), "x", "a", CONFIG, 0), CONFIG)
    assert not one_way(with_gain(own, table()[:12], "x", "a", CONFIG, 0), CONFIG)  # nobody else


def test_without_other_classes_nothing_is_shown():
    entry = with_gain({"shown": True}, table()[:12], "x", "a", CONFIG, 0)
    assert entry["shown"] is False and entry["gain_elsewhere"] == {"n": 0, "value": None, "low": None, "high": None}


def test_a_patient_with_and_without_text_counts_once():
    """Rows of a patient are kept apart by text; to a question of the look they are one."""
    cases = table(own=0.4, gain=0.3, n=10, others=10).assign(text_visible=0)
    twice = pd.concat([cases, cases.assign(text_visible=1)], ignore_index=True)
    twice["patient_id"] = [f"p{number % len(cases)}" for number in range(len(twice))]
    (h,) = follow_hypothesis(per_patient(twice), "x", "look:x", "a", "words", "said")
    (once,) = follow_hypothesis(cases, "x", "look:x", "a", "words", "said")
    assert h.effect.tolist() == pytest.approx(once.effect.tolist()) and h.beyond.tolist() == pytest.approx(
        once.beyond.tolist())  # fmt: skip
    assert with_gain({"shown": True}, per_patient(twice), "x", "a", CONFIG, 0)["gain_elsewhere"]["n"] == 10


def test_columns_of_a_class_that_the_model_does_not_know():
    out = Outcomes(["image", "f", "c"], np.array([(0.6, 0.4), (0.1, 0.9), (0.5, 0.5)]), ["a", "b"])
    row = follow_columns(out, "x", "other", ["a", "other"], "image", "f", "c")
    assert row["x_gain_effect_a"] == pytest.approx(-0.5) and row["x_gain_control_effect_a"] == pytest.approx(-0.1)
    assert np.isnan([row[f"x_{name}"] for name in ("effect_a", "effect_b", "gain_effect_b")]).all()


def test_many_questions_leave_room_for_one_that_is_true():
    """With a fixed number of permutations the smallest p, times the number of questions, would end above 0.05."""
    rng, own, count = np.random.default_rng(1), np.arange(32) < 16, 104
    assert count / (PERMUTATIONS + 1) > 0.05
    asked = [Hypothesis(str(i), "text", rng.normal(0, 0.1, 16), np.zeros(16), beyond=rng.normal(0, 0.1, 32), own=own)
             for i in range(count - 1)]
    sure = Hypothesis("sure", "text", np.full(16, 0.9), np.zeros(16), beyond=np.where(own, 0.9, 0.0), own=own)
    test_all([*asked, sure], 0)
    assert sure.p_adjusted < 0.05 and min(h.p_adjusted for h in asked) > 0.05


test_all.__test__ = False  # a function of the package, not a test

"""Kinds of text: the rule on boxes, and the description of the text's hypothesis by kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.audit.checks.text import by_kind
from xray_debug.audit.kinds import CAPTION, LETTER, SEVERAL, WORD, kind_of_all, kinds_of_text
from xray_debug.audit.summary import per_patient
from xray_debug.audit.verdict import set_verdict
from xray_debug.config import AuditConfig
from xray_debug.phantom.markers import draw_marker

CORNER, LENGTH = st.integers(0, 300), st.integers(1, 120)
PLACED = st.tuples(CORNER, CORNER, LENGTH, LENGTH).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@pytest.mark.parametrize(("boxes", "kinds"), [
    ([(10, 10, 34, 42)], [LETTER]),
    ([(10, 10, 60, 30)], [WORD]),
    ([(10, 10, 22, 42)], [WORD]),  # too narrow: something on its side
    ([(10, 10, 110, 30)], [CAPTION]),  # a quarter of 400
    ([(10, 10, 30, 110)], [CAPTION]),
    ([(10, 10, 34, 42), (50, 10, 90, 42)], [WORD, WORD]),  # one line of two
    ([(10, 10, 34, 42), (10, 50, 60, 66)], [LETTER, WORD]),  # another line
    ([(10, 10, 30, 30), (35, 10, 55, 30), (60, 10, 80, 30)], [CAPTION] * 3),
    ([(10, 10, 60, 30), (75, 10, 115, 30)], [CAPTION, CAPTION]),  # 105 pixels together
    ([(10, 10, 60, 30), (81, 10, 115, 30)], [WORD, WORD]),  # more than a height apart
])  # fmt: skip
def test_the_rule(boxes, kinds):
    assert kinds_of_text(boxes, 500, 400) == kinds


@given(st.lists(PLACED, max_size=6))
def test_the_rule_knows_neither_order_nor_scale(boxes):
    found = kinds_of_text(boxes, 420, 500)
    assert kinds_of_text(boxes[::-1], 420, 500) == found[::-1]
    assert kinds_of_text([[2 * v for v in box] for box in boxes], 840, 1000) == found


def test_one_kind_several_or_none():
    assert kind_of_all([]) == "" and kind_of_all([WORD, WORD]) == WORD and kind_of_all([WORD, LETTER]) == SEVERAL


def test_phantom_letters_and_words_are_told_apart():
    rng, right = np.random.default_rng(5), []
    film = np.full((256, 256), 60, np.uint8)
    for i in range(90):
        _, boxes = draw_marker(film, ("normal", "pneumonia", "COVID-19")[i % 3], "mixed", rng)
        kinds = kinds_of_text([box.get("outer", box["box"]) for box in boxes], 256, 256)
        right += [(kind == LETTER) == (len(box["text"]) == 1) for box, kind in zip(boxes, kinds, strict=True)]
    assert np.mean(right) > 0.9


def table() -> pd.DataFrame:
    """40 images of two classes: letters cost class a 0.4, words nothing, and five captions are too few."""
    rng, n = np.random.default_rng(0), 40
    kinds = np.array([LETTER] * 18 + [WORD] * 17 + [CAPTION] * 5)
    frame = pd.DataFrame({"image_id": [f"i{i}" for i in range(2 * n)], "label": ["a"] * n + ["b"] * n,
                          "text_kind": np.tile(kinds, 2), "text_visible": 1})  # fmt: skip
    for label in "ab":
        frame[f"effect_{label}"] = rng.normal(0, 0.02, 2 * n)
        frame[f"control_effect_{label}"] = rng.normal(0, 0.02, 2 * n)
    frame.loc[(frame["label"] == "a") & (frame["text_kind"] == LETTER), "effect_a"] += 0.4
    return frame


def test_the_effect_by_kind_is_the_mean_of_its_images():
    frame = table()
    found = by_kind(frame, "a", 0.95, 0)
    own = frame[(frame["label"] == "a") & (frame["text_kind"] == LETTER)]
    assert set(found) == {LETTER, WORD} and found[LETTER]["n"] == 18
    assert found[LETTER]["effect"]["value"] == pytest.approx(own["effect_a"].mean())
    difference = (own["effect_a"] - own["control_effect_a"]).to_numpy()
    assert found[LETTER]["difference"]["value"] == pytest.approx(difference.mean())
    half = 1.96 * difference.std() / np.sqrt(len(difference))  # the closed form that the bootstrap comes near to
    assert found[LETTER]["difference"]["low"] == pytest.approx(difference.mean() - half, abs=half / 2)
    assert found[WORD]["difference"]["low"] < 0 < found[WORD]["difference"]["high"]
    together = by_kind(frame, "all classes", 0.95, 0)
    both = [frame.loc[(frame["label"] == x) & (frame["text_kind"] == LETTER), f"effect_{x}"] for x in "ab"]
    assert together[LETTER]["n"] == 36 and together[CAPTION]["n"] == 10
    assert together[LETTER]["effect"]["value"] == pytest.approx(pd.concat(both).mean())
    assert by_kind(frame.assign(text_visible=0), "a", 0.95, 0) == {}
    assert by_kind(frame.drop(columns="text_kind"), "a", 0.95, 0) == {}


def test_it_describes_and_asks_nothing_more():
    frame = table().assign(predicted="a", kind="", decision_centre_blacked="a", swap_followed=0.0,
                           swap_control_followed=0.0)  # fmt: skip
    config = AuditConfig()
    told, silent = (set_verdict(part, ["a", "b"], config) for part in (frame, frame.drop(columns="text_kind")))
    assert told["classes"]["a"]["text"]["kinds"] and told["hypotheses"] == silent["hypotheses"]
    for label in "ab":
        entry = told["classes"][label]["text"]
        assert {k: v for k, v in entry.items() if k != "kinds"} == {
            k: v for k, v in silent["classes"][label]["text"].items() if k != "kinds"}  # fmt: skip


def test_a_patient_with_two_kinds_has_several():
    frame = table().head(4).assign(text_kind=[LETTER, LETTER, LETTER, WORD], patient_id=["p", "p", "q", "q"])
    assert per_patient(frame)["text_kind"].tolist() == [LETTER, SEVERAL]

"""A case in plain words, each with its own sentence."""

import math

import pytest

from xray_debug.review.words import four_numbers, measures, name_of, percent, why

CASE = {"probability": 0.9, "p_text_removed": 0.25, "predicted": "normal", "decision_text_removed": "COVID-19",
        "control_effect": 0.012, "kind": "decision"}  # fmt: skip


@pytest.mark.parametrize(("row", "boxes", "sentence"), [
    (CASE, 2, "Without its text the model no longer says normal (from 90 % to 25 %) but COVID-19; the same done away "
              "from the text moves it by 1 point."),
    (CASE | {"kind": "probability", "control_effect": math.nan}, 2,
     "Without its text the probability of normal goes from 90 % to 25 %."),
    (CASE | {"kind": "", "p_text_removed": 0.89}, 2,
     "Not flagged: without its text the probability of normal goes from 90 % to 89 %; the same done away from the text "
     "moves it by 1 point."),
    (CASE | {"p_text_removed": math.nan}, 0, "The model says normal (90 %); it sees no text that could be taken away."),
    ({"split": "train"}, 1, "The detector marked this film (1 box), a training image: nothing was measured."),
    ({"split": "test"}, 0, "The detector marked nothing, not audited."),
    (CASE | {"predicted": "a\u202eb"}, 1, "Without its text the model no longer says a\\u202eb (from 90 % to 25 %) but "
                                          "COVID-19; the same done away from the text moves it by 1 point."),
])  # fmt: skip
def test_why(row, boxes, sentence):
    assert why(row, boxes) == sentence


def test_what_was_not_looked_for_is_not_called_absent():
    assert why({"split": "train"}, 0, False) == "Text was not looked for yet (stage detect), a training image."


def test_four_numbers_and_what_is_not_known():
    numbers = four_numbers(CASE | {"p_text_only": 1, "removed_by": "blurred"})
    assert [(n.name, percent(n.value)) for n in numbers] == [
        ("As it is", "90 %"), ("Without text", "25 %"), ("Text alone", "100 %"), ("Controls", "–")]  # fmt: skip
    assert "text blurred" in numbers[1].how


def test_measures_have_names_and_empty_ones_are_left_out():
    row = {"effect": 0.5, "p_inserted_0.06": 0.25, "region_border_area": 0.1, "removed_by": "blurred", "rank": 3,
           "deletion": math.nan, "text_place": "", "effect_normal": 0.1, "passes": 7}  # fmt: skip
    assert measures(row) == [
        ("Probability lost without the text", "0.500"), ("Probability with the most salient 6 % alone", "0.250"),
        ("Share of the film: border", "0.100"), ("Strongest way of taking the text away", "blurred"),
        ("Rank by effect", "3")]  # fmt: skip
    assert name_of("p_normal") is None

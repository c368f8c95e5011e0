import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.audit.flags import add_flags
from xray_debug.config import AuditConfig


def row(image_id, **changes):
    base = {"image_id": image_id, "predicted": "a", "decision_text_removed": "a", "probability": 0.9,
            "p_text_removed": 0.9, "effect": 0.0, "control_effect": 0.01, "control_effect_max": 0.05, "controls": 4,
            "text_visible": 1, "text_boxes": 1, "text_hidden": 0, "adversarial_suspicion": math.nan, "insertion": 0.5,
            "deletion": 0.1, "decision_text_only": "b", "decision_baseline": "b", "removed_by": "inpainted"}
    removals = {f"decision_text_{name}": changes.get("decision_text_removed", "a")
                for name in ("inpainted", "smoothed", "mirrored")}
    return {**base, **removals, **changes}


def flags(*rows):
    return add_flags(pd.DataFrame(rows), AuditConfig(min_effect=0.1)).set_index("image_id")


def test_kinds_reasons_and_order():
    found = flags(
        row("none"),
        row("moved", effect=0.3, p_text_removed=0.6),
        row("flips", effect=0.2, p_text_removed=0.4, decision_text_removed="b"),
        row("flips more", effect=0.7, p_text_removed=0.2, decision_text_removed="b", decision_text_inpainted="a",
            removed_by="smoothed"),
    )
    assert found["kind"].tolist() == ["", "probability", "decision", "decision"]
    assert found["flagged"].tolist() == [False, True, True, True]
    assert found["rank"].to_dict() == {"flips more": 1, "flips": 2, "moved": 3, "none": 4}
    assert found.loc["flips", "reasons"] == (
        "Without its text (inpainted; 3 of 3 ways of removing it agree) the decision changes from a to b (probability "
        "of a from 0.90 to 0.40; the controls move it by 0.01 on average)."
    )
    said = "Without its text (inpainted) the probability of a goes from 0.90 to 0.60"
    assert found.loc["moved", "reasons"].startswith(said)
    assert found.loc["flips more", "reasons"].startswith("Without its text (smoothed over; 2 of 3 ways")
    assert found.loc["none", "reasons"] == ""


@pytest.mark.parametrize("changes, kind", [
    ({"effect": 0.3, "control_effect_max": 0.35}, ""),  # one control does as much
    ({"effect": 0.09}, ""),  # too little
    ({"effect": 0.2, "decision_text_removed": "b", "control_effect": 0.25,
      "control_effect_max": 0.3}, ""),  # removal as such does it
    ({"effect": 0.2, "decision_text_removed": "b", "control_effect_max": 0.25}, "decision"),
    ({"effect": 0.09, "decision_text_removed": "b", "control_effect": 0.0, "control_effect_max": 0.0}, ""),
    ({"effect": 0.1, "decision_text_removed": "b", "control_effect": 0.0, "control_effect_max": 0.0}, "decision"),
    ({"effect": math.nan, "decision_text_removed": "b"}, ""),
    ({"effect": 0.2, "decision_text_removed": "b", "decision_text_inpainted": "a", "decision_text_smoothed": "a",
      "control_effect_max": 0.25}, ""),  # one removal alone, and no more than twice a control
    ({"effect": 0.6, "decision_text_removed": "b", "decision_text_inpainted": "a", "decision_text_smoothed": "a",
      "control_effect_max": 0.25}, "decision"),
    ({"effect": 0.2, "decision_text_removed": "b", "decision_text_smoothed": "", "decision_text_mirrored": "",
      "control_effect_max": 0.25}, "decision"),  # the only removal there is
    ({"effect": 0.3, "control_effect": math.nan, "control_effect_max": math.nan, "controls": 0}, "probability"),
    ({"effect": 0.9, "text_visible": 0}, ""),
])  # fmt: skip
def test_controls_decide(changes, kind):
    assert flags(row("x", **changes))["kind"].iloc[0] == kind


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.3), st.sampled_from("ab"),
                          st.sampled_from(["a", "b", ""])), min_size=1, max_size=20), st.floats(0, 1))  # fmt: skip
def test_no_flag_moves_the_probability_by_less_than_was_asked_for(cases, least):
    rows = [row(str(number), probability=p, p_text_removed=after, effect=p - after, control_effect=control,
                control_effect_max=control, decision_text_removed=said, decision_text_mirrored=third)
            for number, (p, after, control, said, third) in enumerate(cases)]  # fmt: skip
    found = add_flags(pd.DataFrame(rows), AuditConfig(min_effect=least))
    assert (found["effect"][found["flagged"]] >= least).all()
    assert (found["effect"][found["flagged"]] > found["control_effect"][found["flagged"]]).all()


def test_remarks():
    found = flags(
        row("adversarial", adversarial_suspicion=0.8, insertion=0.1),
        row("cropped", text_boxes=3, text_hidden=2),
        row("alone", decision_text_only="a"),
    )
    assert "may be adversarial" in found.loc["adversarial", "remarks"]
    assert found.loc["cropped", "remarks"] == "2 of 3 text boxes lie outside what the model sees"
    assert found.loc["alone", "remarks"] == "its text alone on the blurred image gives a"

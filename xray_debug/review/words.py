"""A case in plain words: why it is here, its four numbers, and names for everything else that was measured."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from xray_debug.data.shown import shown

DECISIONS = {"approve": "approved", "reject": "rejected", "edit": "boxes corrected", "exclude": "excluded"}
REMOVED_BY = {"inpainted": "filled in from around it", "blurred": "blurred", "smoothed": "smoothed over",
              "mirrored": "covered with the other side of the film"}  # fmt: skip


class Number(NamedTuple):
    """One of the four numbers: what it is, its value (a probability in [0, 1]; None: not measured), and how it came."""

    name: str
    value: float | None
    how: str


def _number(row: Mapping, name: str) -> float | None:
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _points(value: float) -> str:
    count = round(100 * abs(value))
    return f"{count} point{'s' * (count != 1)}"


def why(row: Mapping, boxes: int, looked: bool = True) -> str:
    """Why the case is in the queue: one sentence. `looked`: stage detect has looked for text."""
    before, after = _number(row, "probability"), _number(row, "p_text_removed")
    predicted = shown(row.get("predicted") or "")
    count = "1 box" if boxes == 1 else f"{boxes} boxes"
    if before is None:
        where = "a training image" if row.get("split") in ("train", "val") else "not audited"
        if boxes:
            return f"The detector marked this film ({count}), {where}: nothing was measured."
        nothing = "The detector marked nothing" if looked else "Text was not looked for yet (stage detect)"
        return f"{nothing}, {where}."
    if after is None:
        return f"The model says {predicted} ({percent(before)}); it sees no text that could be taken away."
    moved = _number(row, "control_effect")
    beside = "" if moved is None else f"; the same done away from the text moves it by {_points(moved)}"
    change = f"from {percent(before)} to {percent(after)}"
    if row.get("kind") == "decision":
        new = shown(row.get("decision_text_removed") or "")
        return f"Without its text the model no longer says {predicted} ({change}) but {new}{beside}."
    if row.get("kind") == "probability":
        return f"Without its text the probability of {predicted} goes {change}{beside}."
    return f"Not flagged: without its text the probability of {predicted} goes {change}{beside}."


def four_numbers(row: Mapping) -> list[Number]:
    """The probability of the predicted class on the film as it is, without text, with text alone, and on controls."""
    way = REMOVED_BY.get(str(row.get("removed_by")), "taken away")
    return [
        Number("As it is", _number(row, "probability"), "The probability of the predicted class on this film."),
        Number("Without text", _number(row, "p_text_removed"), f"The same with the text {way}, the strongest way."),
        Number("Text alone", _number(row, "p_text_only"), "The same when only the text is left of the film."),
        Number("Controls", _number(row, "p_control_removed"), "The same with equal areas without text taken away."),
    ]


NAMES = {
    "effect": "Probability lost without the text",
    "control_effect": "Probability lost at the controls, on average",
    "control_effect_max": "Probability lost at the strongest control",
    "effect_beyond_controls": "Probability lost beyond the controls",
    "effect_blurred": "Probability lost with the text blurred",
    "control_flips": "Share of controls that change the decision",
    "controls": "Number of controls",
    "text_boxes": "Boxes of text",
    "text_visible": "Boxes that the model sees",
    "text_hidden": "Boxes outside what the model sees",
    "text_area": "Share of the film that is text",
    "text_place": "Where the largest text is",
    "text_kind": "Kind of the text",
    "text_only_gain": "Probability gained by the text alone",
    "control_only_gain": "Probability gained by a control alone",
    "saliency_in_text": "Share of the saliency inside the text",
    "saliency_enrichment": "Saliency inside the text, times an even map",
    "saliency_in_controls": "Share of the saliency inside the controls",
    "saliency_enrichment_controls": "Saliency inside the controls, times an even map",
    "deletion": "Area under the deletion curve",
    "insertion": "Area under the insertion curve",
    "adversarial_suspicion": "Share of the decision that the map does not account for",
    "p_baseline": "Probability on the blurred film",
    "decision_baseline": "Decision on the blurred film",
    "decision_text_removed": "Decision without the text",
    "decision_text_only": "Decision with the text alone",
    "smallest_inserted": "Smallest share of the film that gives the decision",
    "smallest_deleted": "Smallest share whose deletion changes the decision",
    "removed_by": "Strongest way of taking the text away",
    "swaps": "Texts of other films pasted in",
    "swap_followed": "Share of pasted texts that the decision follows",
    "swap_control_followed": "The same for pastes without text",
    "rank": "Rank by effect",
    "label": "Label", "predicted": "Predicted", "source": "Source", "split": "Split", "test_set": "Test set",
    "patient_id": "Patient",
}  # fmt: skip
PATTERNS = (
    (r"p_inserted_(.+)", lambda m: f"Probability with the most salient {100 * float(m[1]):g} % alone"),
    (r"p_deleted_(.+)", lambda m: f"Probability without the most salient {100 * float(m[1]):g} %"),
    (r"p_text_(inpainted|blurred|smoothed|mirrored)", lambda m: f"Probability, text {REMOVED_BY[m[1]]}"),
    (r"p_control_(inpainted|blurred|smoothed|mirrored)", lambda m: f"Probability, controls {REMOVED_BY[m[1]]}"),
    (r"decision_text_(inpainted|blurred|smoothed|mirrored)", lambda m: f"Decision, text {REMOVED_BY[m[1]]}"),
    (r"region_(.+)_p_inpainted", lambda m: f"Probability, {m[1]} filled in"),
    (r"region_(.+)_p_only", lambda m: f"Probability, {m[1]} alone"),
    (r"region_(.+)_area", lambda m: f"Share of the film: {m[1]}"),
)


def name_of(column: str) -> str | None:
    """What a measure of the audit is called; None for those that only the table is for."""
    if column in NAMES:
        return NAMES[column]
    for pattern, words in PATTERNS:
        if match := re.fullmatch(pattern, column):
            return words(match)
    return None


def measures(row: Mapping) -> list[tuple[str, str]]:
    """(name, value) of everything measured that has a name, as text."""
    rows = []
    for column, value in row.items():
        name = name_of(str(column))
        if name is None or value is None or value == "" or value != value:
            continue
        whole = isinstance(value, int) or isinstance(value, float) and value.is_integer() and abs(value) > 1
        rows.append((name, shown(value) if isinstance(value, str) else f"{value:.0f}" if whole else f"{value:.3f}"))
    return rows

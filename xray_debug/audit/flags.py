"""Which cases are flagged, why (one sentence each) and in which order.

No case is flagged whose probability moves by less than `min_effect`. `kind` keeps two findings apart: "decision", the
decision changes when the text is removed and is not explained by removal as such; "probability", it holds but the
probability moves by more than at any control placement. A changed decision must show under two ways of removing, or
under one by far more than at any control: a single fill can be an odd picture.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from xray_debug.audit.removals import REMOVALS, SAID
from xray_debug.config import AuditConfig

ADVERSARIAL = 0.5
AGREEING = 2  # ways of removing that must change the decision
FAR_BEYOND = 2  # times the largest effect of a control, from which one way is enough


def flag_kind(row: pd.Series, config: AuditConfig) -> str:
    """"decision", "probability" or ""."""
    if not row["text_visible"] or not row["effect"] >= config.min_effect:  # an unknown effect is none
        return ""
    mean, most = (0.0 if np.isnan(row[name]) else row[name] for name in ("control_effect", "control_effect_max"))
    changing, tried = changes(row)
    confirmed = changing >= min(AGREEING, tried) or row["effect"] > FAR_BEYOND * most
    if row["decision_text_removed"] != row["predicted"] and row["effect"] > mean and confirmed:
        return "decision"
    return "probability" if row["effect"] > most else ""


def changes(row: pd.Series) -> tuple[int, int]:
    """Of the ways in which the text was removed: how many change the decision, and how many there are."""
    decisions = [row[f"decision_text_{name}"] for name in REMOVALS if row[f"decision_text_{name}"]]
    return sum(decision != row["predicted"] for decision in decisions), len(decisions)


def reason(row: pd.Series) -> str:
    """Why the case is flagged: one sentence with its numbers and the removal that they are of, or ""."""
    if not row["kind"]:  # a case without text, or one that was set aside, has no removal
        return ""
    change = f"from {row['probability']:.2f} to {row['p_text_removed']:.2f}"
    beyond = f"; the controls move it by {row['control_effect']:.2f} on average" if row["controls"] else ""
    by = SAID[row["removed_by"]]
    if row["kind"] == "decision":
        agreeing = "{} of {} ways of removing it agree".format(*changes(row))
        return (f"Without its text ({by}; {agreeing}) the decision changes from {row['predicted']} to "
                f"{row['decision_text_removed']} (probability of {row['predicted']} {change}{beyond}).")
    return f"Without its text ({by}) the probability of {row['predicted']} goes {change}{beyond}."


def remark(row: pd.Series) -> str:
    """What else a reader should know of the case; "" for nothing."""
    parts = []
    if row["adversarial_suspicion"] >= ADVERSARIAL:
        parts.append(f"the salient pixels destroy the decision but do not restore it (insertion "
                     f"{row['insertion']:.2f}, deletion {row['deletion']:.2f}), so the map may be adversarial")
    if row["text_hidden"]:
        parts.append(f"{row['text_hidden']:.0f} of {row['text_boxes']:.0f} text boxes lie outside what the model sees")
    if row["text_visible"] and row["decision_text_only"] == row["predicted"] != row["decision_baseline"]:
        parts.append(f"its text alone on the blurred image gives {row['predicted']}")
    return "; ".join(parts)


def add_flags(cases: pd.DataFrame, config: AuditConfig) -> pd.DataFrame:
    """Cases with flagged, kind, reasons, remarks and rank: 1 = the largest effect, flagged decisions first."""
    cases = cases.copy()
    cases["kind"] = [flag_kind(row, config) for _, row in cases.iterrows()]
    cases["flagged"] = cases["kind"] != ""
    cases["reasons"] = [reason(row) for _, row in cases.iterrows()]
    cases["remarks"] = [remark(row) for _, row in cases.iterrows()]
    weight = cases["kind"].map({"decision": 2, "probability": 1, "": 0})
    order = np.lexsort((cases["image_id"], -cases["effect"].fillna(-9).to_numpy(), -weight.to_numpy()))
    cases["rank"] = np.argsort(order, kind="stable") + 1
    return cases

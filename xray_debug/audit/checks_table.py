"""audit/checks.parquet: one row per test set, check, question and class."""

from __future__ import annotations

import math

import pandas as pd

from xray_debug.audit.verdict import Judged

INTERVALS = ("effect", "control", "difference", "separation")
COLUMNS = ["kind", "check", "question", "test_set", "label", "n", "unit",
           *(f"{name}{end}" for name in INTERVALS for end in ("", "_low", "_high")), "p", "p_adjusted", "shown"]


def checks_table(judged: dict[str, list[Judged]], evidence: dict | None = None,
                 features: dict | None = None, clusters: dict | None = None) -> pd.DataFrame:  # fmt: skip
    """The columns COLUMNS of all that was judged (test set -> hypotheses), of the no-evidence baselines, of
    what the model's features tell, and of candidates that nobody named.

    kind "intervention": effect, control and their difference are means of differences of probability; label "all
    classes" for a question put to all at once. kind "suspicion": effect is the mean recall of guessing the label,
    control that of chance, cross-validated over all images with one per patient, test_set and label "". With check
    "features" effect is the AUROC with which the features tell `question`, control that of the label alone. With
    check "clusters" effect is a kind's share of its class's maps, or a slice's share of errors, control that of the
    other images. A suspicion is never `shown`. What is not known is NaN.
    """
    rows = [_intervention(name, j) for name, found in judged.items() for j in found]
    rows += [_suspicion(name, entry, evidence) for name, entry in (evidence or {}).get("predictors", {}).items()]
    rows += [_known(row) for row in (features or {}).get("rows", ())]
    rows += [_candidate(row) for row in (clusters or {}).get("candidates", ())]
    return pd.DataFrame(rows, columns=COLUMNS)


def _intervention(test_set: str, judged: Judged) -> dict:
    h, entry = judged.hypothesis, judged.entry
    row = {"kind": "intervention", "check": judged.check.name, "question": h.name, "test_set": test_set,
           "label": h.label, **{name: entry[name] for name in ("n", "unit", "p_adjusted", "shown")},
           "p": h.p if h.tested else math.nan}
    for name in INTERVALS:
        for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
            value = (entry[name] or {}).get(key)
            row[name + end] = math.nan if value is None else value
    return row | ({} if h.tested else {"p_adjusted": math.nan})


def _suspicion(name: str, entry: dict, evidence: dict) -> dict:
    return {"kind": "suspicion", "check": entry["check"], "question": name, "test_set": "", "label": "",
            "n": entry.get("n", evidence["patients"]), "unit": "patients", "effect": entry["mean_recall"],
            "control": entry["chance"], "difference": entry["mean_recall"] - entry["chance"], "p": entry["p"],
            "p_adjusted": entry.get("p_adjusted", math.nan), "shown": False}  # fmt: skip


def _candidate(entry: dict) -> dict:
    row = {"kind": "suspicion", "check": "clusters", "question": entry["name"], "test_set": "", "label": entry["label"],
           "n": entry["images"], "unit": "images", "shown": False}  # fmt: skip
    if entry["by"] == "maps":
        return row | {"effect": entry["share"]}
    return row | {"effect": entry["errors"], "control": entry["errors_elsewhere"], "p": entry["p"],
                  "difference": entry["errors"] - entry["errors_elsewhere"], "p_adjusted": entry["p_adjusted"]}


def _known(entry: dict) -> dict:
    row = {"kind": "suspicion", "check": "features", "question": entry["name"], "test_set": "", "label": "",
           "n": entry["images"], "unit": "patients", "p": entry["p"], "p_adjusted": entry["p_adjusted"],
           "shown": False, "difference": entry["features"]["value"] - entry["label"]["value"]}  # fmt: skip
    for name, kind in (("effect", "features"), ("control", "label")):
        row |= {name: entry[kind]["value"], f"{name}_low": entry[kind]["low"], f"{name}_high": entry[kind]["high"]}
    return row

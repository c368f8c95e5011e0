"""What the verdict adds up over the cases: intervals of means, swaps, flags, the model with the centre blacked out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xray_debug.audit.kinds import kind_of_all
from xray_debug.config import AuditConfig
from xray_debug.stats.intervals import bootstrap
from xray_debug.stats.recall import mean_recall

BOOTSTRAP = 2000


def as_dict(interval) -> dict:
    return {"value": float(interval.value), "low": float(interval.low), "high": float(interval.high)}


def mean_interval_of(values: np.ndarray, level: float, seed: int) -> dict:
    """Mean and bootstrap interval over images; None for each where there are no values."""
    if not len(values):
        return {"value": None, "low": None, "high": None}
    return as_dict(bootstrap(np.mean, [values], BOOTSTRAP, seed, level))


def paired(frame: pd.DataFrame, effect: str, control: str) -> tuple[np.ndarray, np.ndarray]:
    """Both columns on the images that have both."""
    if effect not in frame or control not in frame:
        return np.zeros(0), np.zeros(0)
    values = frame[[effect, control]].to_numpy(float)
    values = values[np.isfinite(values).all(axis=1)]
    return values[:, 0], values[:, 1]


def per_patient(cases: pd.DataFrame) -> pd.DataFrame:
    """One row per patient, label and whether the view shows text, effects averaged; as it is without `patient_id`.

    Images of one patient are no independent evidence, so the tests count patients.
    """
    if "patient_id" not in cases or not cases["patient_id"].duplicated().any():
        return cases
    keys = [cases["patient_id"], cases["label"], (cases["text_visible"] > 0).rename("has_text")]
    effects = [name for name in cases.select_dtypes("number") if "effect_" in name or "_alone_" in name
               or name.endswith("_area") or name.startswith("look_")]
    groups = cases.groupby(keys, sort=False)
    result = groups[effects].mean()
    result["text_visible"] = groups["text_visible"].max()
    for name in ("text_place", *(c for c in cases if c.endswith("_p_inpainted"))):
        if name in cases:
            result[name] = groups[name].first()
    if "text_kind" in cases:
        result["text_kind"] = groups["text_kind"].agg(kind_of_all)
    return result.reset_index().drop(columns="has_text")


def counted(cases: pd.DataFrame) -> tuple[str, int]:
    """What the tests count, "patients" where one has several images and "images" else, and how many there are."""
    several = "patient_id" in cases and bool(cases["patient_id"].duplicated().any())
    return ("patients", int(cases["patient_id"].nunique())) if several else ("images", len(cases))


def swap_summary(cases: pd.DataFrame, config: AuditConfig, seed: int) -> dict:
    """How often decisions follow pasted markers, and text-free patches pasted in their place; means over images."""
    pairs = paired(cases, "swap_followed", "swap_control_followed")
    return {"n": len(pairs[0]), "followed": mean_interval_of(pairs[0], config.level, seed),
            "control": mean_interval_of(pairs[1], config.level, seed)}


def flag_summary(cases: pd.DataFrame) -> dict:
    kinds = cases["kind"] if "kind" in cases else pd.Series("", index=cases.index)
    return {"n": int((kinds != "").sum()), "decision": int((kinds == "decision").sum()),
            "probability": int((kinds == "probability").sum()), "of": len(cases)}


def blackout_summary(cases: pd.DataFrame, config: AuditConfig, seed: int) -> dict:
    """Mean recall over classes with the central field set to black, beside that on the images and chance."""
    if not len(cases):
        return {"n": 0}
    codes, names = pd.factorize(cases["label"])
    result = {"n": len(cases), "chance": 1 / len(names)}
    for name, column in (("blacked_out", "decision_centre_blacked"), ("image", "predicted")):
        hits = (cases[column] == cases["label"]).to_numpy(float)
        result[name] = as_dict(bootstrap(mean_recall, [hits, codes], BOOTSTRAP, seed, config.level))
    return result

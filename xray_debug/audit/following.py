"""Whether a class follows something that every image has, one way or another: its look, its side.

Such a thing is not taken away but changed into what images of another class have. Two things must then be seen, each
beyond the controls: images of the class lose its probability when they are moved away from it, and images of other
classes gain it when they are moved to it. The second tells a cue from a nuisance: blur may hide a finding, so that its
class loses; but where sharpening does not make the finding appear, the decision does not follow the sharpness.

Columns of cases.parquet, for a prefix such as look_brightness: `<prefix>_effect_<class>`, what the image's own class
loses, `<prefix>_gain_effect_<class>`, what another class gains that it was moved to, and both with `control_effect`.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from xray_debug.audit.hypotheses import MIN_CASES, Hypothesis
from xray_debug.audit.measures import Outcomes
from xray_debug.audit.summary import mean_interval_of, paired
from xray_debug.config import AuditConfig


def follow_columns(out: Outcomes, prefix: str, label: str, to: list[str], base: str, frame: str,
                   control: str) -> dict[str, float]:
    """The columns of one case of class `label` that was moved from frame `base` to what the classes `to` look like."""
    before, after, matched = (out.vector(name) for name in (base, frame, control))
    row = {}
    for index, name in enumerate(out.classes):
        lost = (before[index] - after[index], before[index] - matched[index])
        own, gained = (lost if name == label else None), (lost if name in to and name != label else None)
        for kind, found, sign in (("", own, 1), ("gain_", gained, -1)):
            for side, value in zip(("effect", "control_effect"), found or (math.nan, math.nan), strict=True):
                row[f"{prefix}_{kind}{side}_{name}"] = sign * float(value)
    return row


def follow_hypothesis(cases: pd.DataFrame, prefix: str, name: str, label: str, words: str,
                      said: str) -> list[Hypothesis]:  # fmt: skip
    """What is asked of one class; nothing where none of its images could be moved."""
    mine = (cases["label"] == label).to_numpy()
    effect, control = _by_patient(cases[mine], f"{prefix}_effect_{label}", f"{prefix}_control_effect_{label}")
    if not len(effect):
        return []
    gain, matched = gains(cases, prefix, label)
    beyond = np.concatenate([effect - control, matched - gain])
    return [Hypothesis(label, name, effect, control, words=words, said=said, beyond=beyond,
                       own=np.arange(len(beyond)) < len(effect))]


def gains(cases: pd.DataFrame, prefix: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """What the class gains on images of others that were moved to it, and under their controls."""
    return _by_patient(cases[(cases["label"] != label).to_numpy()], f"{prefix}_gain_effect_{label}",
                       f"{prefix}_gain_control_effect_{label}")


def _by_patient(cases: pd.DataFrame, effect: str, control: str) -> tuple[np.ndarray, np.ndarray]:
    """Both columns of the images that have both, one mean of each patient: here it does not matter whether an image has
    text, by which the rows of a patient are kept apart (summary.per_patient)."""
    if "patient_id" in cases and effect in cases and control in cases:
        moved = cases[cases[[effect, control]].notna().all(axis=1)]
        cases = moved.groupby("patient_id", sort=False)[[effect, control]].mean()
    return paired(cases, effect, control)


def with_gain(entry: dict, cases: pd.DataFrame, prefix: str, label: str, config: AuditConfig, seed: int) -> dict:
    """The judged entry with `gain_elsewhere`, beyond controls: shown only where that has an interval above 0, too, and
    reaches half of `min_effect`.

    Fewer than MIN_CASES images of other classes show nothing.
    """
    gain, control = gains(cases, prefix, label)
    found = {"n": len(gain), **mean_interval_of(gain - control, config.level, seed)}
    follows = len(gain) >= MIN_CASES and found["low"] > 0 and found["value"] >= config.min_effect / 2
    return {**entry, "gain_elsewhere": found, "shown": bool(entry["shown"] and follows)}


def one_way(entry: dict, config: AuditConfig) -> bool:
    """Whether a question that is not shown has its second half alone: images of other classes gain the class beyond
    their controls, by `min_effect` at least, and its own, enough of them, lose less than half of it.

    So it is where the property of the class is that something is gone (details after a blur): it can be taken from
    other films, and not be given back to the class's own.
    """
    found = entry["gain_elsewhere"]
    follows = found["n"] >= MIN_CASES and found["low"] > 0 and found["value"] >= config.min_effect
    keeps = entry["n"] >= MIN_CASES and entry["effect"]["value"] < config.min_effect / 2
    return bool(follows and keeps and not entry["shown"])


def gain_said(entry: dict) -> str:
    """What images of other classes gain, as the end of a sentence."""
    found = entry["gain_elsewhere"]
    return (f"; so changed, {found['n']} {entry['unit']} of other classes gain it by {found['value']:.2f} "
            f"({found['low']:.2f} to {found['high']:.2f}) beyond their controls")

"""The verdict on a dataset, class by class: relies on text, relies on its absence, relies on a region, not shown.

Computed from the rows of cases.parquet alone. For each class the question is put to the images that carry its label,
not to those the model assigns to it: among the latter the probability is high by selection, and any change lowers it.

A hypothesis has two halves and needs both. Beyond controls: the intervention lowers the class's probability on its
images by more than its controls do on the same images (sign-flip test). Separation: it does so more than on the images
of the other classes (permutation of labels); a model that answers all text alike gains nothing from it. Taking away a
large region spoils any film, so such a region must also separate the class when it is all there is to see. The largest
of the p-values counts and is corrected over all hypotheses of a test set (Holm). All tests are one-sided. Text is also
asked after over all classes at once, each image by the probability of its own label: more images, so a smaller effect
can be shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from xray_debug.audit.summary import (
    BOOTSTRAP,
    as_dict,
    blackout_summary,
    flag_summary,
    mean_interval_of,
    paired,
    per_patient,
    swap_summary,
)
from xray_debug.config import AuditConfig
from xray_debug.stats.intervals import bootstrap, wilson
from xray_debug.stats.randomisation import label_permutation_p, own_over_others, separation, separation_p, sign_flip_p
from xray_debug.stats.tests import holm

SIGN_FLIPS, PERMUTATIONS = 5000, 2000
LARGE = 0.1  # area share from which a region must also tell the class alone
MIN_CASES = 8  # below, a sign-flip test cannot become significant after correction
NOT_SHOWN = "not shown"
ALL = "all classes"


@dataclass
class Hypothesis:
    """One class and one intervention: paired effects and control effects on n images of the class.

    `beyond` and `own`: on all images, effect less control (0 where there is nothing to remove), and whether the image
    is of the class; None for a question that is not put to the other classes' images. `alone`: for a large region, what
    it adds on the baseline by itself, on all images. `codes`: the class of every image, for a question put to all
    classes at once; `beyond` is (N, K) then.
    """

    label: str
    name: str  # text, absence, or region:<name>
    effect: np.ndarray
    control: np.ndarray
    beyond: np.ndarray | None = None
    own: np.ndarray | None = None
    alone: np.ndarray | None = None
    codes: np.ndarray | None = None
    p: float = 1.0
    p_adjusted: float = 1.0


def _beyond(frame: pd.DataFrame, effect: str, control: str) -> np.ndarray:
    """(N,) effect less control on every image, 0 where there was nothing to remove or no place for a control."""
    if effect not in frame or control not in frame:
        return np.zeros(len(frame))
    return (frame[effect] - frame[control]).fillna(0.0).to_numpy(float)


def hypotheses(cases: pd.DataFrame, classes: list[str]) -> list[Hypothesis]:
    """All that is asked of one test set."""
    result = []
    regions = region_names(cases)
    for label in classes:
        mine = (cases["label"] == label).to_numpy()
        own = cases[mine]
        names = (f"effect_{label}", f"control_effect_{label}")
        result.append(Hypothesis(label, "text", *paired(own[own["text_visible"] > 0], *names),
                                 _beyond(cases, *names), mine))
        names = (f"paste_effect_{label}", f"paste_control_effect_{label}")
        result.append(Hypothesis(label, "absence", *paired(own[own["text_visible"] == 0], *names)))
        for region in regions:
            names = (f"region_{region}_effect_{label}", f"region_{region}_control_effect_{label}")
            result.append(Hypothesis(label, f"region:{region}", *paired(own, *names), _beyond(cases, *names), mine,
                                     _alone(cases, region, label)))
    return result + _over_all_classes(cases, classes)


def _over_all_classes(cases: pd.DataFrame, classes: list[str]) -> list[Hypothesis]:
    """The text of all classes at once, where each has enough images with text."""
    cases = cases[cases["label"].isin(classes)]
    seen = cases[cases["text_visible"] > 0]
    if len(classes) < 2 or min((seen["label"] == label).sum() for label in classes) < MIN_CASES:
        return []
    names = {label: (f"effect_{label}", f"control_effect_{label}") for label in classes}
    pairs = [paired(seen[seen["label"] == label], *names[label]) for label in classes]
    beyond = np.stack([_beyond(cases, *names[label]) for label in classes], axis=1)
    codes = cases["label"].map(classes.index).to_numpy()
    return [Hypothesis(ALL, "text", *(np.concatenate(side) for side in zip(*pairs, strict=True)), beyond, codes=codes)]


def _alone(cases: pd.DataFrame, region: str, label: str) -> np.ndarray | None:
    """(N,) gain of the class by the region alone, for regions of LARGE area; None for small ones."""
    area, gain = f"region_{region}_area", f"region_{region}_alone_{label}"
    if area not in cases or not cases[area].mean() >= LARGE:
        return None
    return cases[gain].fillna(0.0).to_numpy(float)


def region_names(cases: pd.DataFrame) -> list[str]:
    return [name[len("region_") : -len("_p_inpainted")] for name in cases.columns
            if name.startswith("region_") and name.endswith("_p_inpainted")]


def test_all(found: list[Hypothesis], seed: int) -> None:
    """Fills p and p_adjusted; hypotheses with too few cases are not tested and cost nothing in the correction."""
    tested = [h for h in found if len(h.effect) >= MIN_CASES]
    for index, h in enumerate(tested):
        h.p = sign_flip_p(h.effect - h.control, SIGN_FLIPS, seed + index)
        if h.codes is not None:
            h.p = max(h.p, label_permutation_p(h.beyond, h.codes, PERMUTATIONS, seed + index))
        elif h.own is not None and not h.own.all():
            parts = [part for part in (h.beyond, h.alone) if part is not None]
            h.p = max(h.p, *(separation_p(part, h.own, PERMUTATIONS, seed + index) for part in parts))
    for h, adjusted in zip(tested, holm([h.p for h in tested]) if tested else [], strict=True):
        h.p_adjusted = float(adjusted)


def judge(h: Hypothesis, config: AuditConfig, seed: int) -> dict:
    """Effect, control, difference and separation with intervals, and whether the hypothesis is shown.

    It is where the corrected p-value is below 1 - level, the interval of the effect excludes that of the controls, and
    the intervals of difference and separation exclude 0. The mean difference must reach `min_effect` for a region and
    half of it for text, so that thousands of images do not turn a change of no consequence into a verdict.
    """
    entry = {"n": len(h.effect), "effect": mean_interval_of(h.effect, config.level, seed),
             "control": mean_interval_of(h.control, config.level, seed),
             "difference": mean_interval_of(h.effect - h.control, config.level, seed),
             "separation": None, "p": h.p, "p_adjusted": h.p_adjusted, "shown": False}
    separates = True
    if h.codes is not None:
        entry["separation"] = mean_interval_of(own_over_others(h.beyond, h.codes), config.level, seed)
        separates = entry["separation"]["low"] > 0
    elif h.own is not None and h.own.any() and not h.own.all():
        found = bootstrap(separation, [h.beyond, h.own], BOOTSTRAP, seed, config.level)
        entry["separation"], separates = as_dict(found), found.low > 0
        if h.alone is not None:
            found = bootstrap(separation, [h.alone, h.own], BOOTSTRAP, seed, config.level)
            entry["alone"], separates = as_dict(found), separates and found.low > 0
    if len(h.effect) >= MIN_CASES:
        least = config.min_effect if h.name.startswith("region:") else config.min_effect / 2
        entry["shown"] = bool(
            separates
            and h.p_adjusted <= 1 - config.level
            and entry["difference"]["low"] > 0
            and entry["effect"]["low"] > entry["control"]["high"]
            and entry["difference"]["value"] >= least
        )
    return entry


def _share(part: pd.DataFrame, level: float) -> dict:
    """Share of images without visible text, with its interval."""
    none = int((part["text_visible"] == 0).sum())
    return {"n": len(part), **as_dict(wilson(none, len(part), level))}


def judge_absence(entry: dict, cases: pd.DataFrame, label: str, config: AuditConfig, seed: int) -> dict:
    """Absence can only be a sign of the class if its images lack text more often than the others do.

    Adds both shares, and what removing text from the other classes' images does to the class (positive: it raises it).
    """
    own, rest = cases[cases["label"] == label], cases[cases["label"] != label]
    entry["textless_here"] = _share(own, config.level) if len(own) else None
    entry["textless_elsewhere"] = _share(rest, config.level) if len(rest) else None
    rarer = bool(len(own) and len(rest) and entry["textless_here"]["low"] > entry["textless_elsewhere"]["high"])
    gain, control = paired(rest[rest["text_visible"] > 0], f"effect_{label}", f"control_effect_{label}")
    entry["removal_elsewhere"] = {"n": len(gain), **mean_interval_of(control - gain, config.level, seed)}
    entry["rarer_text"] = rarer
    entry["shown"] = bool(entry["shown"] and rarer)
    return entry


def places(own: pd.DataFrame, label: str) -> dict:
    """Mean effect by where the largest visible text lies, largest first: place -> {n, effect}."""
    if "text_place" not in own:
        return {}
    groups = own[own["text_visible"] > 0].groupby("text_place")[f"effect_{label}"].agg(["size", "mean"])
    groups = groups.sort_values("mean", ascending=False)
    return {place: {"n": int(row["size"]), "effect": float(row["mean"])} for place, row in groups.iterrows()}


def _numbers(entry: dict) -> str:
    effect, control = entry["effect"], entry["control"]
    return (f"by {effect['value']:.2f} ({effect['low']:.2f} to {effect['high']:.2f}) on average over {entry['n']} "
            f"{entry['unit']}, the controls by {control['value']:.2f} ({control['low']:.2f} to {control['high']:.2f})")


def class_sentences(label: str, entry: dict) -> list[str]:
    """What is shown of one class, each finding in one sentence; or why nothing is."""
    text, absence = entry["text"], entry["absence"]
    result = []
    if text["shown"]:
        where = next(iter(text["places"]), "")
        result.append(f"{label} relies on text: removing it lowers the probability of {label} {_numbers(text)}"
                      + (f"; the strongest markers lie at the {where}." if where else "."))
    if absence["shown"]:
        result.append(f"{label} relies on the absence of text: pasting markers of other images lowers the probability "
                      f"of {label} {_numbers(absence)}.")
    for name, region in entry["regions"].items():
        if region["shown"]:
            result.append(f"{label} relies on region {name!r}: removing it (text already gone) lowers the probability "
                          f"of {label} {_numbers(region)}.")
    return result or [_nothing(label, text, absence)]


def _nothing(label: str, text: dict, absence: dict) -> str:
    if text["n"] < MIN_CASES and absence["n"] < MIN_CASES:
        return f"{label}: not shown, with {text['n']} images with text and {absence['n']} without there are too few."
    parts = []
    if text["n"] >= MIN_CASES:
        parts.append(f"removing text changes its probability {_numbers(text)}")
    if absence["n"] >= MIN_CASES:
        parts.append(f"pasting markers changes it {_numbers(absence)}")
    return f"{label}: not shown; {'; '.join(parts)}."


def class_verdict(label: str, found: list[Hypothesis], cases: pd.DataFrame, config: AuditConfig, seed: int,
                  unit: str) -> dict:
    """{"verdict", "sentences", "text", "absence", "regions"} of one class; `unit` is what is counted."""
    by_name = {h.name: {**judge(h, config, seed), "unit": unit} for h in found if h.label == label}
    text = {**by_name["text"], "places": places(cases[cases["label"] == label], label)}
    absence = judge_absence(by_name["absence"], cases, label, config, seed)
    regions = {name[len("region:") :]: entry for name, entry in by_name.items() if name.startswith("region:")}
    words = ["relies on text"] * text["shown"] + ["relies on its absence"] * absence["shown"]
    words += [f"relies on region {name}" for name, entry in regions.items() if entry["shown"]]
    entry = {"verdict": "; ".join(words) or NOT_SHOWN, "text": text, "absence": absence, "regions": regions}
    return {**entry, "sentences": class_sentences(label, entry)}


def set_verdict(cases: pd.DataFrame, classes: list[str], config: AuditConfig, seed: int = 0) -> dict:
    """The verdict on the audited images of one test set."""
    cases = cases[cases["problem"] == ""] if "problem" in cases else cases
    units = per_patient(cases)
    found = hypotheses(units, classes)
    test_all(found, seed)
    unit = "images" if len(units) == len(cases) else "patients"
    result = {label: class_verdict(label, found, units, config, seed, unit) for label in classes}
    overall = next(({**judge(h, config, seed), "unit": unit} for h in found if h.label == ALL), None)
    together = bool(overall and overall["shown"] and not any(result[c]["text"]["shown"] for c in classes))
    named = [label for label in classes if result[label]["verdict"] != NOT_SHOWN]
    said = ["the classes together rely on text"] * together + [f"{c} {result[c]['verdict']}" for c in named]
    first = [f"The classes together rely on text: removing it lowers the probability of an image's own class "
             f"{_numbers(overall)}."] if together else []
    kinds = {"text": together or any(result[c]["text"]["shown"] for c in classes),
             "absence": any(result[c]["absence"]["shown"] for c in classes),
             "regions": sorted({r for c in classes for r, e in result[c]["regions"].items() if e["shown"]})}
    return {
        "verdict": "; ".join(said) or NOT_SHOWN,
        "sentences": first + [sentence for label in (named or classes) for sentence in result[label]["sentences"]],
        "shown": kinds, "overall": overall, "classes": result, "cases": len(cases), "unit": unit, "units": len(units),
        "hypotheses": sum(len(h.effect) >= MIN_CASES for h in found), "level": config.level,
        "swaps": swap_summary(cases, config, seed), "flagged": flag_summary(cases),
        "centre_blacked_out": blackout_summary(cases, config, seed),
    }  # fmt: skip

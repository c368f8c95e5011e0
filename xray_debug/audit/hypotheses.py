"""What is asked of one class and one intervention, how it is tested, and when it counts as shown.

A hypothesis has two halves and needs both. Beyond controls: the intervention lowers the class's probability on its
images by more than its controls do on the same images (sign-flip test). Separation: it does so more than on the images
of the other classes (permutation of labels); a model that answers all images alike gains nothing from it. Taking away a
large region spoils any film, so such a region must also separate the class when it is all there is to see. The largest
of the p-values counts and is corrected over all hypotheses of a test set (Holm). All tests are one-sided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from xray_debug.audit.summary import BOOTSTRAP, as_dict, mean_interval_of, paired
from xray_debug.config import AuditConfig
from xray_debug.stats.intervals import bootstrap
from xray_debug.stats.randomisation import label_permutation_p, own_over_others, separation, separation_p, sign_flip_p
from xray_debug.stats.seeds import seed_of
from xray_debug.stats.tests import holm

SIGN_FLIPS, PERMUTATIONS = 5000, 2000
PER_QUESTION = 40  # draws of each test for every question, at the least: the smallest p must survive the correction
MIN_CASES = 8  # below, a sign-flip test cannot become significant after correction
ALL = "all classes"


@dataclass
class Hypothesis:
    """One class and one intervention: paired effects and control effects on n images of the class.

    `name`: text, absence, region:<name>, look:<property>, or laterality:<what>. `words`: how it is called where it is
    shown ("relies on text"). `said`: the same in full, with what was done ("relies on text: removing it lowers the
    probability of normal"). `least`: the smallest mean difference to count, as a share of `min_effect`.

    `beyond` and `own`: on all images, effect less control (0 where there is nothing to remove), and whether the image
    is of the class; None for a question that is not put to the other classes' images. `alone`: for a large region, what
    it adds on the baseline by itself, on all images. `codes`: the class of every image, for a question put to all
    classes at once (`label` is ALL); `beyond` is (N, K) then.
    """

    label: str
    name: str
    effect: np.ndarray
    control: np.ndarray
    words: str = ""
    said: str = ""
    least: float = 1.0
    beyond: np.ndarray | None = None
    own: np.ndarray | None = None
    alone: np.ndarray | None = None
    codes: np.ndarray | None = None
    p: float = 1.0
    p_adjusted: float = 1.0

    @property
    def tested(self) -> bool:
        """Whether there are cases enough."""
        return len(self.effect) >= MIN_CASES


def beyond_controls(cases: pd.DataFrame, effect: str, control: str) -> np.ndarray:
    """(N,) effect less control on every image, 0 where there was nothing to remove or no place for a control."""
    if effect not in cases or control not in cases:
        return np.zeros(len(cases))
    return (cases[effect] - cases[control]).fillna(0.0).to_numpy(float)


def class_hypothesis(cases: pd.DataFrame, label: str, name: str, prefix: str, words: str, said: str,
                     large: bool = False) -> Hypothesis:
    """One class asked after the columns `<prefix>_effect_<label>` and `<prefix>_control_effect_<label>` of a check.

    A patient counts once, by the mean of the rows that have both; with text and without it are two (per_patient), but
    here that does not matter. `large`: `<prefix>_alone_<label>` is asked after, too. `words`, `said`: see Hypothesis.
    """
    columns = {short: f"{prefix}_{short}_{label}" for short in ("effect", "control_effect", "alone")}
    frame = pd.DataFrame({short: cases.get(column, np.nan) for short, column in columns.items()},
                         index=cases.index, dtype=float)
    frame["beyond"] = beyond_controls(cases, columns["effect"], columns["control_effect"])
    frame["alone"] = frame["alone"].fillna(0.0)
    lacking = frame[["effect", "control_effect"]].isna().any(axis=1)
    frame.loc[lacking, ["effect", "control_effect"]] = np.nan
    labels = cases["label"]
    if "patient_id" in cases:
        frame = frame.groupby([cases["patient_id"], labels], sort=False).mean()
        labels = frame.index.get_level_values("label")
    own = np.asarray(labels == label)
    return Hypothesis(label, name, *paired(frame[own], "effect", "control_effect"), words=words, said=said,
                      beyond=frame["beyond"].to_numpy(), own=own, alone=frame["alone"].to_numpy() if large else None)


def test_all(found: list[Hypothesis], seed: int) -> None:
    """Fills p and p_adjusted; hypotheses with too few cases are not tested and cost nothing in the correction."""
    tested = [h for h in found if h.tested]
    flips, permutations = (max(count, PER_QUESTION * len(tested)) for count in (SIGN_FLIPS, PERMUTATIONS))
    for h in tested:
        own_seed = seed_of(seed, h.name, h.label)
        h.p = sign_flip_p(h.effect - h.control, flips, own_seed)
        if h.codes is not None:
            h.p = max(h.p, label_permutation_p(h.beyond, h.codes, permutations, own_seed))
        elif h.own is not None and not h.own.all():
            parts = [part for part in (h.beyond, h.alone) if part is not None]
            h.p = max(h.p, *(separation_p(part, h.own, permutations, own_seed) for part in parts))
    for h, adjusted in zip(tested, holm([h.p for h in tested]) if tested else [], strict=True):
        h.p_adjusted = float(adjusted)


def judge(h: Hypothesis, config: AuditConfig, seed: int, unit: str) -> dict:
    """Effect, control, difference and separation with intervals, and whether the hypothesis is shown.

    It is where the corrected p-value is below 1 - level, the interval of the effect excludes that of the controls, and
    the intervals of difference and separation exclude 0. The mean difference must reach `min_effect` for a region and
    half of it for text, so that thousands of images do not turn a change of no consequence into a verdict. `unit` is
    what is counted.
    """
    entry = {"n": len(h.effect), "effect": mean_interval_of(h.effect, config.level, seed),
             "control": mean_interval_of(h.control, config.level, seed),
             "difference": mean_interval_of(h.effect - h.control, config.level, seed),
             "separation": None, "p": h.p, "p_adjusted": h.p_adjusted, "shown": False, "unit": unit}
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
    if h.tested:
        entry["shown"] = bool(
            separates
            and h.p_adjusted <= 1 - config.level
            and entry["difference"]["low"] > 0
            and entry["effect"]["low"] > entry["control"]["high"]
            and entry["difference"]["value"] >= h.least * config.min_effect
        )
    return entry


def numbers(entry: dict) -> str:
    """The figures of an entry as a part of a sentence."""
    effect, control = (f"{plain(side['value'])} ({plain(side['low'])} to {plain(side['high'])})"
                       for side in (entry["effect"], entry["control"]))  # fmt: skip
    return f"by {effect} on average over {entry['n']} {entry['unit']}, the controls by {control}"


def plain(value: float) -> str:
    """Two decimals, and no "-0.00"."""
    return f"{round(value, 2) + 0.0:.2f}"

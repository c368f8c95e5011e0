"""The look of the film: does the decision follow brightness, contrast, gamma, sharpness, noise, JPEG, resolution?

A property in which classes differ (look/typical.py) is moved, on the image without its text, to the value typical of
another class; the control is the same change the other way (look/moves.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from xray_debug.audit.checks.base import CHECKS, Check
from xray_debug.audit.checks.properties import named_bins
from xray_debug.audit.following import follow_columns, follow_hypothesis, gain_said, one_way, with_gain
from xray_debug.audit.frames import Case, Frames
from xray_debug.audit.hypotheses import Hypothesis, numbers, plain
from xray_debug.audit.look.measures import FILM, FILM_MEASURES, MEASURES
from xray_debug.audit.look.moves import Moved, moved
from xray_debug.audit.look.typical import MOST, as_film, film_part
from xray_debug.audit.measures import Outcomes

SAID = {"brightness": "brightness", "contrast": "contrast", "gamma": "gamma", "sharpness": "sharpness",
        "noise": "noise", "jpeg": "JPEG compression", "resolution": "resolution"}  # fmt: skip
TAKE_AWAY = {"sharpness": -1, "noise": -1, "jpeg": 1, "resolution": -1}  # the way on which details are lost
BINS = 8  # of a measure, as a guess of the label
FAR = 0.5  # of the way between the classes' medians, from which an image is worth moving: the others are there already


@dataclass(frozen=True)
class Step:
    """A property that was moved: from `start` to `value`, towards what is typical of class `to`."""

    start: float
    value: float
    to: str


@CHECKS.register("look", help="brightness, contrast, gamma, sharpness, noise, JPEG, resolution as in other classes")
class Look(Check):
    needs = ("looks",)

    def most_frames(self) -> int:
        return 2 * {"off": 0, "screened": MOST, "all": len(MEASURES)}[self.config.look]

    def frames(self, case: Case, frames: Frames) -> dict[str, Step]:
        """Adds look/<property>/moved and look/<property>/control; returns what was moved."""
        height, width = case.original.shape[:2]
        part = film_part(case.viewer, height, width)
        film, kept = as_film(case.text_free, case.viewer, height, width), {}
        for name in case.looks.differ:
            found, step = self._moved(case, film, name)
            if found is None:
                continue
            for kind, image in (("moved", found.image), ("control", found.control)):
                whole = case.text_free.copy()
                whole[part] = image
                frames.add(f"look/{name}/{kind}", whole)
            kept[name] = step
        return kept

    def _moved(self, case: Case, film: np.ndarray, name: str) -> tuple[Moved | None, Step | None]:
        """The property moved towards one of the other classes, drawn at random, or the next if that cannot be done."""
        others, seed = case.looks.others(name, case.label), case.seed_for("look", name)
        if not others:
            return None, None
        medians, start = case.looks.medians[name], MEASURES[name](film)
        for to in (others[i] for i in np.random.default_rng(seed).permutation(len(others))):
            way = medians[to] - medians[case.label]
            if (medians[to] - start) * np.sign(way) < FAR * abs(way):
                continue
            found = moved(film, name, medians[to], seed, start)
            if found is not None:
                return found, Step(start, found.value, to)
        return None, None

    def columns(self, case: Case, out: Outcomes, kept: dict[str, Step] | None) -> dict:
        """Values before and after, the probability and decision then, what the classes lose and gain."""
        row = {}
        for name in case.looks.differ if case.looks is not None else ():
            step = (kept or {}).get(name)
            frame, control = (f"look/{name}/{kind}" for kind in ("moved", "control"))
            row |= {
                f"look_{name}": math.nan if step is None else step.start,
                f"look_{name}_moved": math.nan if step is None else step.value,
                f"look_{name}_to": "" if step is None else step.to,
                f"look_{name}_p": out.p(frame), f"look_{name}_p_control": out.p(control),
                f"look_{name}_decision": out.decision(frame),
                **follow_columns(out, f"look_{name}", case.label, [] if step is None else [step.to], out.without_text,
                                 frame, control),
            }  # fmt: skip
        return row

    def hypotheses(self, cases: pd.DataFrame, label: str) -> list[Hypothesis]:
        return [h for name in _properties(cases, label) for h in follow_hypothesis(
            cases, f"look_{name}", f"look:{name}", label, f"relies on {SAID[name]}",
            f"relies on {SAID[name]}: moving it to what is typical of another class (text already gone) lowers the "
            f"probability of {label}")]  # fmt: skip

    def detail(self, h: Hypothesis, entry: dict, cases: pd.DataFrame, seed: int) -> dict:
        entry = with_gain(entry, cases, h.name.replace(":", "_"), h.label, self.config, seed)
        return {**entry, "one_way": _takes_away(h, cases) and one_way(entry, self.config)}

    def sentence(self, h: Hypothesis, entry: dict) -> str:
        return f"{h.label} {h.said} {numbers(entry)}{gain_said(entry)}."

    def hint(self, h: Hypothesis, entry: dict) -> str:
        """What is seen one way only: a film loses details that no other film gets back."""
        if not entry["one_way"]:
            return ""
        found, name = entry["gain_elsewhere"], SAID[h.name.partition(":")[2]]
        return (f"{h.label}: {name} not shown, but seen one way: {found['n']} {entry['unit']} of other classes, moved "
                f"to what is typical of {h.label}, gain it by {found['value']:.2f} ({found['low']:.2f} to "
                f"{found['high']:.2f}) beyond their controls; its own, moved away, hardly lose it (by "
                f"{plain(entry['effect']['value'])}). Details that are gone cannot be put back, and what hides a "
                f"finding of another class looks the same: train on films of one {name} to tell.")

    def predictors(self, manifest: pd.DataFrame, boxes: dict) -> dict[str, np.ndarray]:
        """Each measure of the films, in bins; none where they were not measured."""
        return {f"{SAID.get(name, name)} of the film": named_bins(manifest[FILM + name].to_numpy(float), BINS)
                for name in FILM_MEASURES if FILM + name in manifest}  # fmt: skip


def _takes_away(h: Hypothesis, cases: pd.DataFrame) -> bool:
    """Whether images of other classes lost details when they were moved to this one."""
    name = h.name.partition(":")[2]
    if name not in TAKE_AWAY or f"look_{name}_gain_effect_{h.label}" not in cases:
        return False
    to = cases[cases[f"look_{name}_gain_effect_{h.label}"].notna()]
    return bool((to[f"look_{name}_moved"] - to[f"look_{name}"]).median() * TAKE_AWAY[name] > 0)


def _properties(cases: pd.DataFrame, label: str) -> Iterator[str]:
    return (name for name in MEASURES if f"look_{name}_effect_{label}" in cases)

"""The absence of text as a sign of a class: markers of other images pasted into the image without its text."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from xray_debug.audit.checks.base import CHECKS, Check, per_class
from xray_debug.audit.frames import Case, Frames
from xray_debug.audit.hypotheses import Hypothesis
from xray_debug.audit.measures import Outcomes, mean_rows
from xray_debug.audit.summary import as_dict, mean_interval_of, paired
from xray_debug.audit.swaps import Donor, choose_donors, paste
from xray_debug.stats.intervals import wilson


@CHECKS.register("absence", help="markers of other classes' images pasted in; text-free patches as controls")
class Absence(Check):
    needs = ("bank",)

    def most_frames(self) -> int:
        return 2 * self.config.swaps

    def frames(self, case: Case, frames: Frames) -> list[Donor]:
        """Adds swap/<i> and swap_control/<i>; returns whose markers were pasted."""
        donors = choose_donors(case.bank, case.label, self.config.swaps, case.seed_for("donors"))
        for index, donor in enumerate(donors):
            for name, pieces in (("swap", donor.markers), ("swap_control", donor.controls)):
                frames.add(f"{name}/{index}", case.viewer.apply(paste(case.text_free_gray, donor, pieces)))
        return donors

    def columns(self, case: Case, out: Outcomes, kept: list[Donor] | None) -> dict:
        base, k = out.vector(out.without_text), len(out.classes)
        return {
            **swap_measures(out, kept or []),
            **per_class(out.classes, paste_effect=base - mean_rows(out.group("swap"), k),
                        paste_control_effect=base - mean_rows(out.group("swap_control"), k)),
        }  # fmt: skip

    def hypotheses(self, cases: pd.DataFrame, label: str) -> list[Hypothesis]:
        textless = cases[(cases["label"] == label) & (cases["text_visible"] == 0)]
        return [Hypothesis(
            label, "absence", *paired(textless, f"paste_effect_{label}", f"paste_control_effect_{label}"),
            words="relies on its absence", least=0.5,
            said=f"relies on the absence of text: pasting markers of other images lowers the probability of {label}",
        )]  # fmt: skip

    def detail(self, h: Hypothesis, entry: dict, cases: pd.DataFrame, seed: int) -> dict:
        """Absence can only be a sign of the class if its images lack text more often than the others do.

        Adds both shares, and what removing text from the other classes' images does to the class (positive: it raises
        it).
        """
        level, label = self.config.level, h.label
        own, rest = cases[cases["label"] == label], cases[cases["label"] != label]
        here, elsewhere = (_textless(part, level) if len(part) else None for part in (own, rest))
        rarer = bool(here and elsewhere and here["low"] > elsewhere["high"])
        gain, control = paired(rest[rest["text_visible"] > 0], f"effect_{label}", f"control_effect_{label}")
        return {**entry, "textless_here": here, "textless_elsewhere": elsewhere,
                "removal_elsewhere": {"n": len(gain), **mean_interval_of(control - gain, level, seed)},
                "rarer_text": rarer, "shown": bool(entry["shown"] and rarer)}


def _textless(part: pd.DataFrame, level: float) -> dict:
    """Share of images without visible text, with its interval."""
    none = int((part["text_visible"] == 0).sum())
    return {"n": len(part), **as_dict(wilson(none, len(part), level))}


def swap_measures(out: Outcomes, donors: list[Donor]) -> dict:
    """How often the decision goes over to the class of the image that the pasted marker comes from."""
    base = out.decision(out.without_text)
    tested = [(i, donor) for i, donor in enumerate(donors) if donor.label != base]
    followed = [out.decision(f"swap/{i}") == donor.label for i, donor in tested]
    controls = [out.decision(f"swap_control/{i}") == donor.label for i, donor in tested]
    return {"swaps": len(tested), "swap_donors": " ".join(donor.image_id for donor in donors),
            "swap_followed": float(np.mean(followed)) if tested else math.nan,
            "swap_control_followed": float(np.mean(controls)) if tested else math.nan}

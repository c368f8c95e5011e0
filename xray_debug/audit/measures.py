"""What the model said of one case's frames, and the formulas by which that becomes a row of cases.parquet.

Probabilities are in [0, 1]; an effect is the probability on the image less the probability after the intervention, so
a positive effect means that what was removed spoke for the class. A measure without its input is NaN or "".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from xray_debug.audit.frames import Case


class Outcomes:
    """Probabilities of one case's frames by name."""

    def __init__(self, names: Sequence[str], probabilities: np.ndarray, classes: Sequence[str]):
        self.table = dict(zip(names, probabilities, strict=True))
        self.classes = list(classes)
        self.predicted = int(self.table["image"].argmax())

    def __contains__(self, name: str) -> bool:
        return name in self.table

    @property
    def without_text(self) -> str:
        """The frame from which pasting and the regions start: without text where there was any."""
        return "text_inpainted" if "text_inpainted" in self.table else "image"

    def p(self, name: str) -> float:
        """Probability of the predicted class on frame `name`; NaN where there is no such frame."""
        return float(self.table[name][self.predicted]) if name in self.table else math.nan

    def decision(self, name: str) -> str:
        return self.classes[int(self.table[name].argmax())] if name in self.table else ""

    def vector(self, name: str) -> np.ndarray:
        """(K,) probabilities, NaN where there is no such frame."""
        return self.table.get(name, np.full(len(self.classes), np.nan))

    def removed(self, what: str, ways: Sequence[str], suffix: str = "") -> tuple[str, np.ndarray]:
        """Of all `ways` to remove `what` ("text", "control"), the one that costs the predicted class most, and (K,).

        Any plausible removal that takes the probability away shows that what was removed had given it; one that leaves
        it may have left a trace of the marker's shape. ("", NaN) where nothing was removed.
        """
        found = {name: self.table[key] for name in ways if (key := f"{what}_{name}{suffix}") in self.table}
        if not found:
            return "", self.vector("")
        return min(found.items(), key=lambda item: item[1][self.predicted])

    def removed_controls(self, ways: Sequence[str]) -> np.ndarray:
        """(C, K): the same for every control placement."""
        count = len(self.group(f"control_{ways[0]}"))
        found = [self.removed("control", ways, f"/{index}")[1] for index in range(count)]
        return np.array(found).reshape(-1, len(self.classes))

    def group(self, prefix: str) -> np.ndarray:
        """(C, K) probabilities of all frames `prefix`/0, `prefix`/1, ..."""
        found = [self.table[f"{prefix}/{i}"] for i in range(len(self.table)) if f"{prefix}/{i}" in self.table]
        return np.array(found).reshape(-1, len(self.classes))


def saliency_share(saliency: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Share of the saliency (S, S) inside the mask, weights in [0, 1], and that share over the mask's area share.

    An even map has enrichment 1 everywhere. (nan, nan) for an empty mask or a map without saliency.
    """
    total, area = float(saliency.sum()), float(mask.mean())
    if total <= 0 or area <= 0:
        return math.nan, math.nan
    mass = float((saliency * mask).sum()) / total
    return mass, mass / area


def adversarial_suspicion(deletion: float, insertion: float, probability: float) -> float:
    """How much of the decision neither curve accounts for: max(0, 1 - (deletion + insertion) / probability).

    0 for a faithful map (little is left after deletion, much comes back by insertion). Near 1 where deleting a few
    pixels destroys the decision but inserting them never restores it, as for adversarial maps (iGOS++, Figure 4).
    NaN where an area is not known.
    """
    if not probability > 0 or math.isnan(deletion + insertion):
        return math.nan
    return max(0.0, 1.0 - (deletion + insertion) / probability)


def smallest_share(shares: Sequence[float], reached: Sequence[bool]) -> float:
    """The smallest share at which something was reached; NaN for never."""
    return min((share for share, yes in zip(shares, reached, strict=True) if yes), default=math.nan)


def mean_of(values: np.ndarray) -> float:
    """Mean of (N,); NaN of nothing."""
    return float(values.mean()) if len(values) else math.nan


def mean_rows(rows: np.ndarray, width: int) -> np.ndarray:
    """Mean of (N, width) over the rows; NaN of nothing."""
    return rows.mean(axis=0) if len(rows) else np.full(width, np.nan)


def salient_measures(out: Outcomes, case: Case) -> dict:
    """Top shares inserted and deleted, the areas of the explanation's curves, the adversarial suspicion."""
    shares, decision = case.config.shares, out.classes[out.predicted]
    row = {f"p_{kind}_{share:g}": out.p(f"{kind}_share/{share:g}") for kind in ("inserted", "deleted")
           for share in shares}
    for kind, wanted in (("inserted", True), ("deleted", False)):
        said = [out.decision(f"{kind}_share/{share:g}") for share in shares] if case.saliency is not None else []
        row[f"smallest_{kind}"] = smallest_share(shares[: len(said)], [(d == decision) == wanted for d in said])
    return {**row, "deletion": case.deletion, "insertion": case.insertion,
            "adversarial_suspicion": adversarial_suspicion(case.deletion, case.insertion, out.p("image"))}

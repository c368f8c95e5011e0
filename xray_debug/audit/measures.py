"""The measures of one case: from the probabilities of its frames and its saliency map to one row of cases.parquet.

Probabilities are in [0, 1]; an effect is the probability on the image less the probability after the intervention, so
a positive effect means that what was removed spoke for the class. A measure without its input is NaN or "".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from xray_debug.audit.frames import CURVE_STEPS, REMOVALS, CaseImages
from xray_debug.audit.swaps import Donor
from xray_debug.config import AuditConfig


class Outcomes:
    """Probabilities of one case's frames by name."""

    def __init__(self, names: Sequence[str], probabilities: np.ndarray, classes: Sequence[str]):
        self.table = dict(zip(names, probabilities, strict=True))
        self.classes = list(classes)
        self.predicted = int(self.table["image"].argmax())

    def __contains__(self, name: str) -> bool:
        return name in self.table

    def p(self, name: str) -> float:
        """Probability of the predicted class on frame `name`; NaN where there is no such frame."""
        return float(self.table[name][self.predicted]) if name in self.table else math.nan

    def decision(self, name: str) -> str:
        return self.classes[int(self.table[name].argmax())] if name in self.table else ""

    def vector(self, name: str) -> np.ndarray:
        """(K,) probabilities, NaN where there is no such frame."""
        return self.table.get(name, np.full(len(self.classes), np.nan))

    def removed(self, what: str, suffix: str = "") -> tuple[str, np.ndarray]:
        """Of all ways to remove `what` ("text", "control"), the one that costs the predicted class most, and (K,).

        Any plausible removal that takes the probability away shows that what was removed had given it; one that leaves
        it may have left a trace of the marker's shape. ("", NaN) where nothing was removed.
        """
        found = {name: self.table[key] for name in REMOVALS if (key := f"{what}_{name}{suffix}") in self.table}
        if not found:
            return "", self.vector("")
        return min(found.items(), key=lambda item: item[1][self.predicted])

    def removed_controls(self) -> np.ndarray:
        """(C, K): the same for every control placement."""
        count = len(self.group("control_inpainted"))
        found = [self.removed("control", f"/{index}")[1] for index in range(count)]
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


def area_under(values: Sequence[float]) -> float:
    """Area under a curve sampled evenly on [0, 1] (trapezoids)."""
    values = np.asarray(values, float)
    return float((values[:-1] + values[1:]).mean() / 2)


def adversarial_suspicion(deletion: float, insertion: float, probability: float) -> float:
    """How much of the decision neither curve accounts for: max(0, 1 - (deletion + insertion) / probability).

    0 for a faithful map (little is left after deletion, much comes back by insertion). Near 1 where deleting a few
    pixels destroys the decision but inserting them never restores it, as for adversarial maps (iGOS++, Figure 4).
    """
    return max(0.0, 1.0 - (deletion + insertion) / probability) if probability > 0 else math.nan


def smallest_share(shares: Sequence[float], reached: Sequence[bool]) -> float:
    """The smallest share at which something was reached; NaN for never."""
    return min((share for share, yes in zip(shares, reached, strict=True) if yes), default=math.nan)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def text_measures(out: Outcomes, case: CaseImages) -> dict:
    """Text alone, blurred, removed, and the same for the controls; effects on the predicted class."""
    p, k = out.p("image"), out.predicted
    row = {"text_boxes": len(case.visible) + case.hidden, "text_visible": len(case.visible), "text_hidden": case.hidden,
           "text_area": float(case.text_mask.mean()), "p_baseline": out.p("baseline"),
           "decision_baseline": out.decision("baseline"), "controls": len(case.control_removed)}
    for what in ("only", "blurred", *REMOVALS):
        row[f"p_text_{what}"] = out.p(f"text_{what}")
        row[f"decision_text_{what}"] = out.decision(f"text_{what}")
        row[f"p_control_{what}"] = _mean(out.group(f"control_{what}")[:, k])
    row["removed_by"], free = out.removed("text")
    row["p_text_removed"] = float(free[k])
    row["decision_text_removed"] = out.classes[int(free.argmax())] if row["removed_by"] else ""
    removed = out.removed_controls()
    row["p_control_removed"] = _mean(removed[:, k])
    row["control_flips"] = _mean((removed.argmax(axis=1) != k).astype(float))
    row["effect"] = p - row["p_text_removed"] if len(case.visible) else 0.0
    row["effect_blurred"] = p - out.p("text_blurred") if len(case.visible) else 0.0
    row["control_effect"] = _mean(p - removed[:, k])
    row["control_effect_max"] = float((p - removed[:, k]).max()) if len(removed) else math.nan
    row["effect_beyond_controls"] = row["effect"] - row["control_effect"]
    row["text_only_gain"] = out.p("text_only") - out.p("baseline")
    row["control_only_gain"] = _mean(out.group("control_only")[:, k] - out.p("baseline"))
    return row


def class_effects(out: Outcomes, regions: Sequence[str]) -> dict:
    """Per class: probability on the image and the effects that the verdict is computed from."""
    image, inpainted = out.vector("image"), out.vector("text_inpainted")
    base = inpainted if "text_inpainted" in out else image
    table = {
        "p": image,
        "p_text_inpainted": inpainted,
        "effect": image - out.removed("text")[1],
        "control_effect": image - _mean_rows(out.removed_controls(), len(image)),
        "paste_effect": base - _mean_rows(out.group("swap"), len(image)),
        "paste_control_effect": base - _mean_rows(out.group("swap_control"), len(image)),
    }
    for name in regions:
        controls = np.array([out.vector(f"region/{name}/control/{i}/inpainted") for i in range(2)])
        table[f"region_{name}_effect"] = base - out.vector(f"region/{name}/inpainted")
        table[f"region_{name}_control_effect"] = base - controls.mean(axis=0)
        table[f"region_{name}_alone"] = out.vector(f"region/{name}/only") - out.vector("baseline")
    return {f"{key}_{name}": float(values[i]) for key, values in table.items() for i, name in enumerate(out.classes)}


def _mean_rows(rows: np.ndarray, width: int) -> np.ndarray:
    return rows.mean(axis=0) if len(rows) else np.full(width, np.nan)


def region_measures(out: Outcomes, regions: Mapping[str, np.ndarray]) -> dict:
    """Probability of the predicted class with each region (name -> mask) inpainted, blurred and alone; its area."""
    row = {}
    for name, mask in regions.items():
        row[f"region_{name}_area"] = float(mask.mean())
        for what in ("inpainted", "blurred", "only"):
            row[f"region_{name}_p_{what}"] = out.p(f"region/{name}/{what}")
        row[f"region_{name}_decision"] = out.decision(f"region/{name}/inpainted")
        row[f"region_{name}_p_control"] = float(np.mean([out.p(f"region/{name}/control/{i}/inpainted")
                                                         for i in range(2)]))
    return row


def salient_measures(out: Outcomes, case: CaseImages, saliency: np.ndarray | None, config: AuditConfig) -> dict:
    """Saliency inside text and controls, top shares inserted and deleted, both areas, the adversarial suspicion."""
    names = ["saliency_in_text", "saliency_enrichment", "saliency_in_controls", "saliency_enrichment_controls",
             "smallest_inserted", "smallest_deleted", "deletion", "insertion", "adversarial_suspicion"]
    row = dict.fromkeys(names, math.nan)
    kinds = ("inserted", "deleted")
    for kind in kinds:
        for share in config.shares:
            row[f"p_{kind}_{share:g}"] = out.p(f"{kind}_share/{share:g}")
    if saliency is None:
        return row
    fine = cv2.resize(saliency.astype(np.float32), case.view.shape[::-1], interpolation=cv2.INTER_LINEAR)
    row["saliency_in_text"], row["saliency_enrichment"] = saliency_share(fine, case.text_mask)
    controls = np.array([saliency_share(fine, mask) for mask in case.control_masks]).reshape(-1, 2)
    if len(controls):
        row["saliency_in_controls"], row["saliency_enrichment_controls"] = controls.mean(axis=0).tolist()
    decision = out.classes[out.predicted]
    for kind, wanted in zip(kinds, (True, False), strict=True):
        reached = [(out.decision(f"{kind}_share/{share:g}") == decision) == wanted for share in config.shares]
        row[f"smallest_{kind}"] = smallest_share(config.shares, reached)
    inner = [step / CURVE_STEPS for step in range(1, CURVE_STEPS)]
    curves = {kind: [out.p(f"{kind}_curve/{share:g}") for share in inner] for kind in kinds}
    start, end = out.p("image"), out.p("baseline")
    row["deletion"] = area_under([start, *curves["deleted"], end])
    row["insertion"] = area_under([end, *curves["inserted"], start])
    row["adversarial_suspicion"] = adversarial_suspicion(row["deletion"], row["insertion"], start)
    return row


def swap_measures(out: Outcomes, donors: Sequence[Donor]) -> dict:
    """How often the decision goes over to the class of the image that the pasted marker comes from."""
    base = out.decision("text_inpainted") or out.decision("image")
    tested = [(i, donor) for i, donor in enumerate(donors) if donor.label != base]
    followed = [out.decision(f"swap/{i}") == donor.label for i, donor in tested]
    controls = [out.decision(f"swap_control/{i}") == donor.label for i, donor in tested]
    return {"swaps": len(tested), "swap_donors": " ".join(donor.image_id for donor in donors),
            "swap_followed": float(np.mean(followed)) if tested else math.nan,
            "swap_control_followed": float(np.mean(controls)) if tested else math.nan}


def measure(out: Outcomes, case: CaseImages, saliency: np.ndarray | None, donors: Sequence[Donor],
            regions: Mapping[str, np.ndarray], config: AuditConfig) -> dict:
    """One row of cases.parquet without the flags."""
    return {
        "predicted": out.classes[out.predicted], "probability": out.p("image"),
        **text_measures(out, case), **salient_measures(out, case, saliency, config), **swap_measures(out, donors),
        "p_centre_blacked": out.p("centre_blacked"), "decision_centre_blacked": out.decision("centre_blacked"),
        **region_measures(out, regions), **class_effects(out, list(regions)),
    }  # fmt: skip

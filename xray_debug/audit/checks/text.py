"""Burned-in text: all of it erased in three ways, shown alone and blurred, with the same at matched places."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pandas as pd

from xray_debug.audit.checks.base import CHECKS, Check, per_class
from xray_debug.audit.frames import Case, Frames, composite
from xray_debug.audit.hypotheses import ALL, MIN_CASES, Hypothesis, beyond_controls, numbers
from xray_debug.audit.kinds import KINDS, kind_of_all, kinds_of_text
from xray_debug.audit.measures import Outcomes, mean_of, mean_rows, saliency_share
from xray_debug.audit.removals import REMOVALS, Removed
from xray_debug.audit.summary import mean_interval_of, paired
from xray_debug.cleaning.controls import place_controls
from xray_debug.data.boxes import as_boxes, thirds_of_largest
from xray_debug.stats.seeds import seed_of

ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


@CHECKS.register("text", help="text erased in three ways, shown alone and blurred; controls at text-free places")
class Text(Check):
    needs = ("text",)

    def most_frames(self) -> int:
        return (2 + len(REMOVALS)) * (self.config.controls + 2)

    def frames(self, case: Case, frames: Frames) -> list[Removed]:
        """Adds text_* and control_*/<i>; returns the control removals."""
        height, width = case.original.shape[:2]
        avoided = np.concatenate([case.boxes, as_boxes(case.devices)])  # a control takes nothing suspicious away
        asked = case.viewer, height, width, case.seed_for("controls"), self.config.controls
        places = place_controls(case.visible, avoided, *asked) or place_controls(case.visible, case.boxes, *asked)
        controls = [case.remover.control(place) for place in places]
        for removed, name in [(case.text, "text_{}"), *((c, f"control_{{}}/{i}") for i, c in enumerate(controls))]:
            frames.add(name.format("only"), composite(case.view, case.baseline, removed.mask))
            frames.add(name.format("blurred"), composite(case.baseline, case.view, removed.mask))
            for way, image in removed.views.items():
                frames.add(name.format(way), image)
        return controls

    def columns(self, case: Case, out: Outcomes, kept: list[Removed] | None) -> dict:
        controls = kept or []
        return {**text_measures(out, case, len(controls)), **saliency_measures(case, controls),
                "text_place": text_place(case), "text_kind": text_kind(case), **text_effects(out)}

    def hypotheses(self, cases: pd.DataFrame, label: str) -> list[Hypothesis]:
        mine = (cases["label"] == label).to_numpy()
        names = (f"effect_{label}", f"control_effect_{label}")
        return [Hypothesis(
            label, "text", *paired(cases[mine & (cases["text_visible"] > 0)], *names), words="relies on text",
            said=f"relies on text: removing it lowers the probability of {label}", least=0.5,
            beyond=beyond_controls(cases, *names), own=mine,
        )]  # fmt: skip

    def over_all_classes(self, cases: pd.DataFrame, classes: list[str]) -> list[Hypothesis]:
        """Each image by the probability of its own label, where each class has enough images with text."""
        cases = cases[cases["label"].isin(classes)]
        seen = cases[cases["text_visible"] > 0]
        if len(classes) < 2 or min((seen["label"] == label).sum() for label in classes) < MIN_CASES:
            return []
        names = {label: (f"effect_{label}", f"control_effect_{label}") for label in classes}
        pairs = [paired(seen[seen["label"] == label], *names[label]) for label in classes]
        beyond = np.stack([beyond_controls(cases, *names[label]) for label in classes], axis=1)
        return [Hypothesis(
            ALL, "text", *(np.concatenate(side) for side in zip(*pairs, strict=True)), words="rely on text", least=0.5,
            said="rely on text: removing it lowers the probability of an image's own class", beyond=beyond,
            codes=cases["label"].map(classes.index).to_numpy(),
        )]  # fmt: skip

    def detail(self, h: Hypothesis, entry: dict, cases: pd.DataFrame, seed: int) -> dict:
        """With the effect by kind of text, and the mean effect by where the largest visible text lies."""
        kinds = by_kind(cases, h.label, self.config.level, seed)
        if h.label == ALL:
            return {**entry, "kinds": kinds}
        return {**entry, "kinds": kinds, "places": places(cases[cases["label"] == h.label], h.label)}

    def sentence(self, h: Hypothesis, entry: dict) -> str:
        where = next(iter(entry.get("places", ())), "")
        tail = f"; the strongest markers lie at the {where}" if where else ""
        return f"{h.label} {h.said} {numbers(entry)}{tail}."


def text_place(case: Case) -> str:
    """Where in the image the largest visible text lies, in thirds: "top left", "middle right", ...; "" for none."""
    found = thirds_of_largest(case.visible, *case.original.shape[:2])
    return "" if found is None else f"{ROWS[found[0]]} {COLUMNS[found[1]]}"


def text_kind(case: Case) -> str:
    """Of what kind all visible text is (kinds.py); "several kinds", "" for none."""
    return kind_of_all(kinds_of_text(case.visible, *case.original.shape[:2]))


def text_measures(out: Outcomes, case: Case, controls: int) -> dict:
    """Text alone, blurred, removed, and the same for the controls; effects on the predicted class."""
    p, k, visible = out.p("image"), out.predicted, len(case.visible) > 0
    row = {"text_boxes": len(case.boxes), "text_visible": len(case.visible), "text_hidden": case.hidden,
           "text_area": float(case.text.mask.mean()), "controls": controls}
    for what in ("only", "blurred", *REMOVALS):
        row[f"p_text_{what}"] = out.p(f"text_{what}")
        row[f"decision_text_{what}"] = out.decision(f"text_{what}")
        row[f"p_control_{what}"] = mean_of(out.group(f"control_{what}")[:, k])
    row["removed_by"], free = out.removed("text", REMOVALS)
    row["p_text_removed"] = float(free[k])
    row["decision_text_removed"] = out.classes[int(free.argmax())] if row["removed_by"] else ""
    removed = out.removed_controls(REMOVALS)
    row["p_control_removed"] = mean_of(removed[:, k])
    row["control_flips"] = mean_of((removed.argmax(axis=1) != k).astype(float))
    row["effect"] = p - row["p_text_removed"] if visible else 0.0
    row["effect_blurred"] = p - out.p("text_blurred") if visible else 0.0
    row["control_effect"] = mean_of(p - removed[:, k])
    row["control_effect_max"] = float((p - removed[:, k]).max()) if len(removed) else math.nan
    row["effect_beyond_controls"] = row["effect"] - row["control_effect"]
    row["text_only_gain"] = out.p("text_only") - out.p("baseline")
    row["control_only_gain"] = mean_of(out.group("control_only")[:, k] - out.p("baseline"))
    return row


def text_effects(out: Outcomes) -> dict:
    """Per class: probability without text (inpainted), effect of the removal, mean effect of the controls."""
    image, controls = out.vector("image"), mean_rows(out.removed_controls(REMOVALS), len(out.classes))
    return per_class(out.classes, p_text_inpainted=out.vector("text_inpainted"),
                     effect=image - out.removed("text", REMOVALS)[1], control_effect=image - controls)


def saliency_measures(case: Case, controls: list[Removed]) -> dict:
    """Saliency inside the text and inside the controls (mean), and over their share of the area; NaN without a map."""
    found, matched = (math.nan, math.nan), (math.nan, math.nan)
    if case.saliency is not None:
        fine = cv2.resize(case.saliency.astype(np.float32), case.view.shape[::-1], interpolation=cv2.INTER_LINEAR)
        found = saliency_share(fine, case.text.mask)
        if controls:
            matched = np.mean([saliency_share(fine, control.mask) for control in controls], axis=0).tolist()
    return dict(zip(("saliency_in_text", "saliency_enrichment", "saliency_in_controls", "saliency_enrichment_controls"),
                    (*found, *matched), strict=True))


def by_kind(cases: pd.DataFrame, label: str, level: float, seed: int) -> dict:
    """The hypothesis on text by kind: kind -> n and the means of effect, control and difference with their intervals.

    Of the class's images (ALL: of every image, by its own class) whose visible text is all of one kind, since all of it
    is removed at once; a kind of fewer than MIN_CASES images is left out. It describes and tests nothing.
    """
    if "text_kind" not in cases:
        return {}
    seen = cases[cases["text_visible"] > 0]
    labels = [label] if label != ALL else [name for name in dict.fromkeys(seen["label"]) if f"effect_{name}" in seen]
    found = {}
    for kind in KINDS:
        own = seen[seen["text_kind"] == kind]
        pairs = [paired(own[own["label"] == name], f"effect_{name}", f"control_effect_{name}") for name in labels]
        effect, control = (np.concatenate(side) for side in zip(*pairs, strict=True)) if pairs else ((), ())
        if len(effect) >= MIN_CASES:
            sides = {"effect": effect, "control": control, "difference": effect - control}
            found[kind] = {"n": len(effect)} | {
                name: mean_interval_of(values, level, seed_of(seed, "kind of text", kind, label))
                for name, values in sides.items()}  # fmt: skip
    return found


def places(own: pd.DataFrame, label: str) -> dict:
    """Mean effect by where the largest visible text lies, largest first: place -> {n, effect}."""
    if "text_place" not in own:
        return {}
    groups = own[own["text_visible"] > 0].groupby("text_place")[f"effect_{label}"].agg(["size", "mean"])
    groups = groups.sort_values("mean", ascending=False)
    return {place: {"n": int(row["size"]), "effect": float(row["mean"])} for place, row in groups.iterrows()}

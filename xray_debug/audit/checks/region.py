"""What all checks of a region have in common: it is removed and shown alone on the image whose text is gone.

A region is removed and revealed in the model's pixels, on the image without its text, so that what it does is not the
text's doing; its controls are masks of the same area elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import cv2
import numpy as np
import pandas as pd

from xray_debug.audit.checks.base import Check, per_class
from xray_debug.audit.frames import Case, Frames, centre_box, composite
from xray_debug.audit.hypotheses import Hypothesis, class_hypothesis
from xray_debug.audit.measures import Outcomes
from xray_debug.cleaning.controls import moved_masks

CONTROLS = 2
INPAINT_RADIUS = 3  # view pixels
SEEN = 0.1  # covered share from which a view pixel belongs to a mask
LARGE = 0.1  # area share from which a region must also tell the class alone
PER_REGION = 3 + CONTROLS  # frames


class RegionCheck(Check, ABC):
    """A check of one or more regions. It says where they are; frames, columns and questions follow from that."""

    regions: tuple[str, ...] = ()  # names; a column or a question bears the region's name
    all_round = False  # whether it goes all round the film, so that it shows the film's look as the rest does

    @abstractmethod
    def masks(self, case: Case) -> dict[str, np.ndarray]:
        """name -> bool (S, S) in the view, of the regions that this image has."""

    def most_frames(self) -> int:
        return PER_REGION * len(self.regions)

    def frames(self, case: Case, frames: Frames) -> dict[str, np.ndarray]:
        """For every region: inpainted, blurred, alone on the baseline; and CONTROLS matched masks inpainted.

        Returns the masks; a region of which the view shows nothing, or nothing but it, is left out.
        """
        masks = {name: mask for name, mask in self.masks(case).items() if mask.any() and not mask.all()}
        image, base = case.text_free, case.baseline
        for name, mask in masks.items():
            weight = mask.astype(np.float32)
            frames.add(f"region/{name}/inpainted", without(image, mask))
            frames.add(f"region/{name}/blurred", composite(base, image, weight))
            frames.add(f"region/{name}/only", composite(image, base, weight))
            controls = moved_masks(mask, case.text.mask > 0, case.seed_for("regions"), CONTROLS)
            for index, control in enumerate(controls):
                frames.add(f"region/{name}/control/{index}", without(image, control))
        return masks

    def columns(self, case: Case, out: Outcomes, kept: dict[str, np.ndarray] | None) -> dict:
        """Probability of the predicted class with each region inpainted, blurred and alone; its area; class effects."""
        row, base = {}, out.vector(out.without_text)
        for name, mask in (kept or {}).items():
            controls = out.group(f"region/{name}/control").mean(axis=0)
            row[f"region_{name}_area"] = float(mask.mean())
            for what in ("inpainted", "blurred", "only"):
                row[f"region_{name}_p_{what}"] = out.p(f"region/{name}/{what}")
            row[f"region_{name}_decision"] = out.decision(f"region/{name}/inpainted")
            row[f"region_{name}_p_control"] = float(controls[out.predicted])
            row |= per_class(out.classes, **{
                f"region_{name}_effect": base - out.vector(f"region/{name}/inpainted"),
                f"region_{name}_control_effect": base - controls,
                f"region_{name}_alone": out.vector(f"region/{name}/only") - out.vector("baseline"),
            })  # fmt: skip
        return row

    def hypotheses(self, cases: pd.DataFrame, label: str) -> list[Hypothesis]:
        return [class_hypothesis(
            cases, label, f"region:{region}", f"region_{region}", f"relies on region {region}",
            f"relies on region {region!r}: removing it (text already gone) lowers the probability of {label}",
            large=_is_large(cases, region),
        ) for region in self.regions if f"region_{region}_p_inpainted" in cases]  # fmt: skip


def _is_large(cases: pd.DataFrame, region: str) -> bool:
    area = f"region_{region}_area"
    return area in cases and bool(cases[area].mean() >= LARGE)


def margin_mask(size: int, margin: float) -> np.ndarray:
    """bool (size, size): everything outside the central field."""
    mask = np.ones((size, size), bool)
    x0, y0, x1, y1 = centre_box(size, size, margin)
    mask[y0:y1, x0:x1] = False
    return mask


def seen_mask(mask: np.ndarray, case: Case) -> np.ndarray:
    """bool (S, S) of a mask of the image, (H, W), in the view, one pixel wider: the rim that resizing smears."""
    seen = (case.viewer.mask_to_view(mask) > SEEN).astype(np.uint8)
    return cv2.dilate(seen, np.ones((3, 3), np.uint8)) > 0


def without(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """float (S, S) in [0, 1] with the mask inpainted (Telea) in 8 bits; elsewhere exactly as it was."""
    levels = np.round(image * 255).astype(np.uint8)
    filled = cv2.inpaint(levels, mask.astype(np.uint8), INPAINT_RADIUS, cv2.INPAINT_TELEA)
    return np.where(mask, filled.astype(np.float32) / np.float32(255), image)

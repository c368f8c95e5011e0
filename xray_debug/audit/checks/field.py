"""What lies outside the central field, where there is no lung to speak of; and the image with its centre black."""

from __future__ import annotations

import numpy as np

from xray_debug.audit.checks.base import CHECKS
from xray_debug.audit.checks.region import RegionCheck, margin_mask
from xray_debug.audit.frames import Case, Frames, blacked_out
from xray_debug.audit.measures import Outcomes

MARGIN = 0.125  # fraction of each side


@CHECKS.register("field", help="all outside the central 75 x 75 %; the image with its middle 60 x 60 % black")
class Field(RegionCheck):
    regions = ("outside centre",)
    all_round = True

    def masks(self, case: Case) -> dict[str, np.ndarray]:
        return {"outside centre": margin_mask(len(case.view), MARGIN)}

    def most_frames(self) -> int:
        return super().most_frames() + 1

    def frames(self, case: Case, frames: Frames) -> dict[str, np.ndarray]:
        frames.add("centre_blacked", blacked_out(case.view))
        return super().frames(case, frames)

    def columns(self, case: Case, out: Outcomes, kept: dict[str, np.ndarray] | None) -> dict:
        return {"p_centre_blacked": out.p("centre_blacked"), "decision_centre_blacked": out.decision("centre_blacked"),
                **super().columns(case, out, kept)}

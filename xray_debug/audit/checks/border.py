"""The border of the film: frames, collimator edges, remnants of cropping."""

from __future__ import annotations

import numpy as np

from xray_debug.audit.checks.base import CHECKS
from xray_debug.audit.checks.region import RegionCheck, margin_mask
from xray_debug.audit.frames import Case

MARGIN = 0.05  # fraction of each side


@CHECKS.register("border", help="the outermost 5 % of each side")
class Border(RegionCheck):
    regions = ("border",)
    all_round = True

    def masks(self, case: Case) -> dict[str, np.ndarray]:
        return {"border": margin_mask(len(case.view), MARGIN)}

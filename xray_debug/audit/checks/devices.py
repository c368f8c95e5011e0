"""Devices as the detector found them: electrodes, pacemakers, lines, clips, jewellery."""

from __future__ import annotations

import numpy as np

from xray_debug.audit.checks.base import CHECKS
from xray_debug.audit.checks.region import RegionCheck, seen_mask
from xray_debug.audit.frames import Case
from xray_debug.data.boxes import rasterise_boxes


@CHECKS.register("devices", help="devices that the detector found: electrodes, pacemakers, lines, clips, jewellery")
class Devices(RegionCheck):
    regions = ("devices",)

    def masks(self, case: Case) -> dict[str, np.ndarray]:
        """The boxes in the view, without what was erased as text."""
        mask = rasterise_boxes(case.devices, *case.original.shape[:2])
        return {"devices": seen_mask(mask, case) & ~(case.text.mask > 0)} if mask.any() else {}

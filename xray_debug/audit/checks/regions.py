"""The user's regions: masks in folders, or boxes in a table (audit.regions)."""

from __future__ import annotations

import numpy as np

from xray_debug.audit.checks.base import CHECKS
from xray_debug.audit.checks.region import RegionCheck, seen_mask
from xray_debug.audit.frames import Case
from xray_debug.audit.regions import load_regions
from xray_debug.config import AuditConfig


@CHECKS.register("regions", help="masks or boxes of the user's own (audit.regions)")
class UserRegionsCheck(RegionCheck):
    def __init__(self, config: AuditConfig):
        super().__init__(config)
        self.user = load_regions(config.regions)
        self.regions = tuple(self.user.names)

    def masks(self, case: Case) -> dict[str, np.ndarray]:
        """The regions in the view."""
        found = self.user.masks(case.image_id, *case.original.shape[:2])
        return {name: seen_mask(mask, case) for name, mask in found.items()}

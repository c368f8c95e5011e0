"""The user's regions: masks in folders, or boxes in a table (audit.regions)."""

from __future__ import annotations

import cv2
import numpy as np

from xray_debug.audit.checks.base import CHECKS
from xray_debug.audit.checks.region import RegionCheck
from xray_debug.audit.frames import Case
from xray_debug.audit.regions import load_regions
from xray_debug.config import AuditConfig

SEEN = 0.1  # covered share from which a view pixel belongs to a mask


@CHECKS.register("regions", help="masks or boxes of the user's own (audit.regions)")
class UserRegionsCheck(RegionCheck):
    def __init__(self, config: AuditConfig):
        super().__init__(config)
        self.user = load_regions(config.regions)
        self.regions = tuple(self.user.names)

    def masks(self, case: Case) -> dict[str, np.ndarray]:
        """The regions in the view, one pixel wider: the rim that resizing smears."""
        found = self.user.masks(case.image_id, *case.original.shape[:2])
        seen = {name: (case.viewer.mask_to_view(mask) > SEEN).astype(np.uint8) for name, mask in found.items()}
        return {name: cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0 for name, mask in seen.items()}

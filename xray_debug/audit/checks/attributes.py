"""What else the dataset says of an image (sex, age, view, device ...), as guesses of its label: suspicions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xray_debug.audit.checks.base import CHECKS, Check
from xray_debug.stats.groups import named_groups

PREFIX = "attr_"


@CHECKS.register("attributes", help="how well each attribute of the manifest alone guesses the label")
class Attributes(Check):
    def predictors(self, manifest: pd.DataFrame, boxes: dict) -> dict[str, np.ndarray]:
        """One for each attribute that is not the same everywhere; that it is not known counts as a value."""
        found = {name.removeprefix(PREFIX): named_groups(manifest[name].tolist())
                 for name in manifest if name.startswith(PREFIX)}  # fmt: skip
        return {f"attribute {name}": groups for name, groups in found.items() if len(np.unique(groups)) > 1}

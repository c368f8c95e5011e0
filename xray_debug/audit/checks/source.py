"""Where an image comes from, as a guess of its label: a suspicion, no evidence against a model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xray_debug.audit.checks.base import CHECKS, Check
from xray_debug.stats.groups import named_groups


@CHECKS.register("source", help="how well the source alone guesses the label")
class Source(Check):
    def predictors(self, manifest: pd.DataFrame, boxes: dict) -> dict[str, np.ndarray]:
        return {"source": named_groups(manifest["source"].tolist())}

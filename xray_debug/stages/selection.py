"""Which cases are explained."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xray_debug.config import PipelineConfig
from xray_debug.run.folder import RunError


def check_select(select: str) -> None:
    """RunError for a choice that is none, whatever the classes."""
    kind, sign, name = select.partition(":")
    if not (kind in ("predicted", "label") and name) and not (kind in ("wrong", "all") and not sign):
        raise RunError(f"explain.select: expected predicted:CLASS, label:CLASS, wrong or all, got {select!r}")


def selected_cases(config: PipelineConfig, predictions: pd.DataFrame) -> pd.DataFrame:
    """The test images to explain, as `explain.select` says: predictions of the first seed's model."""
    check_select(config.explain.select)
    kind, _, name = config.explain.select.partition(":")
    first = predictions[predictions["seed"] == config.all_seeds[0]]
    if kind in ("predicted", "label"):
        known = set(first["label"]) | set(first["predicted"])
        if name not in known:
            raise RunError(f"explain.select: expected one of the classes {sorted(known)}, got {name!r}")
        chosen = first[first[kind] == name]
    elif kind == "wrong":
        chosen = first[first["predicted"] != first["label"]]
    else:
        chosen = first
    if config.explain.max_cases is None or len(chosen) <= config.explain.max_cases:
        return chosen
    return chosen.iloc[spread(len(chosen), config.explain.max_cases)]


def spread(count: int, most: int) -> np.ndarray:
    """`most` of `count` places (all, where there are no more), evenly, so that no test set is left out."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int)

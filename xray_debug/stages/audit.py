"""audit: interventions on the test images, controls, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from xray_debug.config import PipelineConfig
from xray_debug.run.engine import TableRows
from xray_debug.run.fingerprint import contents_digest
from xray_debug.run.folder import RunError
from xray_debug.run.store import Store
from xray_debug.stages.base import Context, Stage

MOST = 32


def check(config: PipelineConfig) -> None:
    if config.audit.regions is not None and not Path(config.audit.regions).exists():
        raise RunError(f"audit.regions: {config.audit.regions}: no such folder of masks or table of boxes")


def inputs(store: Store, config: PipelineConfig) -> Mapping[str, str]:
    """The contents of the user's masks or boxes."""
    check(config)
    return {"regions of the user": contents_digest([Path(config.audit.regions)])} if config.audit.regions else {}


def cases_of(store: Store) -> pd.DataFrame:
    """The usable test images with what earlier stages say of them."""
    frame, root = store.manifest(), store.dataset_root()
    names = ["image_id", "patient_id", "label", "source", "test_set", "sha256", "path"]
    cases = frame[frame["split"] == "test"][names].copy()
    cases["file"] = [str(root / path) for path in cases.pop("path")]
    explained = store.table("explanations", ["image_id", "deletion", "insertion"])
    return cases.merge(explained, on="image_id", how="left").reset_index(drop=True)

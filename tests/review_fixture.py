"""A tiny run folder as a reviewer meets it, for the tests of the review."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.data.files import write_json
from xray_debug.data.images import write_image
from xray_debug.run.parts import write_part
from xray_debug.run.store import Store

NASTY = "<script>alert(1)</script> **b** [x](http:y).png".replace("/", "∕")


def write_run(folder: Path, audit: bool = True, maps: bool = True, nasty: str = NASTY) -> Store:
    """Three images; a.png and the nasty one flagged, c.png audited but fine, damaged.png listed but unreadable."""
    store, data = Store(folder), folder / "data"
    data.mkdir(parents=True)
    names = ["a.png", nasty, "c.png", "damaged.png"]
    rng = np.random.default_rng(0)
    for name in names[:3]:
        write_image(data / name, rng.integers(0, 255, (40, 60), np.uint8))
    (data / "damaged.png").write_bytes(b"no image")
    for stage in ("prepare", "detect", *["audit"] * audit, *["explain"] * maps):
        store.stage_folder(stage).mkdir()
        write_json(store.stage_folder(stage) / "stage.json", {})
    manifest = pd.DataFrame({"image_id": names, "path": names}).assign(
        label="COVID-19", source="cohen", split="test", test_set="test", problem="", patient_id="", width=60,
        height=40, sha256="", view_index=range(4),
    )  # fmt: skip
    store.write_table("manifest", manifest)
    store.write_json("dataset", {"root": str(data)})
    if audit:
        cases = pd.DataFrame(
            {"image_id": ["c.png", nasty, "a.png", "damaged.png"], "flagged": [False, True, True, True],
             "rank": [4, 2, 1, 3], "label": "COVID-19", "predicted": "COVID-19", "effect": [0.0, 0.25, 0.5, 0.1],
             "reasons": "text alone"}
        )  # fmt: skip
        store.write_table("cases", cases)
    boxes = {"image_id": ["a.png", "c.png", "damaged.png"], "kind": ["text", "text", "device"], "x0": [5, 0, 0],
             "y0": [6, 0, 0], "x1": [20, 9, 9], "y1": [16, 9, 9], "score": 0.9, "detector": "fake"}  # fmt: skip
    store.write_table("regions", pd.DataFrame(boxes))
    if maps:
        store.path("maps").mkdir()
        rows = [{"image_id": "a.png", "saliency": np.eye(7, dtype=np.float32)}]
        write_part(store.path("maps"), 0, rows, "fake")
    return store

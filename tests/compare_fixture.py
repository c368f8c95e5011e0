"""Two finished runs on the same made-up images, with verdicts, for the tests of compare; no model is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from report_fixture import CLASSES, make_run, small_config

from xray_debug.audit.summary import mean_interval_of
from xray_debug.config import dump_config
from xray_debug.data.files import write_text
from xray_debug.report.compare_verdicts import beyond
from xray_debug.run.store import Store
from xray_debug.stats.seeds import rng_of

QUESTIONS = {"text": "text", "absence": "absence", "border": "region:border"}  # check -> question


def effect_columns(cases: pd.DataFrame, strength: float, name: str) -> pd.DataFrame:
    """The columns that the checks of QUESTIONS write: text speaks for its class by `strength`, nothing else does."""
    rng = rng_of("effects", name)
    for label in CLASSES:
        own = (cases["label"] == label) & (cases["text_visible"] > 0)
        for prefix in ("", "paste_", "region_border_"):
            noise = rng.normal(0, 0.02, (2, len(cases)))
            cases[f"{prefix}effect_{label}"] = noise[0] + strength * own * (prefix == "")
            cases[f"{prefix}control_effect_{label}"] = noise[1]
    return cases


def checks_of(cases: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for test_set, part in cases.groupby("test_set"):
        for check, question in QUESTIONS.items():
            for label in CLASSES:
                found = beyond(part, question, label)
                value = mean_interval_of(found.to_numpy(), 0.95, 0)
                shown = len(found) >= 8 and value["low"] > 0.05
                parts = {f"{name}{end}": value[key] for name in ("effect", "difference")
                         for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))}  # fmt: skip
                rows.append({"kind": "intervention", "check": check, "question": question, "test_set": test_set,
                             "label": label, "n": len(found), "unit": "images", **parts, "control": 0.0,
                             "control_low": -0.01, "control_high": 0.01, "p": 0.001 if shown else 0.5,
                             "p_adjusted": 0.01 if shown else 1.0, "shown": shown})  # fmt: skip
    rows.append({"kind": "suspicion", "check": "source", "question": "source", "test_set": "", "label": ""})
    return pd.DataFrame(rows).assign(shown=lambda table: table["shown"].eq(True))


def finished_run(folder: Path, strength: float, skill: float | None = None, **config) -> Store:
    """A run whose model relies on text by `strength`; with `skill`, its predictions are made anew, as good as that."""
    settings = small_config(**config)
    store = make_run(folder, settings)
    write_text(store.pipeline_file, dump_config(settings))
    cases = effect_columns(store.table("cases"), strength, folder.name)
    store.write_table("cases", cases)
    store.write_table("checks", checks_of(cases))
    if skill is not None:
        predictions, rng = store.table("predictions"), rng_of("skill", folder.name)
        truth = predictions["label"].map(CLASSES.index).to_numpy()
        best = np.where(rng.random(len(truth)) < skill, truth, (truth + rng.integers(1, 3, len(truth))) % 3)
        probabilities = rng.dirichlet([1, 1, 1], len(truth)) * 0.4 + 0.6 * np.eye(3)[best]
        predictions["predicted"] = [CLASSES[i] for i in best]
        store.write_table("predictions", predictions.assign(
            **{f"p_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)}))  # fmt: skip
    return store

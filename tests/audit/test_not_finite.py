"""A model that gives NaN in a process of the audit: the film is set aside by name, the others are as without it."""

import numpy as np
import pandas as pd
import pytest
from nan_fixture import CLASSES, NanWorker

from xray_debug.audit.auditor import finish
from xray_debug.config import AuditConfig, CleanConfig, EngineConfig
from xray_debug.data.images import write_image
from xray_debug.run.engine import Engine, EngineError, TableRows

CONFIG = AuditConfig(controls=1, swaps=0, shares=[0.25])
WHITE = 5


def films(folder, count=12, white=(WHITE,)) -> pd.DataFrame:
    rows, rng = [], np.random.default_rng(0)
    for index in range(count):
        image = np.full((48, 48), 250, np.uint8) if index in white else rng.integers(60, 120, (48, 48), np.uint8)
        image[4:10, 4:12] = 250
        write_image(folder / f"{index:02d}.png", image)
        rows.append((f"{index:02d}.png", CLASSES[index % 2], "s", "test", str(folder / f"{index:02d}.png")))
    return pd.DataFrame(rows, columns=["image_id", "label", "source", "test_set", "file"])


def audited(cases: pd.DataFrame, folder, model="", workers=2) -> list[dict]:
    def add(rows):
        return [{**row, "boxes": [(4, 4, 12, 10)], "saliency": None, "deletion": None, "insertion": None}
                for row in rows]  # fmt: skip

    worker = NanWorker(model, CONFIG.model_dump(), CleanConfig().model_dump(), 3)
    engine = Engine(EngineConfig(workers=workers, processes=True))
    parts = engine.run(worker, TableRows(cases, add), folder, "audit", most=4)
    return parts.table(without=("patch",)).to_dict("records")


def test_a_film_for_which_the_model_gives_nan_is_set_aside_in_a_process(tmp_path):
    cases = films(tmp_path)
    rows = audited(cases, tmp_path / "parts")
    problems = {row["image_id"]: row["problem"] for row in rows if row["problem"]}
    assert problems == {"05.png": "the model gives NaN or infinity for 05.png (frame image)"}
    without = cases.drop(index=WHITE).reset_index(drop=True)
    alone = audited(without, tmp_path / "alone", workers=1)
    kept = [row for row in rows if not row["problem"]]
    names = [name for name in kept[0] if name != "problem"]
    pd.testing.assert_frame_equal(pd.DataFrame(kept)[names], pd.DataFrame(alone)[names], check_dtype=False)
    result = finish(cases, [{name: row[name] for name in names} for row in kept], CLASSES, CONFIG, 3, problems)
    (set_aside,) = result.cases[result.cases["problem"] != ""].to_dict("records")
    assert set_aside["image_id"] == "05.png" and not set_aside["flagged"]


def test_a_model_that_always_gives_nan_ends_the_audit_in_one_sentence(tmp_path):
    words = r"none of \d+ images could be done, the first: .*the model gives NaN"
    with pytest.raises(EngineError, match=words) as error:
        audited(films(tmp_path), tmp_path / "parts", "always")
    assert "\n" not in str(error.value)

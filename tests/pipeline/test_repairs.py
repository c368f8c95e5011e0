"""retrain.repairs in a whole run: rows of the 2x2, audited again on the same cases, resumed and told of."""

import pandas as pd
import pytest

from xray_debug.models.checkpoint import load_checkpoint
from xray_debug.models.repairs import dfr
from xray_debug.report.inputs import read_cells, read_run
from xray_debug.report.repairs import repairs
from xray_debug.run.folder import RunError
from xray_debug.stages import audit_again

REPAIRS = ["dfr", "clean+dfr", "group_dro"]


def test_repairs_are_rows_of_the_2x2_and_audited_again(pipeline, monkeypatch):
    store, before = pipeline.store, pipeline.store.table("retrained predictions")
    pipeline.config.retrain.repairs, pipeline.config.retrain.audit_cases = REPAIRS, 6
    monkeypatch.setattr(dfr, "STRENGTHS", (1.0, 0.1))
    monkeypatch.setattr(dfr, "SUBSAMPLES", 2)
    mend, real, mended = dfr.Dfr.mend, audit_again.audit_again, []
    monkeypatch.setattr(dfr.Dfr, "mend", lambda self, *a: mended.append(1) or mend(self, *a))

    def stop(*_):
        raise RunError("the machine was switched off")

    monkeypatch.setattr(audit_again, "audit_again", stop)
    with pytest.raises(RunError):
        pipeline.run(only="retrain")
    assert len(mended) == 4 and store.table("retrained predictions").equals(before)
    monkeypatch.setattr(audit_again, "audit_again", real)
    assert pipeline.run(only="retrain") == ["retrain"] and len(mended) == 4  # what was mended is not mended again
    assert pipeline.run(only="retrain") == []

    table, keys = store.table("retrained predictions"), ["trained_on", "tested_on", "seed"]
    old = table[~table["trained_on"].isin(REPAIRS)].reset_index(drop=True)
    pd.testing.assert_frame_equal(old, before)
    new = table[table["trained_on"].isin(REPAIRS)]
    assert new.groupby(keys).size().to_dict() == {
        (name, version, seed): 48 for name in REPAIRS for version in ("original", "cleaned") for seed in (0, 1)
    }  # fmt: skip

    cases, checks = store.table("repaired cases"), store.table("repaired checks")
    audited = ["original", "cleaned", *REPAIRS]
    names = {model: part["image_id"].tolist() for model, part in cases.groupby("model")}
    assert set(names) == set(audited) == set(checks["model"])
    assert all(found == names["original"] for found in names.values()) and len(names["dfr"]) == 6
    known = store.table("cases").set_index("image_id").loc[names["original"]]
    assert (known["test_set"] == "test").all()
    asked = {model: set(zip(part["check"], part["question"], part["label"], strict=True))
             for model, part in checks.groupby("model")}  # fmt: skip
    assert all(found == asked["original"] for found in asked.values())
    own = cases[cases["model"] == "dfr"].set_index("image_id")
    model = new[(new["trained_on"] == "dfr") & (new["tested_on"] == "original") & (new["seed"] == 0)]
    said = model.set_index("image_id").loc[own.index, "predicted"]
    assert (own["predicted"] == said).all()

    groups = store.table("groups").set_index("image_id")
    frame = store.manifest().set_index("image_id")
    assert (groups["group"].str.split(", ").str[0] == frame["label"]).all()
    again = load_checkpoint(store.path("retrained") / "repairs" / "dfr" / "seed-1")
    assert again.extra["mended"]["c"] in dfr.STRENGTHS
    assert pipeline.why("report")
    run = read_run(store, pipeline.config, ())
    found = repairs(run, read_cells(run)[0], 200, 0)
    assert [row["model"] for row in found["rows"]] == ["original", "cleaned", "control", *sorted(REPAIRS)]
    assert found["cases"] == 6

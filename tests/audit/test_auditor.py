import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xray_debug.audit.auditor import audit_dataset, check_cost, choose_cases
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.images import ModelView, write_image

CLASSES = ["normal", "COVID-19"]
PLACES = {"normal": (4, 4), "COVID-19": (4, 32)}  # (y, x) of the class's marker
CONFIG = AuditConfig(controls=2, swaps=1, shares=[0.02, 0.25])


class CornerReader(nn.Module):
    """Decides by the brightness of two corners of the film: right for the wrong reason."""

    def __init__(self, gain=30.0):
        super().__init__()
        self.view, self.classes, self.seen = ModelView(24), CLASSES, 0
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, images):
        self.seen += len(images)
        corners = [images[:, 0, 2:5, 2:6].mean((1, 2)), images[:, 0, 2:5, 16:20].mean((1, 2))]
        return self.gain * torch.stack(corners, dim=1)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """24 films with the class's marker, and their boxes."""
    folder, rng, rows, boxes = tmp_path_factory.mktemp("films"), np.random.default_rng(0), [], {}
    for index in range(24):
        label = CLASSES[index % 2]
        image = np.clip(90 + rng.normal(0, 2, (48, 48)), 0, 255).astype(np.uint8)
        y, x = PLACES[label]
        image[y : y + 6, x : x + 8] = 250
        name = f"film{index:02d}.png"
        write_image(folder / name, image)
        boxes[name] = [(x, y, x + 8, y + 6)]
        rows.append((name, label, "s", "test", str(folder / name)))
    return pd.DataFrame(rows, columns=["image_id", "label", "source", "test_set", "file"]), boxes


def run(films, model=None, config=CONFIG, rows=None, **options):
    cases, boxes = films
    cases = cases if rows is None else cases.iloc[rows]
    saliency = {name: np.eye(6, dtype=np.float32) for name in cases["image_id"][:2]}
    return audit_dataset(model or CornerReader(), cases, boxes, saliency, config, CleanConfig(), 3, **options)


@pytest.fixture(scope="module")
def audited(films):
    return run(films)


def test_a_model_that_reads_the_marker_is_named_and_every_case_flagged(audited):
    found = audited.verdict
    assert found["verdict"] == "normal relies on text; COVID-19 relies on text"
    assert audited.cases["flagged"].all() or audited.cases["effect"].min() > 0.3
    assert set(audited.cases["kind"]) <= {"decision", "probability"}
    assert found["shown"]["regions"] == [] and not found["shown"]["absence"]
    assert sorted(audited.cases["rank"]) == list(range(1, 25))
    assert (audited.cases["effect_beyond_controls"] > 0.3).all()


def test_swapped_markers_take_the_decision_with_them(audited):
    assert (audited.cases["swaps"] == 1).sum() >= 8
    assert audited.cases["swap_followed"].mean() == 1 and audited.cases["swap_control_followed"].mean() < 0.5


def test_measures_that_need_a_map_are_there_only_with_one(audited):
    with_map = audited.cases["deletion"].notna()
    assert with_map.sum() == 2
    assert audited.cases.loc[with_map, "p_inserted_0.25"].notna().all()
    assert audited.cases.loc[~with_map, "p_inserted_0.25"].isna().all()


def test_a_model_that_ignores_text_is_not_accused(films):
    class CentreReader(CornerReader):
        def forward(self, images):
            middle = images[:, 0, 10:14, 10:14].mean((1, 2))
            return self.gain * torch.stack([middle - 0.35, 0.35 - middle], dim=1)

    found = run(films, CentreReader())
    assert found.verdict["verdict"] == "not shown" and not (found.cases["kind"] == "decision").any()


def test_passes_are_counted_and_few(films):
    model = CornerReader()
    found = run(films, model)
    assert model.seen == found.passes == found.cases["passes"].sum()
    assert found.cases["passes"].max() == found.verdict["most_passes"] <= 200


def test_the_model_is_left_as_it_was(films):
    model = CornerReader().train()
    run(films, model, rows=[0, 1])
    assert model.training and model.gain.requires_grad and model.gain.grad is None


def test_batches_give_what_single_images_give_and_neighbours_do_not_matter(films, audited):
    config = CONFIG.model_copy(update={"swaps": 0})
    whole = run(films, config=config, rows=range(6)).cases
    part = run(films, config=config.model_copy(update={"batch_size": 3}), rows=[0, 1]).cases
    numbers = [c for c in part.select_dtypes("number") if c != "rank"]
    rows = whole.set_index("image_id").loc[part["image_id"], numbers].to_numpy(float)
    assert np.allclose(rows, part[numbers].to_numpy(float), atol=1e-6, equal_nan=True)


def test_a_broken_file_is_a_row_with_its_problem(films, tmp_path):
    cases, boxes = films
    (tmp_path / "broken.png").write_bytes(b"no image")
    extra = pd.DataFrame([("broken.png", "normal", "s", "test", str(tmp_path / "broken.png"))], columns=cases.columns)
    found = audit_dataset(CornerReader(), pd.concat([cases.iloc[:4], extra]), boxes, {}, CONFIG, CleanConfig(), 3)
    row = found.cases.set_index("image_id").loc["broken.png"]
    assert "broken.png" in row["problem"] and not row["flagged"] and math.isnan(row["effect"])
    assert found.verdict["problems"] == 1 and found.verdict["cases"] == 4


def test_an_interrupted_audit_goes_on(films, audited, tmp_path):
    journal, model = tmp_path / "cases.jsonl", CornerReader()

    def stop(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(films, model, journal=journal, progress=stop)
    journal.write_text(journal.read_text() + '{"image_id": "half')
    assert len(journal.read_text().splitlines()) == 6
    again = CornerReader()
    resumed = run(films, again, journal=journal)
    assert again.seen == audited.passes - sum(audited.cases["passes"][:5])
    pd.testing.assert_frame_equal(resumed.cases, audited.cases, check_dtype=False)


def test_the_verdict_is_plain_json(audited):
    assert json.loads(json.dumps(audited.verdict))["verdict"] == audited.verdict["verdict"]


def test_test_sets_are_judged_apart(films):
    cases, boxes = films
    cases = cases.assign(test_set=["test", "test", "other", "other"] * 6)
    found = audit_dataset(CornerReader(), cases, boxes, {}, CONFIG, CleanConfig(), 3).verdict
    assert sorted(found["test_sets"]) == ["other", "test"]
    assert found["cases"] == 12 and found["test_sets"]["other"]["cases"] == 12


def test_choice_of_cases_is_even_and_keeps_the_order():
    frame = pd.DataFrame({"image_id": range(30), "label": ["a"] * 20 + ["b"] * 10, "test_set": "test"})
    chosen = choose_cases(frame, 8, 1)
    assert chosen["label"].value_counts().to_dict() == {"a": 4, "b": 4}
    assert chosen["image_id"].is_monotonic_increasing
    assert choose_cases(frame, None, 1) is frame


@pytest.mark.parametrize("change, message", [
    (lambda c: c.drop(columns="file"), "file missing"),
    (lambda c: pd.concat([c, c.iloc[:1]]), "film00.png occurs twice"),
])  # fmt: skip
def test_tables_that_cannot_be_audited(films, change, message):
    with pytest.raises(ValueError, match=message):
        audit_dataset(CornerReader(), change(films[0]), films[1], {}, CONFIG, CleanConfig())


def test_options_that_cost_too_much_are_refused():
    check_cost(AuditConfig(regions="x"))
    with pytest.raises(ValueError, match="forward passes a case, expected at most 200"):
        check_cost(AuditConfig(controls=60))

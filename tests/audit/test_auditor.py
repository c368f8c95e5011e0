import json
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xray_debug.audit.auditor import audit_dataset, choose_cases, finish, make_bank
from xray_debug.audit.bank import as_row
from xray_debug.audit.checks_table import COLUMNS
from xray_debug.audit.look.collect import make_looks
from xray_debug.audit.worker import AuditWorker, check_cost
from xray_debug.cleaning.erase import clean_image, erase
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.images import ImageError, read_image, write_image
from xray_debug.data.view import ModelView
from xray_debug.models import build_model, save_checkpoint
from xray_debug.models.inference import folded

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
    areas = {name: (0.125, 0.25) for name in saliency}
    return audit_dataset(model or CornerReader(), cases, boxes, saliency, config, CleanConfig(), 3, areas=areas,
                         **options)


@pytest.fixture(scope="module")
def audited(films):
    return run(films)


def test_a_model_that_reads_the_marker_is_named_and_every_case_flagged(audited):
    found = audited.verdict
    both = "relies on text; relies on the side of the marker"
    assert found["verdict"] == f"normal {both}; COVID-19 {both}"
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
    explained = audited.cases[with_map]
    assert (explained["deletion"] == 0.125).all() and (explained["insertion"] == 0.25).all()
    assert np.allclose(explained["adversarial_suspicion"], (1 - 0.375 / explained["probability"]).clip(0))


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
    assert found.passes == found.cases["passes"].sum()
    assert found.passes <= model.seen < found.passes + 8 * len(found.cases)  # a case's last chunk is filled up
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


def test_progress_counts_every_image(films):
    seen = []
    run(films, rows=range(3), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_no_image_at_all_is_an_error(films, tmp_path):
    cases = films[0].iloc[:2].assign(file=str(tmp_path / "gone.png"))
    with pytest.raises(ValueError, match=r"no image could be audited: .*gone\.png: no such file"):
        audit_dataset(CornerReader(), cases, {}, {}, CONFIG, CleanConfig())


def worker_rows(films):
    cases, boxes = films
    rows = [{**row, "boxes": boxes[row["image_id"]], "saliency": None, "deletion": math.nan, "insertion": math.nan}
            for row in cases.to_dict("records")]
    rows[0] |= {"saliency": np.eye(6, dtype=np.float32), "deletion": 0.125, "insertion": 0.25}
    return rows


def test_a_pickled_worker_in_parts_gives_what_one_process_gives(films, tmp_path):
    cases, boxes = films
    model = build_model("covidnet", CLASSES, ModelView(32), seed=1, width=4, depth=0.2)
    save_checkpoint(model, tmp_path / "model")
    bank = make_bank(cases, boxes, model.view, CONFIG, CleanConfig(), 3)
    pd.DataFrame([as_row(donor) for donor in bank]).to_parquet(tmp_path / "bank.parquet")
    looks = make_looks(cases, boxes, model.view, CONFIG, 3)
    made = AuditWorker(str(tmp_path / "model"), CONFIG.model_dump(), CleanConfig().model_dump(), 3,
                       str(tmp_path / "bank.parquet"), looks=looks)
    rows, parts = worker_rows(films), []
    for part in (rows[10:], rows[:10]):
        worker = pickle.loads(pickle.dumps(made))
        worker.open()
        parts += worker(part)
    saliency, areas = {rows[0]["image_id"]: rows[0]["saliency"]}, {rows[0]["image_id"]: (0.125, 0.25)}
    whole = audit_dataset(folded(model), cases, boxes, saliency, CONFIG, CleanConfig(), 3, areas=areas)
    found = finish(cases, parts, CLASSES, CONFIG, 3, looks=looks)
    assert looks["images"] == 24 and found.verdict["looks"] == looks
    pd.testing.assert_frame_equal(found.cases, whole.cases)
    pd.testing.assert_frame_equal(found.checks, whole.checks)
    assert json.dumps(found.verdict) == json.dumps(whole.verdict)
    assert all(isinstance(row["patch"], bytes) for row in parts) and "patch" not in found.cases
    pd.DataFrame(parts).to_parquet(tmp_path / "part.parquet")  # values that a table can hold


def test_text_is_erased_once_for_bank_cases_and_later_stages(films, monkeypatch):
    cases, boxes = films
    bank = make_bank(cases, boxes, CornerReader().view, CONFIG, CleanConfig(), 3)
    worker = AuditWorker("", CONFIG.model_dump(), {}, 3)
    worker.start(CornerReader(), bank)
    again = []
    monkeypatch.setattr("xray_debug.cleaning.erase.clean_image",
                        lambda image, *rest: again.append(1) or clean_image(image, *rest))
    row = worker(worker_rows(films)[:1])[0]
    assert row["image_id"] in {donor.image_id for donor in bank} and not again
    image = read_image(cases["file"].iloc[0])
    cleaned, _, patch = erase(image, boxes[row["image_id"]], CleanConfig(), row["patch"])
    assert patch == row["patch"] and not again
    assert np.array_equal(cleaned, clean_image(image, boxes[row["image_id"]], CleanConfig())[0])


def test_images_that_were_set_aside_and_images_that_were_forgotten(films):
    cases, boxes = films
    worker = AuditWorker("", CONFIG.model_dump(), {}, 3)
    worker.start(CornerReader(), [])
    rows = worker(worker_rows(films)[:-1])
    last = cases["image_id"].iloc[-1]
    found = finish(cases, rows, CLASSES, CONFIG, 3, {last: "it broke"}, {"predictors": {}, "patients": 3})
    assert found.cases["problem"].tolist() == [""] * 23 + ["it broke"] and found.verdict["problems"] == 1
    assert found.verdict["no_evidence"] == {"predictors": {}, "patients": 3}
    with pytest.raises(ValueError, match=f"{last}: neither measured nor set aside"):
        finish(cases, rows, CLASSES, CONFIG)


def test_a_worker_names_the_file_that_it_cannot_read(films, tmp_path):
    worker = AuditWorker("", {}, {})
    worker.start(CornerReader(), [])
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        worker([{"image_id": "gone.png", "label": "normal", "file": str(tmp_path / "gone.png"), "boxes": []}])


def test_a_suspicion_is_a_row_of_checks_and_never_shown(films):
    worker = AuditWorker("", CONFIG.model_dump(), {}, 3)
    worker.start(CornerReader(), [])
    evidence = {"patients": 24, "predictors": {
        "source": {"check": "source", "mean_recall": 0.9, "chance": 0.5, "p": 0.01, "test": {}}}}
    found = finish(films[0], worker(worker_rows(films)), CLASSES, CONFIG, 3, evidence=evidence).checks
    assert found.columns.tolist() == COLUMNS
    row = found[found["kind"] == "suspicion"].iloc[0]
    assert row[["check", "question", "n", "effect", "control"]].tolist() == ["source", "source", 24, 0.9, 0.5]
    assert row["difference"] == pytest.approx(0.4) and not row["shown"]
    asked = found[found["kind"] == "intervention"]
    assert asked.groupby("label")["question"].apply(list).to_dict() == {
        **dict.fromkeys(CLASSES, ["text", "absence", "region:border", "region:outside centre", "laterality:film",
                                  "laterality:marker"]), "all classes": ["text"]}
    assert asked[asked["question"] == "text"]["shown"].all() and found["shown"].dtype == bool


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
    check_cost(AuditConfig())
    with pytest.raises(ValueError, match="forward passes a case, expected at most 200"):
        check_cost(AuditConfig(controls=60))


def test_what_text_does_beyond_its_controls_is_a_difference(films):
    cases, boxes = films
    model = build_model("covidnet", CLASSES, ModelView(32), seed=1, width=4, depth=0.2)
    found = audit_dataset(model, cases.iloc[:6], boxes, {}, CONFIG, CleanConfig(), 3).cases
    found = found[(found["text_visible"] > 0) & (found["controls"] > 0)]
    assert (found["control_effect"] != 0).any()
    assert np.allclose(found["effect_beyond_controls"], found["effect"] - found["control_effect"], rtol=0, atol=1e-12)

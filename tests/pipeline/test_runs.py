"""Whole runs: skipping, resuming, decisions, seeds, shares, and how often an image is decoded."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from xray_debug.config import EngineConfig
from xray_debug.data.images import read_image, write_image
from xray_debug.models.threads import threads_of
from xray_debug.review.decisions import ReviewDB
from xray_debug.run.engine import EngineError
from xray_debug.run.folder import RunError
from xray_debug.stages import registry
from xray_debug.stages.modelling import predicted
from xray_debug.stages.readers import second_for


def files_of(folder, suffix) -> dict[str, bytes]:
    found = sorted(file for file in folder.rglob(f"*{suffix}") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}


def test_a_finished_run_is_skipped(pipeline):
    assert pipeline.run() == []
    assert all(not pipeline.why(stage) for stage in registry.STAGES)


def test_detect_settles_the_second_reader_and_without_one_no_original_is_read(finished):
    assert finished.store.json("second reader") == second_for("craft-lite")  # that it was not wanted is another matter
    assert len(finished.store.table("readings")) == 0
    assert finished.store.record("clean")["second_reader"] == ""
    told = finished.store.json("report")
    assert told["second_reader"] is None and any("detect.recall_images" in row["why"] for row in told["not_shown"])


def test_decisions_of_reviewers_are_followed(pipeline):
    store = pipeline.store
    changes, frame = store.table("changes"), store.manifest().set_index("image_id")
    rejected, edited, train = (changes[changes["split"] == split]["image_id"].iloc[i]
                               for split, i in (("test", 0), ("test", 1), ("train", 0)))  # fmt: skip
    review = ReviewDB(store.review_file)
    review.decide(rejected, "reject")
    review.decide(train, "reject")
    review.decide(edited, "edit", [[5, 60, 25, 80]])
    assert pipeline.why("clean") == "input decisions changed"
    assert "clean" in pipeline.run(only="clean")
    for name in (rejected, train):
        original = store.image_file(frame.loc[name, "path"])
        assert next(store.path("cleaned").rglob(name)).read_bytes() == original.read_bytes()
    log = store.table("changes").set_index("image_id")
    assert rejected not in log.index and train not in log.index
    assert log.loc[edited, "origin"] == "reviewer" and json.loads(log.loc[edited, "boxes"]) == [[5, 60, 25, 80]]
    original = read_image(store.image_file(frame.loc[edited, "path"]))
    cleaned = read_image(next(store.path("cleaned").rglob(log.loc[edited, "file"])))
    rows, columns = np.nonzero(original != cleaned)
    assert len(rows) and rows.min() >= 57 and rows.max() < 83 and columns.min() >= 2 and columns.max() < 28
    assert pipeline.why("retrain") and not pipeline.why("train")


def test_excluded_images_are_in_no_training_and_no_row_of_the_scores(pipeline):
    store = pipeline.store
    frame = store.manifest()
    out = [frame[frame["split"] == split]["image_id"].iloc[3] for split in ("train", "test")]
    ReviewDB(store.review_file).decide_many([{"image_id": name, "decision": "exclude"} for name in out], "ada")
    pipeline.run(only="clean")
    pipeline.run(only="retrain")
    assert "2 images that are excluded by review are left out" in pipeline.said
    pipeline.run(only="report")
    assert out[1] not in set(store.table("retrained predictions")["image_id"])
    report = store.json("report")
    sizes = {(row["trained_on"], row["tested_on"]): row["images"] for row in report["table4"]
             if row["test_set"] == frame.set_index("image_id").loc[out[1], "test_set"]}  # fmt: skip
    tested = frame[frame["test_set"] == frame.set_index("image_id").loc[out[1], "test_set"]]
    assert set(sizes.values()) == {len(tested) - 1} and len(sizes) == 6
    assert any(row["what"] == "2 images that reviewers have excluded, 1 of them test images"
               for row in report["not_shown"])  # fmt: skip


def test_a_seed_more_keeps_those_that_are_trained(pipeline):
    folder = pipeline.store.path("model")
    before = {seed: (folder / f"seed-{seed}" / "model.safetensors").stat().st_mtime_ns for seed in (0, 1)}
    contents = files_of(folder, ".safetensors")
    history = (folder / "seed-0" / "history.csv").read_bytes()
    pipeline.config.seeds = [0, 1, 2]
    assert pipeline.why("train") == "option seeds changed"
    pipeline.run(only="train")
    after = files_of(folder, ".safetensors")
    assert all(after[name] == data for name, data in contents.items()) and len(after) == len(contents) + 1
    assert (folder / "seed-0" / "history.csv").read_bytes() == history  # holds times: it was not trained again
    assert before and set(pipeline.store.table("predictions")["seed"]) == {0, 1, 2}


@pytest.mark.parametrize(("option", "value"), [
    ("engine.workers", 7), ("explain.batch_size", 3), ("detect.batch_size", 2), ("audit.batch_size", 5),
    ("train.devices", 2), ("train.nodes", 2),
])  # fmt: skip
def test_options_of_the_machine_invalidate_nothing(finished, option, value):
    pipeline = finished.with_option(option, value)
    assert all(not pipeline.why(stage) for stage in registry.STAGES)


@pytest.mark.parametrize(("option", "value", "stages"), [
    ("train.epochs", 5, {"train", "retrain"}), ("detect.options", {"mirror": False}, {"detect"}),
    ("clean.radius", 4, {"audit", "clean"}), ("audit.controls", 2, {"audit"}), ("report.bootstrap", 100, {"report"}),
    ("explain.mask_size", 14, {"explain"}), ("prepare.near_duplicate_agreement", 0.9, {"prepare"}),
    ("train.batch_size", 4, {"train", "retrain"}),
])  # fmt: skip
def test_options_that_change_results_invalidate_their_stages(finished, option, value, stages):
    pipeline = finished.with_option(option, value)
    assert {stage for stage in registry.STAGES if f"option {option}" in pipeline.why(stage)} >= stages


def test_code_is_part_of_the_fingerprint(pipeline, monkeypatch):
    real = registry.code_state
    monkeypatch.setattr(registry, "code_state", lambda module, **options: real(module, **options) | (
                        {"text/craft.py": "edited"} if module.endswith(".detect") else {}))  # fmt: skip
    assert pipeline.why("detect") == "code (text/craft.py) changed"
    assert pipeline.why("audit") == "if stage detect gives another result" and not pipeline.why("train")
    assert pipeline.run() == ["detect", "report"]  # the same boxes, so nothing else runs; the report tells of the code


def test_stages_give_the_same_under_another_number_of_threads(pipeline):
    """prepare, explain, detect, audit, clean: image by image. (Training keeps its number: see test_modelling.)"""
    names = ("prepare", "explain", "detect", "audit", "clean")
    before = {name: pipeline.store.record(name)["outputs"] for name in names}
    with threads_of(2 if torch.get_num_threads() == 1 else 1):
        assert [pipeline.run(only=name, force=True) for name in names] == [[name] for name in names]
    assert {name: pipeline.store.record(name)["outputs"] for name in names} == before


def test_a_models_predictions_do_not_depend_on_the_threads(finished):
    frame, views, folder = finished.store.manifest(), finished.store.views(), finished.store.path("model")
    context, found = SimpleNamespace(device="cpu", trusted=False), []
    for count in (1, 2, 3):
        with threads_of(count):
            found.append(predicted(context, folder / "seed-0", frame, views, "original", "original", 0))
    known = finished.store.table("predictions")
    known = known[known["seed"] == 0].reset_index(drop=True)
    for table in found:
        pd.testing.assert_frame_equal(table, known[table.columns.tolist()], check_exact=True)


def test_an_edited_mask_of_the_user_is_seen(pipeline, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    name = pipeline.store.table("cases")["image_id"].iloc[0]
    mask = np.zeros((96, 96), np.uint8)
    mask[30:50, 30:50] = 255
    write_image(masks / name, mask)
    pipeline.config.audit.regions = str(masks)
    pipeline.run(only="audit")
    assert not pipeline.why("audit")
    mask[10:20, 10:20] = 255
    write_image(masks / name, mask)
    assert pipeline.why("audit") == "input file of audit.regions changed"


def test_an_image_is_decoded_once_a_stage(finished):
    """prepare and detect decode every image; the audit the test images and those whose markers it lifts; cleaning
    those that it changes, and beside each of at most 300 one that stays; the report those that it shows."""
    store, decodes = finished.store, finished.decodes
    images, changed = len(store.manifest()), len(store.table("changes"))
    cases, settings = store.table("cases"), finished.config
    assert len(cases) == settings.audit.max_cases < images
    assert decodes["train"] == decodes["explain"] == decodes["retrain"] == 0
    assert decodes["prepare"] == decodes["detect"] == images
    assert len(cases) <= decodes["audit"] <= 2 * len(cases)
    assert changed <= decodes["clean"] <= changed + min(changed, 300)
    assert decodes["report"] <= settings.report.max_flagged


def test_shares_and_a_merge_give_the_same_boxes(pipeline):
    file = pipeline.store.path("regions")
    before, times = file.read_bytes(), file.stat().st_mtime_ns
    pipeline.run(part=(1, 2), only="detect", force=True)
    with pytest.raises(EngineError, match="parts are missing"):
        pipeline.run(merge=True, only="detect")
    pipeline.run(part=(2, 2), only="detect")
    assert file.stat().st_mtime_ns == times  # the old result stays until the merge
    assert pipeline.run(merge=True, only="detect", force=True) == ["detect"]
    assert file.stat().st_mtime_ns != times and file.read_bytes() == before
    with pytest.raises(RunError, match="--part: stage train cannot be shared out"):
        pipeline.run(part=(1, 2), only="train", force=True)


COMPARED = ("manifest", "views", "explanations", "maps", "sanity", "regions", "cases", "checks", "verdict", "patches",
            "changes", "probe", "cleaned views", "cleaned", "control")  # fmt: skip


def contents(pipeline, name) -> dict[str, bytes]:
    path = pipeline.store.path(name)
    return files_of(path, "") if path.is_dir() else {path.name: path.read_bytes()}


@pytest.mark.parametrize("engine", [{"workers": 2}, {"workers": 2, "processes": True}], ids=["threads", "processes"])
def test_every_engine_gives_the_same_bytes(pipeline, finished, engine):
    """Trainings stay: they are up to date if, and only if, what they learn from is the same."""
    pipeline.config.engine = EngineConfig(**engine)
    for stage in ("prepare", "explain", "detect", "audit", "clean"):
        shutil.rmtree(pipeline.folder / stage)
    assert pipeline.run() == ["prepare", "explain", "detect", "audit", "clean"]
    for name in COMPARED:
        assert contents(pipeline, name) == contents(finished, name), name


def test_ray_finds_the_same_boxes(pipeline, finished):
    pytest.importorskip("ray")
    pipeline.config.engine = EngineConfig(engine="ray", workers=2)
    shutil.rmtree(pipeline.folder / "detect")
    assert pipeline.run(only="detect") == ["detect"]
    assert contents(pipeline, "regions") == contents(finished, "regions")


def test_an_unfinished_stage_is_named(pipeline):
    shutil.rmtree(pipeline.folder / "detect")
    with pytest.raises(RunError, match="stage audit needs stage detect, which is not complete"):
        pipeline.run(only="audit")


def test_a_wrong_option_does_not_stay_in_the_run(finished, tmp_path):
    from xray_debug.cli import execute
    from xray_debug.config import ConfigError, dump_config, load_config
    from xray_debug.data.files import write_text

    pipeline = finished.copy(tmp_path / "run")
    write_text(pipeline.store.pipeline_file, dump_config(pipeline.config))
    before = pipeline.store.pipeline_file.read_bytes()
    config = load_config(pipeline.store.pipeline_file, ["explain.select=predicted:covid"])
    with pytest.raises(ConfigError, match=r"explain.select: expected one of the classes"):
        execute(pipeline.folder, config, only="explain")
    assert pipeline.store.pipeline_file.read_bytes() == before
    assert not (pipeline.folder / ".work" / "explain").exists()  # refused before it was begun


def test_an_image_that_could_not_be_cleaned_is_in_no_version(pipeline):
    """A part of clean with a set-aside image: retrain leaves it out everywhere instead of learning a black image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from xray_debug.stages.base import Context
    from xray_debug.stages.retrain import _usable

    store = pipeline.store
    file = store.parts("cleaned views").files[0]
    table = pq.read_table(file)
    problems = table["problem"].to_pylist()
    problems[1] = "cannot be read"
    names = table.schema.names
    table = table.set_column(names.index("problem"), "problem", pa.array(problems))
    pq.write_table(table, file)
    aside, said = table["image_id"].to_pylist()[1], []
    fresh, folder = type(store)(pipeline.folder), pipeline.folder
    context = Context(fresh, pipeline.config, None, folder, folder, said.append)
    frame, views = _usable(context, ["original", "cleaned", "control"])
    assert aside not in set(frame["image_id"]) and len(frame) == len(store.manifest()) - 1
    assert {len(found) for found in views.values()} == {len(frame)}
    assert said == ["1 images that could not be cleaned are left out"]
    rows = np.flatnonzero(store.manifest()["image_id"] != aside)
    assert np.array_equal(views["cleaned"][:5], store.views("cleaned")[rows[:5]])

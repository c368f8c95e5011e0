"""explain-case: the map of one case more, as stage explain would have made it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from review_fixture import NASTY, write_run
from training_fixture import tiny

from xray_debug.config import ConfigError, parse_config
from xray_debug.data.files import write_json, write_text
from xray_debug.models import save_checkpoint
from xray_debug.models.explainer import ExplainWorker
from xray_debug.run.further import case_map, further_map
from xray_debug.run.parts import part_file, write_part
from xray_debug.stages.further import explain_cases

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    """A run with a model and views of 32 pixels; stage explain has explained a.png."""
    store = write_run(tmp_path / "run")
    save_checkpoint(tiny(3, classes=3), store.path("model"))
    write_json(store.folder / "train" / "stage.json", {"outputs": {"weights": "w", "description": "d"}})
    names = store.manifest()["image_id"]
    views = np.random.default_rng(0).integers(0, 255, (len(names), 32, 32), np.uint8)
    store.path("views").mkdir()
    rows = [{"image_id": name, "view": view} for name, view in zip(names, views, strict=True)]
    write_part(store.path("views"), 0, rows, "fake", {"view": ((32, 32), np.uint8)})
    write_text(store.pipeline_file, "seed: 3\nphantom: {}\nexplain: {mask_size: 7, options: {preset: quick}}\n")
    return store


def test_it_is_the_map_that_the_stage_would_make(run):
    told, config = [], parse_config(json_of(run))
    (said,) = explain_cases(run, config, [NASTY], lambda *call: told.append(call))
    found = case_map(run, NASTY)
    worker = ExplainWorker(str(run.path("model")), "igos_pp", {"preset": "quick"}, 7, 3)
    worker.open()
    names = worker.model.classes
    classes = [worker([{"image_id": NASTY, "view": run.views()[1], "target": name}])[0] for name in names]
    top = max(classes, key=lambda row: row["probability"])
    assert np.array_equal(found.saliency, top["saliency"]) and found.asked_for
    assert np.array_equal(further_map(run, NASTY, "insertion_curve"), top["insertion_curve"])
    assert said.startswith(f"{NASTY}: {top['target']} {top['probability']:.3f}")
    assert told[0] == ("load the model", 0, 1) and ("igos_pp", 2, 2) in told
    assert explain_cases(run, config, [NASTY, "a.png"], lambda *call: None) == [
        f"{NASTY}: has a map already", "a.png: has a map already"]  # fmt: skip


def json_of(run) -> dict:
    import yaml

    return yaml.safe_load(run.pipeline_file.read_text())


def test_a_damaged_map_is_made_anew_and_an_unknown_name_is_told(run):
    part_file(run.path("maps"), 0).write_bytes(b"no table")
    config = parse_config(json_of(run))
    assert case_map(run, "a.png").damaged
    explain_cases(run, config, ["a.png"], lambda *call: None)
    assert case_map(run, "a.png").saliency.shape == (7, 7)
    with pytest.raises(ConfigError, match="b.png: is no usable image of this run"):
        explain_cases(run, config, ["c.png", "b.png"], lambda *call: None)
    assert case_map(run, "c.png").saliency is None


def test_the_command(run):
    done = subprocess.run([sys.executable, "-m", "xray_debug", "--json-lines", "explain-case", "--run", run.folder,
                           "--", NASTY], capture_output=True, text=True, timeout=120,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1] == {"exit": 0} and lines[-2]["say"].startswith(f"{NASTY}: ")
    assert {"doing": "igos_pp", "done": 2, "total": 2} in lines
    assert case_map(run, NASTY).saliency.shape == (7, 7)

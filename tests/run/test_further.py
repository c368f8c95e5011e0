"""Maps of single cases beside those of stage explain: found, outdated, damaged."""

import numpy as np
import pytest
from review_fixture import NASTY, write_run

from xray_debug.data.files import write_json
from xray_debug.run.further import case_map, further_map, further_mark, write_further_map
from xray_debug.run.parts import part_file

HOW = {"method": "igos_pp", "options": {}, "mask_size": 28}


@pytest.fixture
def run(tmp_path):
    """A run with a model's record; stage explain has explained a.png alone."""
    store = write_run(tmp_path / "run")
    (store.folder / "train").mkdir()
    write_json(store.folder / "train" / "stage.json", {"outputs": {"weights": "w", "description": "d"}})
    write_json(store.folder / "explain" / "stage.json", {"parameters": {"explain": HOW, "seed": 0}})
    return store


def row(name: str) -> dict:
    return {"image_id": name, "target": "COVID-19", "saliency": np.full((7, 7), 0.5, np.float32),
            "deletion_curve": np.linspace(1, 0, 5, dtype=np.float32)}  # fmt: skip


def test_a_further_map_is_found_and_the_stages_own_goes_before_it(run):
    before = {path: path.read_bytes() for path in (run.folder / "explain").rglob("*") if path.is_file()}
    assert case_map(run, NASTY).saliency is None and not case_map(run, NASTY).damaged
    for name in (NASTY, "a.png"):
        write_further_map(run, row(name))
    found = case_map(run, NASTY)
    assert (found.saliency == 0.5).all() and found.asked_for and not found.damaged
    assert further_map(run, NASTY, "deletion_curve").tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert not case_map(run, "a.png").asked_for and np.array_equal(case_map(run, "a.png").saliency, np.eye(7))
    assert case_map(run, "c.png").saliency is None
    assert {path: path.read_bytes() for path in before} == before  # nothing of the stage's was touched
    found.saliency[0, 0] = 1  # a copy, that can be written to


@pytest.mark.parametrize(("stage", "record"), [
    ("train", {"outputs": {"weights": "another", "description": "d"}}),
    ("train", {"outputs": {"weights": "w", "description": "another"}}),
    ("explain", {"parameters": {"explain": HOW | {"method": "rise"}, "seed": 0}}),
    ("explain", {"parameters": {"explain": HOW | {"options": {"preset": "quick"}}, "seed": 0}}),
    ("explain", {"parameters": {"explain": HOW | {"mask_size": 14}, "seed": 0}}),
    ("explain", {"parameters": {"explain": HOW, "seed": 1}}),
])  # fmt: skip
def test_it_does_not_outlive_the_model_and_the_method(run, stage, record):
    write_further_map(run, row(NASTY))
    assert case_map(run, NASTY).saliency is not None
    write_json(run.folder / stage / "stage.json", record)
    assert case_map(run, NASTY).saliency is None
    write_further_map(run, row(NASTY))
    assert case_map(run, NASTY).saliency is not None


def test_options_that_change_no_map_leave_it(run):
    write_further_map(run, row(NASTY))
    write_json(run.folder / "explain" / "stage.json",
               {"parameters": {"explain": HOW | {"max_cases": 3, "select": "all"}, "seed": 0}})  # fmt: skip
    assert case_map(run, NASTY).saliency is not None


def test_a_damaged_map_of_the_stage_is_told_until_one_is_made(run):
    part_file(run.path("maps"), 0).write_bytes(b"no table")
    found = case_map(run, "a.png")
    assert found.saliency is None and "maps" in found.damaged and "\n" not in found.damaged
    write_further_map(run, row("a.png"))
    assert case_map(run, "a.png").damaged == "" and (case_map(run, "a.png").saliency == 0.5).all()


def test_a_damaged_further_map_is_as_none(run):
    write_further_map(run, row(NASTY))
    (file,) = run.further_maps.iterdir()
    for content in (file.read_bytes()[:40], b"", b"no table"):
        file.write_bytes(content)
        assert case_map(run, NASTY).saliency is None
    assert further_mark(run, NASTY) and not further_mark(run, "c.png")


def test_names_of_any_kind(run):
    for name in ("x" * 300 + ".png", "../../out.png", "a/b.png", "\udcff.png"):
        write_further_map(run, row(name) | {"image_id": name.encode("utf-8", "replace").decode()})
    assert {path.parent for path in run.folder.rglob("part-*.parquet")} == {run.further_maps, run.path("maps")}

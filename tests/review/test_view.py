"""What the review shows of a run, and that a run that cannot be shown is one sentence."""

import numpy as np
import pandas as pd
import pytest
from review_fixture import NASTY, write_run

from xray_debug.config import dump_config, parse_config
from xray_debug.data.files import write_text
from xray_debug.review.view import ModelView, ViewError, load_run
from xray_debug.run.parts import write_part
from xray_debug.run.store import OUTPUTS


def test_paths_stay_inside_the_dataset(tmp_path):
    store = write_run(tmp_path / "run")
    manifest = store.manifest().assign(path=["../secret.png", "/etc/passwd", "c.png", "damaged.png"])
    store.write_table("manifest", manifest)
    view = load_run(store)
    for name in ("a.png", NASTY):
        with pytest.raises(ViewError, match="leads out of the dataset"):
            view.film(name)
    assert view.film("c.png").gray.shape == (40, 60)
    assert view.saliency("../maps/a.png") is None


def test_what_is_shown_is_what_the_stages_wrote(tmp_path):
    store = write_run(tmp_path / "run")
    view = load_run(store)
    assert view.queue.names.tolist() == ["a.png", NASTY, "damaged.png", "c.png"]
    assert view.boxes_of("a.png").tolist() == [[5, 6, 20, 16]] and not len(view.boxes_of("damaged.png"))
    regions = view.regions("damaged.png")
    assert regions.boxes.tolist() == [[0, 0, 9, 9]] and regions.kinds.tolist() == ["device"]
    assert not len(view.regions("none.png").boxes)
    assert np.array_equal(view.saliency("a.png"), np.eye(7)) and view.saliency("c.png") is None
    assert view.view == ModelView(224)
    asked = {"train": {"view": {"size": 64, "crop_top": 0.1}}, "clean": {"radius": 3}}
    write_text(store.pipeline_file, dump_config(parse_config(asked)))
    assert load_run(store).view == ModelView(64, crop_top=0.1) and load_run(store).clean.radius == 3


def test_boxes_are_those_of_the_kinds_that_the_run_erases(tmp_path):
    store = write_run(tmp_path / "run")
    for kinds, of_a, of_damaged in ((["text"], 1, 0), (["device"], 0, 1), (["text", "device"], 1, 1)):
        write_text(store.pipeline_file, dump_config(parse_config({"clean": {"kinds": kinds}})))
        view = load_run(store)
        assert (len(view.boxes_of("a.png")), len(view.boxes_of("damaged.png"))) == (of_a, of_damaged)
        assert not len(view.boxes_of("none.png"))


def test_letters_that_stay_are_no_boxes_to_erase(tmp_path):
    store = write_run(tmp_path / "run")
    letters = pd.DataFrame([("a.png", 5, 6, 20, 16, "R")], columns=["image_id", "x0", "y0", "x1", "y1", "text"])
    store.path("letters").parent.mkdir(exist_ok=True)
    store.write_table("letters", letters)
    write_text(store.path("letters").with_name("stage.json"), "{}")
    for keep, left in (("laterality", 0), (None, 1)):
        write_text(store.pipeline_file, dump_config(parse_config({"clean": {"keep": keep}})))
        view = load_run(store)
        assert len(view.boxes_of("a.png")) == left
        beside = view.kept_beside("a.png", [[22, 6, 30, 16]]).tolist()
        assert beside == ([[5, 6, 20, 16]] if keep else [])
        assert not len(view.kept_beside("a.png", [[4, 5, 21, 17]]))  # a reviewer's box over the letter


def test_a_run_of_another_version_opens(tmp_path):
    """Options that this version does not know are no reason not to look at the run; values it cannot have are."""
    store = write_run(tmp_path / "run")
    write_text(store.pipeline_file, "gone: 1\nprepare: {near_duplicate_bits: 4}\nclean: {radius: 3, ink: {deep: 2}}\n")
    assert load_run(store).clean.radius == 3
    write_text(store.pipeline_file, "gone: 1\nclean: {radius: 0}\n")
    with pytest.raises(ViewError, match="clean.radius"):
        load_run(store)


def test_boxes_of_many_images_are_each_images_own(tmp_path):
    store = write_run(tmp_path / "run")
    rng = np.random.default_rng(1)
    names = rng.choice(["a.png", "c.png", NASTY], 200)
    frame = pd.DataFrame(rng.integers(0, 20, (200, 4)), columns=["x0", "y0", "x1", "y1"])
    frame = frame.assign(image_id=names, kind=rng.choice(["text", "device"], 200), score=rng.random(200), detector="x")
    store.write_table("regions", frame)
    view = load_run(store)
    for name, part in frame.groupby("image_id"):  # the slow way
        found = view.regions(name)
        assert found.boxes.tolist() == part[["x0", "y0", "x1", "y1"]].to_numpy().tolist()
        assert found.kinds.tolist() == part["kind"].tolist() and found.scores.tolist() == part["score"].tolist()
        text = part[part["kind"] == "text"]
        assert view.boxes_of(name).tolist() == text[["x0", "y0", "x1", "y1"]].to_numpy().tolist()


def test_damaged_files_are_one_sentence(tmp_path):
    store = write_run(tmp_path / "run")
    next(store.path("maps").iterdir()).write_bytes(b"no table")
    with pytest.raises(ViewError, match="the saliency map of a.png is damaged"):
        load_run(store).saliency("a.png")
    store.path("regions").write_bytes(b"no table")
    with pytest.raises(ViewError, match="regions.parquet: not a readable table"):
        load_run(store)
    store.write_table("regions", pd.DataFrame(columns=OUTPUTS["regions"].columns))
    store.pipeline_file.write_text("train: 5")
    with pytest.raises(ViewError, match="pipeline.yaml: train"):
        load_run(store)
    store.path("dataset").write_text("{}")
    with pytest.raises(ViewError, match="dataset.json: expected root in it"):
        load_run(store)


def test_a_map_that_holds_no_numbers_is_damaged(tmp_path):
    store = write_run(tmp_path / "run", maps=True)
    write_part(store.path("maps"), 0, [{"image_id": "a.png", "saliency": np.full((7, 7), np.nan, np.float32)}], "fake")
    with pytest.raises(ViewError, match="damaged: expected a square of numbers"):
        load_run(store).saliency("a.png")


def test_state_tells_one_result_from_another(tmp_path):
    store = write_run(tmp_path / "run")
    before = store.state()
    assert store.state() == before
    (store.stage_folder("audit") / "stage.json").write_text('{"again": 1}')
    assert store.state() != before

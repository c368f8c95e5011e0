"""What the review shows of a run, and that a run that cannot be shown is one sentence."""

import numpy as np
import pandas as pd
import pytest
from review_fixture import NASTY, write_run

from xray_debug.config import dump_config, parse_config
from xray_debug.data.files import write_text
from xray_debug.review.view import LARGEST_SIDE, ModelView, ViewError, load_run, parse_boxes, picture
from xray_debug.run.store import OUTPUTS


def test_paths_stay_inside_the_dataset(tmp_path):
    store = write_run(tmp_path / "run")
    manifest = store.manifest().assign(path=["../secret.png", "/etc/passwd", "c.png", "damaged.png"])
    store.write_table("manifest", manifest)
    view = load_run(store)
    for name in ("a.png", NASTY):
        with pytest.raises(ViewError, match="leads out of the dataset"):
            view.image(name)
    assert view.image("c.png").shape == (40, 60)
    assert view.saliency("../maps/a.png") is None


def test_what_is_shown_is_what_the_stages_wrote(tmp_path):
    store = write_run(tmp_path / "run")
    view = load_run(store)
    assert view.image_ids() == ["a.png", NASTY, "damaged.png"]
    assert view.image_ids(flagged_only=False) == ["a.png", NASTY, "damaged.png", "c.png"]
    assert view.boxes_of("a.png").tolist() == [[5, 6, 20, 16]] and not len(view.boxes_of("damaged.png"))
    assert np.array_equal(view.saliency("a.png"), np.eye(7)) and view.saliency("c.png") is None
    assert view.view == ModelView(224)
    write_text(store.pipeline_file, dump_config(parse_config({"train": {"view": {"size": 64, "crop_top": 0.1}}})))
    assert load_run(store).view == ModelView(64, crop_top=0.1)


def test_damaged_files_are_one_sentence_and_a_damaged_map_is_no_map(tmp_path):
    store = write_run(tmp_path / "run")
    next(store.path("maps").iterdir()).write_bytes(b"no table")
    assert load_run(store).saliency("a.png") is None
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


def test_picture_shows_saliency_where_it_is_and_nothing_at_opacity_zero():
    image = np.full((40, 60), 100, np.uint8)
    saliency = np.zeros((4, 6), np.float32)
    saliency[0, 0] = 1
    none = np.zeros((0, 4), np.int64)
    plain = picture(image, none, saliency, ModelView(32), 0.0)
    assert (plain == 100).all() and plain.shape == (40, 60, 3)
    shown = picture(image, none, saliency, ModelView(32), 1.0)
    assert (shown[0, 0] != 100).any() and (shown[20:, 30:] == 100).all()
    boxed = picture(image, np.array([[10, 10, 20, 20]]), None, ModelView(32), 1.0)
    assert (boxed[10, 10:20] != 100).any() and (boxed[:9] == 100).all() and (boxed[21:] == 100).all()
    assert max(picture(np.zeros((3000, 10), np.uint8), none, None, ModelView(32), 0.5).shape) == LARGEST_SIDE


def test_parse_boxes_drops_empty_rows_and_names_bad_ones():
    nothing = dict.fromkeys(("x0", "y0", "x1", "y1"))
    good = {"x0": 1, "y0": 2.0, "x1": 3, "y1": 4}
    assert parse_boxes([good, nothing]) == [[1, 2, 3, 4]]
    with pytest.raises(ViewError, match="box 2: expected x0"):
        parse_boxes([good, good | {"x1": float("nan")}])
    with pytest.raises(ViewError, match="box 1: expected 0 <= x0 < x1"):
        parse_boxes([good | {"x1": 1}])

"""The review app on a tiny run folder, through Streamlit's own test driver."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from xray_debug.review.decisions import ReviewDB
from xray_debug.review.view import LARGEST_SIDE, ModelView, ViewError, load_run, parse_boxes, picture

APP = Path(__file__).parents[2] / "app.py"
NASTY = "<script>alert(1)</script> **b** [x](http:y).png".replace("/", "∕")


def write_run(folder: Path, audit: bool = True, maps: bool = True) -> Path:
    """Three images; a.png and the nasty one flagged, c.png audited but fine, damaged.png listed but unreadable."""
    data = folder / "data"
    for name in ("prepare", "audit", "detect", "explain/maps"):
        (folder / name).mkdir(parents=True)
    data.mkdir()
    names = ["a.png", NASTY, "c.png", "damaged.png"]
    rng = np.random.default_rng(0)
    for name in names[:3]:
        cv2.imwrite(str(data / name), rng.integers(0, 255, (40, 60), np.uint8))
    (data / "damaged.png").write_bytes(b"no image")
    pd.DataFrame(
        {"image_id": names, "path": names, "label": "COVID-19", "source": "cohen", "split": "test", "test_set": "test",
         "problem": ""}
    ).to_parquet(folder / "prepare/manifest.parquet")  # fmt: skip
    (folder / "prepare/dataset.json").write_text(json.dumps({"root": str(data)}))
    if audit:
        pd.DataFrame(
            {"image_id": ["c.png", NASTY, "a.png", "damaged.png"], "flagged": [False, True, True, True],
             "rank": [4, 2, 1, 3], "predicted": "COVID-19", "effect": [0.0, 0.25, 0.5, 0.1], "reasons": "text alone"}
        ).to_parquet(folder / "audit/cases.parquet")  # fmt: skip
    pd.DataFrame(
        {"image_id": ["a.png", "c.png"], "x0": [5, 0], "y0": [6, 0], "x1": [20, 9], "y1": [16, 9], "score": 0.9}
    ).to_parquet(folder / "detect/text_boxes.parquet")
    if maps:
        np.savez(folder / "explain/maps/a.png.npz", saliency=np.eye(7, dtype=np.float32))
    return folder


@pytest.fixture
def start(monkeypatch):
    def start(*arguments) -> AppTest:
        monkeypatch.setattr("sys.argv", ["app.py", *map(str, arguments)])
        return AppTest.from_file(str(APP), default_timeout=30).run()

    return start


def texts(app: AppTest) -> str:
    return "\n".join(element.value for element in app.text)


def button(app: AppTest, label: str):
    return next(b for b in app.button if b.label.startswith(label))


def test_flagged_cases_come_in_order_and_decisions_are_saved(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run)
    assert not app.exception
    assert "Case 1 of 3: a.png (not decided)" in texts(app)
    assert "reasons: text alone" in texts(app)
    assert app.dataframe[0].value["measure"].tolist() == ["rank", "effect"]
    app.text_input[0].input("ada")
    app.text_input[1].input("the letter R")
    button(app, "Approve").click().run()
    assert not app.exception
    assert "Case 2 of 3" in texts(app)
    stored = ReviewDB(run / "review.sqlite").decisions()
    assert stored[["image_id", "decision", "reviewer", "note"]].values.tolist() == [
        ["a.png", "approve", "ada", "the letter R"]
    ]
    button(app, "Reject").click().run()
    button(app, "Previous").click().run()
    assert f"{NASTY} (reject)" in texts(app)
    assert ReviewDB(run / "review.sqlite").decisions()["reviewer"].tolist() == ["ada", "ada"]


def test_edited_boxes_are_saved(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run)
    button(app, "Save my boxes").click().run()
    stored = ReviewDB(run / "review.sqlite").decisions()
    assert stored[["decision", "boxes"]].values.tolist() == [["edit", [[5, 6, 20, 16]]]]


def test_opacity_and_all_cases(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run"))
    app.slider[0].set_value(0.0).run()
    assert not app.exception
    app.toggle[0].set_value(False).run()
    assert "Case 1 of 4: a.png" in texts(app)


def test_a_damaged_image_and_a_case_without_map_do_not_stop_the_review(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run"))
    button(app, "Next").click().run()
    assert any("no saliency map" in element.value for element in app.info)
    button(app, "Next").click().run()
    assert not app.exception
    assert "damaged.png" in texts(app)
    assert any("cannot be shown" in element.value for element in app.warning)
    assert button(app, "Next").disabled


def test_file_names_are_never_markup(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run"))
    button(app, "Next").click().run()
    assert NASTY in texts(app)
    for element in [*app.markdown, *app.caption, *app.info, *app.warning, *app.title]:
        assert "script" not in element.value


def test_without_audit_and_maps_images_with_boxes_are_shown(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run", audit=False, maps=False))
    assert not app.exception
    assert "Case 1 of 2: a.png" in texts(app)
    assert any("not been audited" in element.value for element in app.info)


def test_a_missing_run_is_one_sentence(start, tmp_path):
    assert "run app.py -- --run DIR" in start().error[0].value
    assert "expected a run folder, found nothing" in texts(start("--run", tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "prepare has not run" in texts(start("--run", tmp_path / "empty"))


def test_paths_stay_inside_the_dataset(tmp_path):
    run = write_run(tmp_path / "run")
    manifest = pd.read_parquet(run / "prepare/manifest.parquet")
    manifest["path"] = ["../secret.png", "/etc/passwd", "c.png", "damaged.png"]
    manifest.to_parquet(run / "prepare/manifest.parquet")
    view = load_run(run)
    for name in ("a.png", NASTY):
        with pytest.raises(ViewError, match="leads out of the dataset"):
            view.image(name)
    assert view.image("c.png").shape == (40, 60)
    assert view.saliency("../maps/a.png") is None


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

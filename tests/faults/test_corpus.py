"""The corpus: damaged, hostile and odd inputs, each with what must happen.

An input is read as exactly what it shows, or refused in one sentence that names the file and says what is wrong.
"""

import shutil

import numpy as np
import pandas as pd
import pytest
from faults import corpus_folders as folders
from faults import corpus_images as images
from faults import corpus_places as places
from faults import corpus_texts as texts

from xray_debug.audit.regions import load_regions
from xray_debug.config import ConfigError, load_config
from xray_debug.data.formats.covidx_labels import LabelError, read_labels, write_labels
from xray_debug.data.images import ImageError, image_header, read_image, write_image
from xray_debug.data.view import ModelView
from xray_debug.models.build import build_model
from xray_debug.models.checkpoint import load_checkpoint, save_checkpoint
from xray_debug.review.decisions import ReviewDB, ReviewError


def cases(rows, *names):
    """Parameters whose id is the fault in words."""
    return pytest.mark.parametrize(names, [pytest.param(*row[1:], id=row[0]) for row in rows])


def told(error: pytest.ExceptionInfo, path, says: str) -> None:
    """One sentence, not long, that names the file and holds `says`."""
    text = str(error.value)
    assert says in text and str(path) in text, text
    assert "\n" not in text.replace(str(path), "") and "Traceback" not in text and len(text) < len(str(path)) + 300


@cases(images.REFUSED, "name", "content", "says")
def test_an_image_is_refused(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError) as error:
        read_image(path)
    told(error, path, says)
    assert path.read_bytes() == content


@cases(images.READ, "name", "content", "pixels")
def test_an_image_is_read(tmp_path, name, content, pixels):
    path = tmp_path / name
    path.write_bytes(content)
    found = read_image(path)
    assert (found.dtype, found.shape) == (pixels.dtype, pixels.shape)
    np.testing.assert_array_equal(found, pixels)
    assert (image_header(path).height, image_header(path).width) == pixels.shape[:2]


@cases(texts.LABELS_REFUSED, "content", "says")
def test_labels_are_refused(tmp_path, content, says):
    path = tmp_path / "train_COVIDx.txt"
    path.write_bytes(content)
    with pytest.raises(LabelError) as error:
        read_labels(path)
    told(error, path, says)


@cases(texts.LABELS_READ, "content", "rows")
def test_labels_are_read(tmp_path, content, rows):
    path = tmp_path / "train_COVIDx.txt"
    path.write_bytes(content)
    found = read_labels(path)[["patient_id", "image_id", "label", "source"]]
    assert list(found.itertuples(index=False, name=None)) == rows


@cases(texts.TABLES_REFUSED, "name", "content", "says")
def test_a_table_of_regions_is_refused(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        load_regions(path)
    assert str(path) in str(error.value) or "kinds" in says
    assert says in str(error.value) and "\n" not in str(error.value)


@cases(texts.TABLES_READ, "name", "content", "image")
def test_a_table_of_regions_is_read(tmp_path, name, content, image):
    path = tmp_path / name
    path.write_bytes(content)
    expected = np.zeros((6, 8), bool)
    expected[2:4, 1:3] = True
    masks = load_regions(path).masks(image, 6, 8)
    assert list(masks) == ["region"]
    np.testing.assert_array_equal(masks["region"], expected)


@cases(texts.PIPELINES_REFUSED, "content", "says")
def test_a_pipeline_is_refused(tmp_path, content, says):
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    told(error, path, says)


@cases(texts.PIPELINES_READ, "content", "option")
def test_a_pipeline_is_read(tmp_path, content, option):
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(content)
    assert getattr(load_config(path), option[0]) == option[1]


@cases(texts.SETTINGS_REFUSED, "setting", "says")
def test_a_setting_is_refused(tmp_path, setting, says):
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(b"seed: 1\n")
    with pytest.raises(ConfigError) as error:
        load_config(path, [setting])
    assert says in str(error.value) and "\n" not in str(error.value)


@cases(texts.NAMES, "name")
def test_an_image_of_any_name_is_written_read_and_refused_by_it(tmp_path, name):
    path = tmp_path / name
    write_image(path, images.GREY)
    np.testing.assert_array_equal(read_image(path), images.GREY)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]  # no other file was made, no other name
    path.write_bytes(images.PNG[:200])
    with pytest.raises(ImageError) as error:
        read_image(path)
    told(error, path, images.DAMAGED)


@cases([row for row in texts.NAMES if row[1].isprintable() and " " not in row[1]], "name")
def test_a_label_of_any_name_is_written_and_read(tmp_path, name):
    frame = pd.DataFrame([("1", name, "COVID-19", "rsna")], columns=["patient_id", "image_id", "label", "source"])
    write_labels(tmp_path / "labels.txt", frame)
    assert read_labels(tmp_path / "labels.txt")["image_id"].tolist() == [name]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    net = build_model("covidnet", ["normal", "pneumonia", "COVID-19"], ModelView(32), seed=0, width=8)
    return save_checkpoint(net, tmp_path_factory.mktemp("sound") / "model")


@cases(folders.MODELS_REFUSED, "change", "says")
def test_a_model_folder_is_refused(tmp_path, model, change, says):
    place = tmp_path / "model"
    shutil.copytree(model, place)
    load_checkpoint(place)  # sound until here
    change(place)
    with pytest.raises(ValueError) as error:
        load_checkpoint(place)
    told(error, place, says)
    assert not (place / "ran").exists()


@cases(folders.REVIEWS_REFUSED, "change", "says")
def test_a_review_file_is_refused(tmp_path, change, says):
    path = tmp_path / "review.sqlite"
    ReviewDB(path).decide("a.png", "approve")
    assert len(ReviewDB(path).decisions()) == 1
    change(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ReviewError) as error:
        ReviewDB(path).decisions()
    told(error, path, says)
    assert before is None or path.read_bytes() == before  # what may be saved of it is left as it is


@cases(folders.DECISIONS_REFUSED, "decision", "says")
def test_a_decision_is_refused(tmp_path, decision, says):
    review = ReviewDB(tmp_path / "review.sqlite")
    with pytest.raises(ReviewError) as error:
        review.decide(*decision)
    assert says in str(error.value) and "\n" not in str(error.value)
    assert review.history().empty


@cases(texts.NAMES, "name")
def test_a_decision_on_any_name_is_kept(tmp_path, name):
    ReviewDB(tmp_path / "review.sqlite").decide(name, "edit", [[1, 2, 3, 4]], reviewer=name, note=name * 99)
    (found,) = ReviewDB(tmp_path / "review.sqlite").decisions().to_dict("records")
    assert [found[key] for key in ("image_id", "boxes", "reviewer", "note")] == [name, [[1, 2, 3, 4]], name, name * 99]


def test_a_review_file_of_0_bytes_is_a_new_one(tmp_path):
    (tmp_path / "review.sqlite").touch()
    assert ReviewDB(tmp_path / "review.sqlite").decisions().empty


READ = {"image": read_image, "label file": read_labels, "regions": load_regions, "pipeline": load_config,
        "model": load_checkpoint, "review file": lambda path: ReviewDB(path).decisions()}  # fmt: skip


@cases(places.REFUSED, "reader", "make")
def test_a_place_is_refused(tmp_path, reader, make):
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError) as error:
        READ[reader](path)
    told(error, path, "")
    assert sorted(tmp_path.iterdir()) == before

"""What is erased, for other programs: COCO as its readers want it, a table as of FiftyOne; and the commands."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from review_fixture import NASTY, write_run

from xray_debug import cli
from xray_debug.config import dump_config, parse_config
from xray_debug.data.files import write_text
from xray_debug.review.boxes_out import write_boxes_table, write_coco
from xray_debug.review.decisions import ReviewDB


@pytest.fixture
def store(tmp_path):
    """Of a.png the detector's box is replaced, c.png is as it was found, the nasty one is excluded."""
    store = write_run(tmp_path / "run")
    review = ReviewDB(store.review_file)
    review.decide("a.png", "edit", [[1, 2, 11, 22], [30, 0, 60, 40]], "ada", size=(40, 60))
    review.decide(NASTY, "exclude", reviewer="bob")
    return store


def test_coco_is_what_its_readers_document(store, tmp_path):
    """The fields that pycocotools indexes, FiftyOne's COCODetectionDataset and Lightly Studio's COCO input read."""
    assert write_coco(store, tmp_path / "x.json") == 3
    found = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    images, categories = ({row["id"]: row for row in found[name]} for name in ("images", "categories"))
    assert len(images) == len(found["images"]) and all(isinstance(number, int) for number in images)
    assert [category["name"] for category in categories.values()] == ["text", "region"]
    for image in images.values():  # found below the folder of the images, of the size that is said
        with Image.open(store.dataset_root() / image["file_name"]) if "damaged" not in image["file_name"] \
                else Image.new("L", (60, 40)) as picture:  # fmt: skip
            assert picture.size == (image["width"], image["height"])
    boxes = {}
    for number, row in enumerate(found["annotations"], 1):
        x, y, width, height = row["bbox"]
        image = images[row["image_id"]]
        assert row["id"] == number and row["iscrowd"] == 0 and row["area"] == width * height > 0
        assert min(x, y) >= 0 and x + width <= image["width"] and y + height <= image["height"]
        (polygon,) = row["segmentation"]
        points = np.reshape(polygon, (-1, 2))
        assert [*points.min(0), *points.max(0)] == [x, y, x + width, y + height]
        boxes.setdefault(image["file_name"], []).append((categories[row["category_id"]]["name"], row["bbox"]))
    assert boxes == {"a.png": [("region", [1, 2, 10, 20]), ("region", [30, 0, 30, 40])],
                     "c.png": [("text", [0, 0, 9, 9])]}  # fmt: skip
    assert [image["file_name"] for image in images.values()] == ["a.png", "c.png", "damaged.png"]


def test_kinds_that_the_run_erases_are_told_apart(store, tmp_path):
    write_text(store.pipeline_file, dump_config(parse_config({"clean": {"kinds": ["text", "device"]}})))
    write_coco(store, tmp_path / "x.json")
    found = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    name = {row["id"]: row["name"] for row in found["categories"]}
    file = {row["id"]: row["file_name"] for row in found["images"]}
    erased = sorted((file[row["image_id"]], name[row["category_id"]]) for row in found["annotations"])
    assert erased == [("a.png", "region")] * 2 + [("c.png", "text"), ("damaged.png", "device")]
    write_boxes_table(store, tmp_path / "x.parquet")
    table = pd.read_parquet(tmp_path / "x.parquet").set_index("image_id")["detections"]
    assert [[row["label"] for row in table[at]] for at in ("a.png", "damaged.png")] == [["region"] * 2, ["device"]]


def test_letters_that_stay_are_not_erased(store, tmp_path):
    letters = pd.DataFrame([("a.png", 5, 6, 20, 16, "R"), ("c.png", 0, 0, 9, 9, "L")],
                           columns=["image_id", "x0", "y0", "x1", "y1", "text"])  # fmt: skip
    store.path("letters").parent.mkdir(exist_ok=True)
    store.write_table("letters", letters)
    write_text(store.path("letters").with_name("stage.json"), "{}")
    for keep, left in (("laterality", 0), (None, 1)):
        write_text(store.pipeline_file, dump_config(parse_config({"clean": {"keep": keep}})))
        write_boxes_table(store, tmp_path / "x.parquet")
        table = pd.read_parquet(tmp_path / "x.parquet").set_index("image_id")["detections"]
        assert (len(table["c.png"]), len(table["a.png"])) == (left, 2)  # of a.png a reviewer has drawn both


def test_the_table_holds_what_fiftyone_makes_detections_of(store, tmp_path):
    assert write_boxes_table(store, tmp_path / "x.parquet") == 4
    table = pd.read_parquet(tmp_path / "x.parquet").set_index("image_id")
    assert table.loc[NASTY, ["decision", "event", "reviewer"]].tolist() == ["exclude", 2, "bob"]
    assert [len(found) for found in table["detections"]] == [2, 0, 1, 0]
    first = table.loc["a.png", "detections"][0]
    assert first["label"] == "region" and list(first["bounding_box"]) == [1 / 60, 2 / 40, 10 / 60, 20 / 40]
    for found in table["detections"]:  # in [0, 1], as fo.Detection wants them
        for box in found:
            x, y, width, height = box["bounding_box"]
            assert 0 <= x < x + width <= 1 and 0 <= y < y + height <= 1
    assert all((store.dataset_root() / name).samefile(table.loc[name, "filepath"]) for name in ("a.png", "c.png"))


def call(capsys, monkeypatch, *arguments) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["xray-debug", "decisions", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return ended.value.code, " ".join((said.out + said.err).split())


def test_the_commands_bring_events_from_one_run_to_another(store, tmp_path, capsys, monkeypatch):
    other = write_run(tmp_path / "other")
    for name, place in (("x.csv", ["--run", store.folder]), ("x.jsonl", [store.folder])):
        file = tmp_path / name
        assert call(capsys, monkeypatch, "export", *place, "--out", file) == (0, f"{file}: 2 events")
        assert file.stat().st_mode & 0o077 == 0 or sys.platform == "win32"  # names of patients' files, and of reviewers
    assert not other.review_file.exists()
    status, said = call(capsys, monkeypatch, "import", tmp_path / "x.csv", "--run", other.folder)
    assert (status, said) == (0, f"{other.review_file}: 2 events added, 0 were there already")
    assert ReviewDB(other.review_file).events() == ReviewDB(store.review_file).events()
    call(capsys, monkeypatch, "export", other.folder, "--out", tmp_path / "y.csv")
    assert (tmp_path / "y.csv").read_bytes() == (tmp_path / "x.csv").read_bytes()
    status, said = call(capsys, monkeypatch, "import", tmp_path / "x.jsonl", "--run", other.folder)
    assert said == f"{other.review_file}: 0 events added, 2 were there already"
    for name, count in (("x.json", 3), ("x.parquet", 4)):
        status, said = call(capsys, monkeypatch, "export", store.folder, "--out", tmp_path / name)
        assert (status, said) == (0, f"{tmp_path / name}: {count} images")


def test_what_the_commands_cannot_do_is_one_sentence(store, tmp_path, capsys, monkeypatch):
    (tmp_path / "there.csv").write_text("mine")
    empty = write_run(tmp_path / "empty")
    for arguments, words in (
        (["export", "--out", tmp_path / "x.csv"], "expected a run folder (RUN or --run, one of the two)"),
        (["export", store.folder], "expected a run folder (RUN or --run, one of the two)"),
        (["export", store.folder, "--out", tmp_path / "x.xls"], "one of .jsonl, .csv, .json, .parquet"),
        (["export", store.folder, "--out", tmp_path / "there.csv"], "there.csv: is there already; choose another name"),
        (["export", empty.folder, "--out", tmp_path / "x.csv"], "nobody has decided anything in this run yet"),
        (["export", tmp_path / "none", "--out", tmp_path / "x.json"], "stage prepare has not run"),
        (["import", tmp_path / "x.parquet", "--run", store.folder], "expected a file of events, .jsonl or .csv"),
        (["import", tmp_path / "there.csv", "--run", store.folder], "there.csv, row 1: expected the columns"),
        (["import", tmp_path / "there.csv", "--run", tmp_path / "none"], "stage prepare has not run"),
    ):  # fmt: skip
        status, said = call(capsys, monkeypatch, *arguments)
        assert status == 2 and words in said and "Traceback" not in said, said
    assert (tmp_path / "there.csv").read_text() == "mine" and not empty.review_file.exists()
    assert not (tmp_path / "none").exists()

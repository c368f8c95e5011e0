"""The synthetic COVIDx folder and its truth."""

import json
import pickle

import numpy as np

from xray_debug.config import PhantomConfig, PrepareConfig
from xray_debug.data.formats import build_manifest
from xray_debug.data.formats.covidx import read_labels
from xray_debug.data.images import read_image
from xray_debug.phantom import SOURCES, PhantomWorker, finish_phantom, phantom_rows, write_phantom


def test_a_written_phantom_is_a_covidx_folder_with_its_truth(tmp_path):
    calls = []
    config = PhantomConfig(train=20, test=10, size=96, correlation=0.8)
    out = write_phantom(tmp_path / "ph", config, seed=4, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (40, 40)
    boxes = json.loads((out / "truth" / "boxes.json").read_text())
    frame = build_manifest(out, PrepareConfig(extra_tests={"reversed": "reversed"}))
    assert len(frame) == len(boxes) == 40 and (frame["problem"] == "").all()
    assert set(frame["image_id"]) == set(boxes)
    assert frame["test_set"].value_counts().to_dict() == {"": 20, "test": 10, "reversed": 10}
    assert frame["label"].value_counts().to_dict() == {"normal": 15, "pneumonia": 13, "COVID-19": 12}
    for row in frame.itertuples():
        entry = boxes[row.image_id]
        assert (entry["class"], entry["source"], entry["size"]) == (row.label, row.source, [96, 96])
        image, clean = read_image(out / row.path), read_image(out / "truth" / row.path)
        changed = image != clean
        for box in entry["boxes"]:
            x0, y0, x1, y1 = box.get("outer", box["box"])
            changed[y0:y1, x0:x1] = False
        assert not changed.any()
    own = [entry["marker"] == entry["class"] for name, entry in boxes.items() if name.startswith("a")]
    assert sum(own) == round(0.8 * 7) + round(0.8 * 7) + round(0.8 * 6)
    reversed_own = [entry["marker"] == entry["class"] for name, entry in boxes.items() if name.startswith("rev-")]
    assert sum(reversed_own) <= 2  # only among those that do not follow the correlation
    for name in read_labels(out / "test_COVIDx.txt")["image_id"]:  # the same anatomy under both correlations
        twin = read_image(out / "truth" / "reversed" / "test" / f"rev-{name}")
        np.testing.assert_array_equal(read_image(out / "truth" / "test" / name), twin)
    assert frame["source"].isin(SOURCES).all() and frame["source"].nunique() > 1
    films = frame[frame["split"] == "train"].groupby("patient_id").size()
    assert films.max() <= 3


def test_writing_twice_gives_the_same_files(tmp_path):
    for name in ("one", "two"):
        write_phantom(tmp_path / name, PhantomConfig(train=12, test=6, size=96), seed=1)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 2 * (12 + 6 + 6) + 4
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_a_film_depends_on_its_row_alone(tmp_path):
    """Drawn by an engine, in any order and batches, the folder is the one that write_phantom writes."""
    config = PhantomConfig(train=12, test=6, size=96)
    whole, pieces = write_phantom(tmp_path / "whole", config, seed=3), tmp_path / "pieces"
    rows = phantom_rows(config, seed=3)
    assert len({row["image_id"] for row in rows}) == len(rows) == 18
    worker = pickle.loads(pickle.dumps(PhantomWorker(pieces, config, seed=3)))
    worker.open()
    entries = {}
    for batch in (rows[10:], rows[:4], rows[4:10], rows[2:3]):  # one of them twice
        for row, found in zip(batch, worker(batch), strict=True):
            entries[row["image_id"]] = found["entries"]
    finish_phantom(pieces, rows, [entries[row["image_id"]] for row in rows])
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(pieces) for path in pieces.rglob("*") if path.is_file())
    for path in files:
        assert (whole / path).read_bytes() == (pieces / path).read_bytes()


def test_a_test_film_is_written_under_both_correlations_and_drawn_once(tmp_path):
    rows = phantom_rows(PhantomConfig(train=12, test=6, size=96), seed=0)
    for row in rows:
        folders = [folder for folder, _, _ in row["copies"]]
        assert folders == (["train"] if row["image_id"].startswith("a") else ["test", "reversed/test"])
        assert {name.removeprefix("rev-") for _, name, _ in row["copies"]} == {row["image_id"]}

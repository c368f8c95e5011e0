"""The engine's worker and the table of boxes: each file decoded once, rows in order, faults named."""

import pickle

import numpy as np
import pytest
from text_fixture import film

from xray_debug.data.boxes import TextBox
from xray_debug.data.images import write_image
from xray_debug.text import DetectWorker, boxes_table, detect_table, load_detector
from xray_debug.text import worker as module
from xray_debug.text.worker import COLUMNS


class Fixed:
    """Finds as many boxes as an image has rows over 7, and cannot take an image of one row."""

    name = "fixed"

    def detect(self, images):
        for i, image in enumerate(images):
            if image.shape[0] == 1:
                raise ValueError(f"image {i}: too flat")
        return [[TextBox(0, k, image.shape[1], k + 2, 0.5) for k in range(image.shape[0] - 7)] for image in images]


@pytest.fixture
def rows(tmp_path):
    """Five images, of which the last has no boxes."""
    result = []
    for i, height in enumerate((8, 9, 8, 10, 7)):
        write_image(tmp_path / f"{i}.png", np.full((height, 10 + i), 7, np.uint8))
        result.append({"image_id": f"{i}.png", "file": str(tmp_path / f"{i}.png"), "other": 1})
    return result


def test_rows_come_back_in_order_whatever_the_batches(rows):
    results = [DetectWorker("fixed", batch_size=size, reader=Fixed())(rows) for size in (1, 2, 5, 99)]
    assert all(result == results[0] for result in results)
    assert [row["image_id"] for row in results[0]] == [row["image_id"] for row in rows]
    assert results[0][1] == {"image_id": "1.png", "boxes": [[0, 0, 11, 2, 0.5], [0, 1, 11, 3, 0.5]],
                             "kinds": ["text", "text"]}
    assert results[0][4]["boxes"] == [] and DetectWorker("fixed", reader=Fixed())([]) == []


def test_each_file_is_decoded_once(rows, monkeypatch):
    read, decoded = module.read_film, []
    monkeypatch.setattr(module, "read_film", lambda path: decoded.append(path) or read(path))
    DetectWorker("fixed", batch_size=2, reader=Fixed())(rows)
    assert decoded == [row["file"] for row in rows]


def test_a_worker_travels_before_it_is_opened(rows):
    worker = pickle.loads(pickle.dumps(DetectWorker("craft-lite", options={"precision": "fp32"}, batch_size=2)))
    worker.open()
    assert worker(rows[:1]) == [{"image_id": "0.png", "boxes": [], "kinds": []}]
    assert worker.reader.net is not None and worker.batch_size == 2


def test_a_worker_reads_as_the_detector_does(tmp_path):
    image = film(384, 320, "L", (60, 120), 2.4)
    write_image(tmp_path / "a.png", image)
    worker = DetectWorker("craft-lite", None, {"precision": "fp32"}, 8)
    worker.open()
    ((expected,),) = load_detector("craft-lite", precision="fp32").detect([image])
    (row,) = worker([{"image_id": "a", "file": str(tmp_path / "a.png")}])
    assert row["boxes"] == [[*expected.box, expected.score]] and row["kinds"] == ["text"]


def test_what_cannot_be_read_is_named(tmp_path, rows):
    worker = DetectWorker("fixed", reader=Fixed())
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="bad.png"):
        worker([rows[0], {"image_id": "bad", "file": str(tmp_path / "bad.png")}])
    write_image(tmp_path / "flat.png", np.zeros((1, 9), np.uint8))
    with pytest.raises(ValueError, match="flat.png: image 0: too flat"):
        worker([{"image_id": "flat", "file": str(tmp_path / "flat.png")}])
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        DetectWorker(batch_size=0)


def test_the_table_has_a_row_for_every_box(rows):
    table = boxes_table(DetectWorker("fixed", reader=Fixed())(rows), "fixed")
    assert list(table.columns) == ["image_id", "kind", "x0", "y0", "x1", "y1", "score", "detector"]
    assert table["image_id"].tolist() == ["0.png", "1.png", "1.png", "2.png", "3.png", "3.png", "3.png"]
    assert table["x1"].tolist() == [10, 11, 11, 12, 13, 13, 13] and table["y0"].tolist() == [0, 0, 1, 0, 0, 1, 2]
    assert set(table["detector"]) == {"fixed"} and set(table["kind"]) == {"text"} and set(table["score"]) == {0.5}
    empty = boxes_table([], "fixed")
    assert len(empty) == 0 and {name: str(kind) for name, kind in empty.dtypes.items()} == COLUMNS


def test_detect_table_goes_on_where_a_file_is_bad(tmp_path, rows):
    (tmp_path / "bad.png").write_bytes(b"no image")
    items = [(row["image_id"], row["file"]) for row in rows]
    items[2:2] = [("bad.png", tmp_path / "bad.png"), ("gone.png", tmp_path / "gone.png")]
    table, problems = detect_table(Fixed(), items)
    assert table["image_id"].nunique() == 4 and set(problems) == {"bad.png", "gone.png"}
    assert "gone.png: no such file" in problems["gone.png"]


def test_an_image_that_was_set_aside_has_no_boxes():
    found = boxes_table([{"image_id": "a", "problem": "damaged", "boxes": None, "kinds": None},
                         {"image_id": "b", "problem": "", "boxes": [[1, 2, 3, 4, 0.5]], "kinds": ["text"]}], "x")
    assert found["image_id"].tolist() == ["b"]

"""What the store says of a run by meaning."""

import numpy as np
import pandas as pd
import pytest

from xray_debug.data.files import write_json
from xray_debug.run.parts import write_part
from xray_debug.run.store import OUTPUTS, Store, StoreError


@pytest.fixture
def store(tmp_path):
    """Five images, of which the second and the fourth were set aside, one before it was scanned and one then."""
    store = Store(tmp_path)
    store.path("views").mkdir(parents=True)
    write_json(store.stage_folder("prepare") / "stage.json", {})
    frame = pd.DataFrame("", range(5), OUTPUTS["manifest"].columns).assign(
        image_id=list("abcde"), problem=["", "missing: no such file", "", "unreadable: cut off", ""],
        view_index=[0, -1, 1, 2, 3], width=8, height=8,
    )  # fmt: skip
    store.write_table("manifest", frame)
    rows = [{"image_id": name, "view": np.full((2, 2), i, np.uint8)} for i, name in enumerate("acde")]
    write_part(store.path("views"), 0, rows, "key", {"view": ((2, 2), np.uint8)})
    return store


def test_rows_with_a_problem_are_used_nowhere(store):
    frame = store.manifest()
    assert frame["image_id"].tolist() == ["a", "c", "e"] and frame.index.tolist() == [0, 1, 2]
    assert store.manifest(usable=False)["image_id"].tolist() == list("abcde")
    views = store.views()
    assert len(views) == len(frame) and views[:][:, 0, 0].tolist() == [0, 1, 3]


def test_paths_stay_in_the_dataset(store):
    write_json(store.path("dataset"), {"root": "phantom"})
    assert store.image_file("test/a.png") == store.folder / "prepare" / "phantom" / "test" / "a.png"
    for path in ("../a.png", "/a.png", "test/../../a.png"):
        with pytest.raises(StoreError, match="leads out of the dataset"):
            store.image_file(path)


def test_boxes_keep_to_their_image_and_kind(store):
    (store.folder / "detect").mkdir()
    write_json(store.folder / "detect" / "stage.json", {})
    rows = [("a", "text", 1), ("e", "text", 2), ("a", "device", 3), ("a", "text", 4)]
    frame = pd.DataFrame([(name, kind, x, 0, x + 1, 1, 0.9, "d") for name, kind, x in rows],
                         columns=OUTPUTS["regions"].columns)  # fmt: skip
    store.write_table("regions", frame)
    assert {name: boxes[:, 0].tolist() for name, boxes in store.boxes().items()} == {"a": [1, 4], "e": [2]}
    assert store.boxes("device")["a"].tolist() == [[3, 0, 4, 1]] and store.boxes("border") == {}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("unread", "[]", "expected a JSON mapping, got list"), ("unread", "3", "expected a JSON mapping, got int"),
        ("unread", "{", "not JSON"), ("verdict", '"x"', "expected a JSON mapping, got str"),
        ("cleaning facts", "{}", "expected failed in it, a dict, got nothing"),
        ("cleaning facts", '{"failed": []}', r"expected failed in it, a dict, got \[\]"),
        ("cleaning facts", '{"failed": {}, "remarks": {}}', r"expected remarks in it, a list, got \{\}"),
        ("dataset", "{}", "expected root in it, a str, got nothing"),
        ("dataset", '{"root": 3}', "expected root in it, a str, got 3"),
    ],
)  # fmt: skip
def test_a_damaged_result_is_named(tmp_path, name, text, words):
    store = Store(tmp_path)
    store.path(name).parent.mkdir(parents=True)
    write_json(store.stage_folder(OUTPUTS[name].stage) / "stage.json", {})
    store.path(name).write_text(text)
    with pytest.raises(StoreError, match=f"{store.path(name).name}: {words}"):
        store.json(name)


@pytest.mark.parametrize("text", ["[]", "3", "{"])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "stage.json").write_text(text)
    with pytest.raises(StoreError, match="stage.json: "):
        Store(tmp_path).record("train")

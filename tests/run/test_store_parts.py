"""Parts through the store: read once while their stage is the same, and a damaged one is one sentence."""

import os

import numpy as np
import pytest

from xray_debug.data.files import write_json
from xray_debug.run.parts import Parts, write_part
from xray_debug.run.store import OUTPUTS, Store, StoreError


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    for name in ("maps", "patches"):
        store.path(name).mkdir(parents=True)
        write_json(store.stage_folder(OUTPUTS[name].stage) / "stage.json", {})
    rows = [{"image_id": f"{i}.png", "saliency": np.full((2, 2), i, np.float32), "deletion_curve": np.ones(3)}
            for i in range(5)]  # fmt: skip
    for index, start in enumerate((0, 3)):
        write_part(store.path("maps"), index, rows[start : start + 3], "key")
    write_part(store.path("patches"), 0, [{"image_id": "1.png", "patch": b"xyz"}, {"image_id": "2.png"}], "key")
    return store


def test_maps_and_patches_are_found_by_name(store):
    assert store.explained() == {f"{i}.png" for i in range(5)}
    saliency = store.saliency("4.png")
    assert saliency.tolist() == [[4, 4], [4, 4]] and saliency.flags.writeable
    assert store.saliency("4.png", "insertion_curve") is None and store.saliency("9.png") is None
    rows = list(store.saliency_maps(["image_id", "deletion_curve"]))
    assert len(rows) == 5 and all(set(row) == {"image_id", "deletion_curve"} for row in rows)
    patch = store.patches()
    assert patch("1.png") == b"xyz" and patch("2.png") is None and patch("3.png") is None


def test_parts_are_read_once_until_the_stage_is_another(store, monkeypatch):
    reads = []
    read = Parts.read
    monkeypatch.setattr(Parts, "read", lambda folder: reads.append(1) or read(folder))
    for _ in range(3):
        store.saliency("4.png")
    assert len(reads) == 1
    write_part(store.path("maps"), 1, [{"image_id": "4.png", "saliency": np.zeros((2, 2), np.float32)}], "key")
    record = store.stage_folder(OUTPUTS["maps"].stage) / "stage.json"
    os.utime(record, ns=(1, record.stat().st_mtime_ns + 10))
    assert not store.saliency("4.png").any() and len(reads) == 2


def test_a_stage_at_work_is_read_as_it_is(store, tmp_path):
    at_work = Store(tmp_path, {OUTPUTS["maps"].stage: tmp_path / "work"})
    at_work.path("maps").mkdir(parents=True)
    assert at_work.explained() == set()
    write_part(at_work.path("maps"), 0, [{"image_id": "0.png", "saliency": np.ones((2, 2), np.float32)}], "key")
    assert at_work.explained() == {"0.png"}


def test_a_damaged_part_is_one_sentence(store):
    for name, read in (("maps", lambda: store.saliency("1.png")), ("maps", store.explained),
                       ("patches", lambda: store.patches()("1.png"))):  # fmt: skip
        next(iter(sorted(store.path(name).iterdir()))).write_bytes(b"no table")
        with pytest.raises(StoreError, match=f"{name}: not readable"):
            read()


def test_without_the_stage_there_is_nothing(tmp_path):
    store = Store(tmp_path)
    assert store.explained() == set() and store.saliency("a.png") is None and store.patches()("a.png") is None

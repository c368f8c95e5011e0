import dataclasses
import pickle
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest

from xray_debug.audit.bank import BANK, SPARE, BankWorker, as_donor, as_row, bank_candidates, bank_of, read_bank
from xray_debug.audit.swaps import make_donor
from xray_debug.config import CleanConfig
from xray_debug.data.images import ImageError, write_image
from xray_debug.data.view import ModelView
from xray_debug.stats.seeds import seed_of

VIEW = ModelView(32)


def film():
    image = np.random.default_rng(0).integers(60, 100, (64, 48)).astype(np.uint8)
    image[0:6, 30:38] = 220
    image[50:60, 3:9] = 5
    return image, [(29, 0, 39, 7), (2, 49, 10, 61)]


def same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a.x, a.y) == (b.x, b.y) and np.array_equal(a.difference, b.difference)


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "a.png", film()[0])
    write_image(tmp_path / "plain.png", np.full((64, 48), 90, np.uint8))
    return tmp_path


def worker():
    made = pickle.loads(pickle.dumps(BankWorker(dataclasses.asdict(VIEW), CleanConfig().model_dump(), 7)))
    made.open()
    return made


def row(folder, name, boxes):
    return {"image_id": name, "label": "normal", "file": str(folder / name), "boxes": boxes}


def test_a_bank_read_from_a_file_holds_the_same_markers(folder, tmp_path):
    image, boxes = film()
    rows = worker()([row(folder, "a.png", boxes), row(folder, "plain.png", [])])
    assert [r["height"] for r in rows] == [64, 0] and rows[1]["markers"] == b""
    pd.DataFrame(rows).to_parquet(tmp_path / "bank.parquet")
    (donor,) = read_bank(tmp_path / "bank.parquet")
    made = make_donor("a.png", "normal", image, boxes, VIEW, CleanConfig(), seed_of(7, "a.png", "donor"))
    assert (donor.image_id, donor.label, donor.height, donor.width) == ("a.png", "normal", 64, 48)
    assert len(donor.markers) == 2 and donor.markers[0].difference.dtype == np.float32
    same(donor.markers, made.markers)
    same(donor.controls, made.controls)


def test_rows_and_donors_are_each_other_s_inverse():
    image, boxes = film()
    made = make_donor("a.png", "normal", image, boxes, VIEW, CleanConfig(), 3)
    back = as_donor(as_row(made))
    same(back.markers, made.markers)
    same(back.controls, made.controls)
    assert back.patch == made.patch


def test_a_file_that_cannot_be_read_is_an_error(folder):
    (folder / "bad.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"bad\.png"):
        worker()([row(folder, "bad.png", [(1, 1, 4, 4)])])


def test_candidates_are_even_over_classes_and_have_text():
    cases = pd.DataFrame({"image_id": [f"i{i}" for i in range(300)], "label": ["a"] * 250 + ["b"] * 50})
    with_text = {f"i{i}" for i in range(300) if i % 2}
    chosen = bank_candidates(cases, with_text, 3)
    assert len(chosen) == BANK + SPARE and set(chosen["image_id"]) <= with_text
    assert (chosen["label"][:40] == "b").sum() in range(14, 27)  # in turns, of which about half have text
    assert chosen["label"].value_counts()["b"] == 25  # all there are
    assert chosen.equals(bank_candidates(cases, with_text, 3))
    assert chosen["image_id"].tolist() != bank_candidates(cases, with_text, 4)["image_id"].tolist()


def test_the_first_that_hold_markers_are_kept():
    rows = [{"image_id": i, "height": i % 3} for i in range(200)]
    kept = bank_of(rows)
    assert len(kept) == BANK and [r["image_id"] for r in kept][:4] == [1, 2, 4, 5]


def test_a_file_that_changed_since_prepare_is_an_error(folder):
    image, boxes = film()
    known = row(folder, "a.png", boxes) | {"sha256": sha256((folder / "a.png").read_bytes()).hexdigest()}
    assert worker()([known])[0]["height"] == 64
    write_image(folder / "a.png", image.T.copy())
    with pytest.raises(ImageError, match=r"a\.png: changed since stage prepare"):
        worker()([known])

"""The manifest: one row per line, faults set aside, validation cut by patient."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from covidx_fixture import CLASSES, add_line, make_dataset, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.config import PrepareConfig
from xray_debug.data.formats.covidx import MANIFEST_COLUMNS, LabelError, build_manifest, check_dataset, cut_validation
from xray_debug.data.images import write_image

MINI = Path(__file__).parents[3] / "shared" / "covidx-mini"


def _kinds(findings):
    return sorted({finding.kind for finding in findings})


def test_a_clean_dataset(tmp_path):
    root, calls = make_dataset(tmp_path / "d"), []
    frame = build_manifest(root, PrepareConfig(), seed=3, progress=lambda done, total: calls.append((done, total)))
    assert list(frame.columns) == MANIFEST_COLUMNS
    assert (frame["problem"] == "").all() and frame["image_id"].is_unique
    assert frame["split"].value_counts().to_dict() == {"train": 12, "test": 6, "val": 6}  # one patient per class
    assert calls[-1] == (24, 24) and len(calls) == 24
    assert (frame["width"] == 44).all() and (frame["height"] == 40).all() and (frame["bit_depth"] == 8).all()
    assert all((root / path).is_file() for path in frame["path"])
    assert frame["phash"].str.fullmatch("[0-9a-f]{16}").all()
    assert set(frame["test_set"][frame["split"] == "test"]) == {"test"}
    assert (frame["test_set"][frame["split"] != "test"] == "").all()
    assert check_dataset(root) == []
    frame.to_parquet(tmp_path / "m.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "m.parquet"), frame, check_dtype=False)
    pd.testing.assert_frame_equal(build_manifest(root, PrepareConfig(), seed=3), frame)


def test_every_planted_fault_is_found_and_nothing_dies(tmp_path):
    root = make_dataset(tmp_path / "d")
    train = root / "train"
    (train / "broken.png").write_bytes((train / "train-000.png").read_bytes()[:200])
    write_image(train / "black.png", np.zeros((30, 30), np.uint8))
    write_image(train / "COVID-1.png", picture(77))
    write_image(train / "stray.png", picture(78))
    (train / "twin.png").write_bytes((train / "train-003.png").read_bytes())
    write_image(train / "twin.jpg", picture(1001))
    write_image(tmp_path / "secret.png", picture(79))
    os.symlink(tmp_path / "secret.png", train / "link.png")
    for line in ("X1 broken.png normal s", "X2 black.png normal s", "COVID 1 COVID(1).png COVID-19 rnsa",
                 "X3 missing.png normal s", "X4 train-000.png pneumonia s", "X5 twin.png normal s",
                 "Q0 twin.jpg normal s", "X6 link.png normal s", "X7 ../test/test-000.png normal s", "rubbish",
                 "COVID 1 COVID-1.png COVID-19 sirm"):
        add_line(root, line)
    frame = build_manifest(root)
    assert len(frame) == 18 + 11 + 6 and frame["image_id"].is_unique
    problems = frame[frame["problem"] != ""].set_index("line")["problem"]
    assert {line: text.split(":")[0] for line, text in problems.items()} == {
        19: "unreadable", 20: "blank", 22: "missing", 23: "repeated", 26: "outside", 27: "label", 28: "label",
        29: "repeated"}
    assert problems[23] == "repeated: named before, train_COVIDx.txt:1 as normal"
    assert problems[29] == "repeated: same file as COVID(1).png, train_COVIDx.txt:21"
    assert str(tmp_path) not in "".join(frame["problem"])
    rows = frame.set_index("image_id")
    assert rows.loc["twin.png", "duplicate_of"] == "train-003.png"
    assert rows.loc["test-001.png", "near_duplicate_of"] == "twin.jpg"
    assert "COVID-1.png, which differs in brackets" in rows.loc["COVID(1).png", "note"]
    assert rows.loc["COVID(1).png", "source"] == "rsna" and rows.loc["COVID(1).png", "path"] == "train/COVID-1.png"
    assert set(frame["patient_id"][frame["shared_patient"]]) == {"Q0"}

    findings = check_dataset(root)
    assert _kinds(findings) == ["blank", "duplicate", "label", "missing", "near-duplicate", "note", "outside",
                                "patient", "repeated", "unlisted", "unreadable"]
    text = "\n".join(f"{finding.where}: {finding.message}" for finding in findings)
    for part in ("train_COVIDx.txt:22: no file missing.png in train/", "twin.png: same file as train-003.png, which is "
                 "labelled pneumonia, not normal", "which is in ", "source rnsa read as rsna", "stray.png",
                 "patient Q0 has 1 images in train and 2 in test", "train_COVIDx.txt:28: no class"):
        assert part in text
    assert text.count("train_COVIDx.txt:19:") == 1


def test_bad_layout_and_bad_options_are_one_sentence(tmp_path):
    findings = check_dataset(tmp_path)
    assert _kinds(findings) == ["layout"] and "no label file for train" in findings[0].message
    root = make_dataset(tmp_path / "d")
    for extra, what in (({"test": "x"}, "own test"), ({"far": ".."}, "no folder"), ({"far": "nowhere"}, "no folder"),
                        ({"far": "train"}, "no label file")):
        with pytest.raises(LabelError, match=what):
            build_manifest(root, PrepareConfig(extra_tests=extra))


def test_extra_tests_come_under_their_name(tmp_path):
    root = make_dataset(tmp_path / "d")
    make_dataset(root / "more", train=0, test=2)
    for name in ("test-000.png", "test-001.png"):
        (root / "more" / "test" / name).rename(root / "more" / "test" / f"more-{name}")
    lines = (root / "more" / "test_COVIDx.txt").read_text().replace("test-", "more-test-")
    (root / "more" / "test_COVIDx.txt").write_text(lines)
    frame = build_manifest(root, PrepareConfig(extra_tests={"second": "more"}))
    rows = frame[frame["test_set"] == "second"]
    assert list(rows["path"]) == ["more/test/more-test-000.png", "more/test/more-test-001.png"]
    assert (rows["split"] == "test").all() and (rows["problem"] == "").all()
    assert set(rows["duplicate_of"]) == {"test-000.png", "test-001.png"}


def test_a_val_of_its_own_is_kept(tmp_path):
    root = make_dataset(tmp_path / "d")
    (root / "val").mkdir()
    write_image(root / "val" / "v.png", picture(500))
    (root / "val.txt").write_text("V v.png normal\n")
    frame = build_manifest(root)
    assert frame["split"].value_counts().to_dict() == {"train": 18, "test": 6, "val": 1}


def test_a_dataset_without_a_usable_row_still_has_a_manifest(tmp_path):
    root = make_dataset(tmp_path / "d")
    for path in (*(root / "train").iterdir(), *(root / "test").iterdir()):
        path.write_bytes(b"nothing")
    frame = build_manifest(root)
    assert len(frame) == 24 and (frame["problem"].str.startswith("unreadable: ")).all()
    assert {"unreadable", "classes"} <= set(_kinds(check_dataset(root)))


def test_classes_of_two_label_sets_are_remarked(tmp_path):
    root = make_dataset(tmp_path / "d")
    write_image(root / "test" / "p.png", picture(900))
    add_line(root, "Z p.png positive s", "test")
    messages = [finding.message for finding in check_dataset(root) if finding.kind == "classes"]
    assert "classes of several label sets: normal, pneumonia, COVID-19, positive" in messages
    assert "no usable image of class positive in train" in messages


lines = st.tuples(st.integers(0, 25), st.sampled_from(CLASSES), st.integers(0, 400))
tables = st.lists(lines, min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(tables, st.floats(0.05, 0.45), st.integers(0, 5), st.randoms())
def test_validation_is_cut_by_patient_and_stratified(table, fraction, seed, random):
    frame = pd.DataFrame(table, columns=["patient_id", "label", "sha256"]).astype(str)
    val = cut_validation(frame, fraction, seed)
    for column in ("patient_id", "sha256"):  # neither a patient nor a file is on both sides
        assert not set(frame[column][val]) & set(frame[column][~val])
    order = list(range(len(frame)))
    random.shuffle(order)  # the order of the rows does not matter
    np.testing.assert_array_equal(cut_validation(frame.iloc[order], fraction, seed), val[order])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=120), st.floats(0.05, 0.45))
def test_every_class_with_two_patients_is_on_both_sides(patients, fraction):
    frame = pd.DataFrame({"patient_id": patients, "label": [CLASSES[patient % 3] for patient in patients],
                          "sha256": range(len(patients))}).astype(str)
    val = cut_validation(frame, fraction, 0)
    for _, rows in frame.groupby("label"):
        sizes, taken = rows["patient_id"].value_counts(), int(val[rows.index].sum())
        assert taken <= max(fraction * len(rows) + 0.5, sizes.min())
        assert (0 < taken < len(rows)) == (len(sizes) > 1)


def test_validation_has_its_share_of_every_class():
    frame = pd.DataFrame({"patient_id": [f"p{i}" for i in range(900)], "label": [CLASSES[i % 3] for i in range(900)],
                          "sha256": [str(i) for i in range(900)]})
    val = cut_validation(frame, 0.15, 0)
    assert frame["label"][val].value_counts().to_dict() == dict.fromkeys(CLASSES, 45)
    assert (cut_validation(frame, 0.15, 1) != val).any()
    lone = cut_validation(frame.iloc[:3], 0.15, 0)  # one patient per class: all stay in train
    assert not lone.any()
    assert cut_validation(frame.iloc[:6], 0.15, 0).sum() == 3  # two per class: one each


@pytest.mark.slow
@pytest.mark.skipif(not MINI.is_dir(), reason="covidx-mini is not here")
def test_the_real_dataset():
    frame = build_manifest(MINI)
    assert len(frame) == 1193 and (frame["problem"] == "").all()
    assert (frame["split"] == "test").sum() == 264
    sides = frame[frame["split"] != "test"].groupby("patient_id")["split"].nunique()
    assert sides.max() == 1

"""The manifest: one row per line, faults set aside, validation cut by patient."""

import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from covidx_fixture import add_line, make_dataset, picture

from xray_debug.config import PrepareConfig
from xray_debug.data.formats import LayoutError, build_manifest, check_dataset
from xray_debug.data.images import write_image
from xray_debug.data.manifest import MANIFEST_COLUMNS, ROW, finish_manifest, mark_repeated

MINI = Path(__file__).parents[3] / "shared" / "covidx-mini"


def _kinds(findings):
    return sorted({finding.kind for finding in findings})


def test_a_clean_dataset(tmp_path):
    root, calls = make_dataset(tmp_path / "d"), []
    frame = build_manifest(root, PrepareConfig(), seed=3, progress=lambda done, total: calls.append((done, total)))
    assert list(frame.columns) == MANIFEST_COLUMNS
    assert (frame["problem"] == "").all() and frame["image_id"].is_unique
    assert frame["split"].value_counts().to_dict() == {"train": 12, "test": 6, "val": 6}  # one patient per class
    assert calls == [(16, 24), (24, 24)]
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
    assert _kinds(findings) == ["layout"] and "covidx: label files *train*COVIDx*.txt" in findings[0].message
    root = make_dataset(tmp_path / "d")
    for extra, what in (({"test": "x"}, "plain name other than train and test"), ({"far": ".."}, "no folder"),
                        ({"far": "nowhere"}, "no folder"), ({"far": "train"}, "no label file")):
        with pytest.raises(LayoutError, match=what):
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
    assert len(messages) == 1
    assert "mix several sets of classes (normal, pneumonia, COVID-19 beside positive)" in messages[0]


def _row(name, **values):
    return ROW | {"image_id": name, "path": f"train/{name}", "split": "train", "patient_id": name, "label": "normal",
                  "label_file": "l.txt", "line": 1} | values


def _facts(name, **values):
    return {"image_id": name, "width": 4, "height": 3, "bit_depth": 8, "sha256": f"sha {name}",
            "phash": sha256(name.encode()).hexdigest()[:16], "problem": ""} | values


def test_repeated_rows_are_those_of_the_same_name_or_file():
    rows = mark_repeated([
        _row("a"), _row("a", label="pneumonia", path="train/b", line=2), _row("c", path="train/a", line=3),
        _row("b", path="", problem="missing: no file", line=4), _row("d", path="", problem="missing: no file", line=5)])
    assert [row["image_id"] for row in rows] == ["a", "a (l.txt:2)", "c (l.txt:3)", "b", "d"]
    assert [row["problem"] for row in rows] == [
        "", "repeated: named before, l.txt:1 as normal",
        "repeated: same file as a, l.txt:1", "missing: no file", "missing: no file"]


def test_attributes_pass_through_and_other_facts_do_not():
    rows = [_row("a", attr_site="x"), _row("b", attr_site="y", problem="missing: no file")]
    frame = finish_manifest(rows, [_facts("a", attr_age=7, view=np.ones((2, 2)), seconds=3.0)])
    assert list(frame.columns) == [*MANIFEST_COLUMNS, "attr_site", "attr_age"]
    assert frame["attr_site"].tolist() == ["x", "y"] and frame["attr_age"].iloc[0] == 7


def test_what_was_not_found_out_is_empty_and_has_a_kind():
    """An engine that sets an image aside knows its problem alone; a table of facts holds NaN and None for the rest."""
    rows = [_row("a"), _row("b"), _row("c")]
    table = pd.DataFrame([_facts("a"), {"image_id": "b", "problem": "out of luck"}, _facts("c")])
    frame = finish_manifest(rows, table.to_dict("records"))
    assert frame["problem"].tolist() == ["", "unreadable: out of luck", ""]
    assert frame["width"].tolist() == [4, 0, 4] and frame["width"].dtype == np.int64
    assert frame.loc[1, "sha256"] == frame.loc[1, "phash"] == ""
    with pytest.raises(ValueError, match=r"b: expected what its file holds, got nothing \(2 images\)"):
        finish_manifest(rows, [_facts("a")])


def test_a_dataset_without_rows():
    frame = finish_manifest([], [])
    assert list(frame.columns) == MANIFEST_COLUMNS and len(frame) == 0


@pytest.mark.skipif(not MINI.is_dir(), reason="covidx-mini is not here")
def test_the_real_dataset():
    frame = build_manifest(MINI)
    assert len(frame) == 1193 and (frame["problem"] == "").all()
    assert (frame["split"] == "test").sum() == 264
    sides = frame[frame["split"] != "test"].groupby("patient_id")["split"].nunique()
    assert sides.max() == 1

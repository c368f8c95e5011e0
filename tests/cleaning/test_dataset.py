"""The cleaned dataset: one rule, every change in the log, originals neither written to nor shared."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cleaning_fixture import BOX, COLUMNS, GROWN, SETTINGS, BrightSpots, dataset, files, film, frame, sha256

from xray_debug.cleaning.dataset import CHANGES, clean_dataset, finish, plan_rows
from xray_debug.cleaning.files import target_name
from xray_debug.config import CleanConfig, PrepareConfig
from xray_debug.data.formats import build_manifest
from xray_debug.data.formats.covidx import read_labels
from xray_debug.data.images import image_header, read_film, read_image, write_image


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data", *dataset(tmp_path / "data")


def test_writes_the_layout_keeps_formats_and_leaves_the_originals(data, tmp_path):
    root, manifest, boxes = data
    before, calls = files(root), []
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS, progress=lambda *n: calls.append(n))
    out = tmp_path / "out"
    assert files(root) == before
    assert sorted(files(out)) == sorted([
        "cleaning.json", "train_COVIDx.txt", "test_COVIDx.txt", "reversed/test_COVIDx.txt", "train/a.png",
        "train/b.png", "train/c.png", "test/d.png", "test/e.png", "reversed/test/f.tif"])  # fmt: skip
    assert calls[-1] == (6, 6) and len(calls) == 6
    assert list(changes.columns) == CHANGES
    assert changes["image_id"].tolist() == ["a.png", "c.jpg", "d.png", "f.tif"]
    assert changes["file"].tolist() == ["a.png", "c.png", "d.png", "f.tif"]
    assert changes["split"].tolist() == ["train", "val", "test", "test"]
    assert set(changes["origin"]) == {"detector"}
    assert json.loads(changes["boxes"][0]) == [list(BOX)]
    for row, path in zip(changes.itertuples(), ("train/a.png", "train/c.png", "test/d.png", "reversed/test/f.tif"),
                         strict=True):  # fmt: skip
        original, cleaned = read_image(root / manifest.set_index("image_id").path[row.image_id]), read_image(out / path)
        assert (cleaned.dtype, cleaned.shape) == (original.dtype, original.shape)
        changed = (cleaned != original).reshape(80, 90, -1).any(2)
        assert changed.any() and not changed[~GROWN].any()
        assert row.area_share == pytest.approx(GROWN.mean())
        assert row.cleaned_sha256 == sha256(out / path) and row.original_sha256 == before[str(
            manifest.set_index("image_id").path[row.image_id])]  # fmt: skip
    assert changes["note"].tolist() == ["", "JPEG written losslessly as PNG", "", ""]
    assert image_header(out / "reversed/test/f.tif").format == "TIFF"


def test_unchanged_images_are_copies_that_share_nothing_with_the_originals(data, tmp_path):
    root, manifest, boxes = data
    clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS, control=tmp_path / "control")
    original = (root / "train/b.png").read_bytes()
    for folder in ("out", "control"):
        copy = tmp_path / folder / "train/b.png"
        assert copy.read_bytes() == original and not copy.samefile(root / "train/b.png")
        copy.write_bytes(b"edited by a user")
    assert (root / "train/b.png").read_bytes() == original


def test_label_files_are_read_again_with_the_mapped_names(data, tmp_path):
    root, manifest, boxes = data
    clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS)
    train = read_labels(tmp_path / "out/train_COVIDx.txt")
    assert train[["patient_id", "image_id", "label", "source"]].values.tolist() == [
        ["a", "a.png", "COVID-19", "cohen"], ["b", "b.png", "normal", "cohen"], ["c", "c.png", "COVID-19", "cohen"]]
    assert read_labels(tmp_path / "out/reversed/test_COVIDx.txt")["image_id"].tolist() == ["f.tif"]


def test_prepare_loads_what_clean_wrote(tmp_path):
    root, lines = tmp_path / "data", {"train": [], "test": []}
    for i in range(24):
        split = "train" if i < 18 else "test"
        (root / split).mkdir(parents=True, exist_ok=True)
        write_image(root / split / f"im {i}.jpg", film(i))
        lines[split].append(f"p{i}\tim {i}.jpg\t{('normal', 'pneumonia', 'COVID-19')[i % 3]}\tsirm\n")
    for split, text in lines.items():
        (root / f"{split}_COVIDx.txt").write_text("".join(text))
    manifest = build_manifest(root, PrepareConfig())
    boxes = pd.DataFrame([(f"im {i}.jpg", *BOX) for i in range(0, 24, 2)], columns=COLUMNS)
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS)
    again = build_manifest(tmp_path / "out", PrepareConfig())
    assert (manifest["problem"] == "").all() and (again["problem"] == "").all()
    assert len(changes) == 12
    expected = manifest.assign(image_id=manifest["image_id"].str.replace(".jpg", ".png"))  # changed or not
    columns = ["image_id", "patient_id", "label", "source"]
    again, expected = (frame.sort_values("image_id", ignore_index=True) for frame in (again, expected))
    pd.testing.assert_frame_equal(again[columns].astype(object), expected[columns].astype(object))
    assert (again["split"] == "test").tolist() == (expected["split"] == "test").tolist()


def test_decisions_are_honoured(data, tmp_path):
    root, manifest, boxes = data
    decisions = pd.DataFrame({
        "image_id": ["a.png", "d.png", "e.png", "f.tif"],
        "decision": ["reject", "edit", "edit", "approve"],
        "boxes": [None, [[60, 60, 70, 70]], "[[1, 2, 9, 9]]", None],
    })  # fmt: skip
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS, decisions).set_index("image_id")
    assert sorted(changes.index) == ["c.jpg", "d.png", "e.png", "f.tif"]
    assert changes["origin"].to_dict() == {
        "c.jpg": "detector", "d.png": "reviewer", "e.png": "reviewer", "f.tif": "detector"}
    assert json.loads(changes.boxes["d.png"]) == [[60, 60, 70, 70]]
    assert json.loads(changes.boxes["e.png"]) == [[1, 2, 9, 9]]
    assert sha256(tmp_path / "out/train/a.png") == sha256(root / "train/a.png")
    original, cleaned = read_image(root / "test/d.png"), read_image(tmp_path / "out/test/d.png")
    np.testing.assert_array_equal(cleaned[:50], original[:50])  # the detector's box is no longer erased
    assert changes.attrs["summary"]["rejected"] == 1
    bad = pd.DataFrame({"image_id": ["a.png"], "decision": ["maybe"], "boxes": [None]})
    with pytest.raises(ValueError, match="expected one of approve, reject, edit, exclude, got 'maybe'"):
        clean_dataset(manifest, root, boxes, tmp_path / "out2", SETTINGS, bad)
    with pytest.raises(ValueError, match="a.png: edit needs boxes"):
        clean_dataset(manifest, root, boxes, tmp_path / "out2", SETTINGS, bad.assign(decision="edit"))


def test_control_erases_the_same_shapes_elsewhere_under_the_same_names(data, tmp_path):
    root, manifest, boxes = data
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS, seed=3, control=tmp_path / "control")
    assert sorted(files(tmp_path / "out")) == sorted(files(tmp_path / "control"))
    assert changes["control_area_share"].tolist() == changes["area_share"].tolist()
    originals = manifest.set_index("image_id")["path"]
    for row, path in zip(changes.itertuples(), ("train/a.png", "train/c.png", "test/d.png", "reversed/test/f.tif"),
                         strict=True):  # fmt: skip
        ((x0, y0, x1, y1),) = json.loads(row.control_boxes)
        assert (x1 - x0, y1 - y0) == (36, 26)
        assert x1 <= BOX[0] or x0 >= BOX[2] or y1 <= BOX[1] or y0 >= BOX[3]
        original = read_image(root / originals[row.image_id])
        changed = (read_image(tmp_path / "control" / path) != original).reshape(80, 90, -1).any(2)
        inside = np.zeros_like(changed)
        inside[y0:y1, x0:x1] = True
        assert changed.any() and not changed[~inside].any()
    alone = clean_dataset(manifest[2:3], root, boxes, tmp_path / "1", SETTINGS, seed=3, control=tmp_path / "2")
    assert alone["control_boxes"].tolist() == changes["control_boxes"].tolist()[1:2]  # whatever its neighbours
    summaries = [json.loads((tmp_path / folder / "cleaning.json").read_text()) for folder in ("out", "control")]
    assert [s.pop("control") for s in summaries] == [False, True] and summaries[0] == summaries[1]


def test_control_without_a_free_place_keeps_the_pixels_and_the_name(data, tmp_path):
    root, manifest, _ = data
    boxes = pd.DataFrame([("c.jpg", 0, 0, 90, 60), ("d.png", 0, 0, 90, 60)], columns=COLUMNS)
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS, control=tmp_path / "control")
    assert changes["image_id"].tolist() == ["c.jpg", "d.png"] and changes["control_area_share"].tolist() == [0, 0]
    assert changes["control_boxes"].tolist() == ["[]", "[]"]
    np.testing.assert_array_equal(read_image(tmp_path / "control/train/c.png"), read_image(root / "train/c.jpg"))
    assert (tmp_path / "control/test/d.png").read_bytes() == (root / "test/d.png").read_bytes()


def test_boxes_beside_the_image_change_nothing(data, tmp_path):
    root, manifest, _ = data
    boxes = pd.DataFrame([("c.jpg", 200, 200, 220, 220)], columns=COLUMNS)
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS, control=tmp_path / "control")
    assert len(changes) == 0 and changes.attrs["summary"]["failed"] == {}
    assert changes.attrs["summary"]["rewritten"] == {"JPEG written losslessly as PNG": 1}
    for folder in ("out", "control"):
        assert np.array_equal(read_image(tmp_path / folder / "train/c.png"), read_image(root / "train/c.jpg"))


def test_jpeg_is_encoded_again_only_on_request_and_says_what_was_lost(data, tmp_path):
    root, manifest, boxes = data
    settings = CleanConfig(lossy="jpeg", dilation=0.15)
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", settings).set_index("image_id")
    assert changes.file["c.jpg"] == "c.jpg"
    assert image_header(tmp_path / "out/train/c.jpg").format == "JPEG"
    cleaned, original = read_image(tmp_path / "out/train/c.jpg").astype(float), read_image(root / "train/c.jpg")
    assert 0 < np.abs(cleaned - original)[~GROWN].mean() < 3
    assert "encoded as JPEG again: pixels outside the boxes differ by" in changes.note["c.jpg"]
    assert f"{np.abs(cleaned - original)[~GROWN].mean():.2f} grey levels" in changes.note["c.jpg"]


@pytest.mark.parametrize(
    ("name", "lossy", "taken", "expected"),
    [
        ("a.png", "png", set(), "a.png"),
        ("a.TIFF", "png", set(), "a.TIFF"),
        ("a.jpg", "jpeg", set(), "a.jpg"),
        ("a.b.jpg", "png", set(), "a.b.png"),
        ("a.JPEG", "png", {"a.png"}, "a_2.png"),
        ("a.jpg", "png", {"a.png", "a_2.png"}, "a_3.png"),
        ("a.dcm", "jpeg", set(), "a.png"),  # by its content no DICOM
        ("a", "png", set(), "a.png"),
        ("A.JPG", "png", {"a.png"}, "A_2.png"),  # one file where capitals do not count
    ],
)
def test_target_name(name, lossy, taken, expected):
    assert target_name(name, lossy, taken) == expected


@pytest.mark.parametrize("name", ["a" * 251 + ".jpg", "胸" * 83 + "a.dcm", "a" * 255], ids=["latin", "Chinese", "bare"])
def test_the_longest_names_there_are_stay_apart(name):
    taken: set[str] = set()
    for image_id in (name, name, "b" + name[1:]):
        found = target_name(image_id, "png", taken)
        assert found.endswith(".png") and len(found.encode()) <= 255 and found.casefold() not in taken
        taken.add(found.casefold())
    assert target_name(name, "png", set()) == target_name(name, "png", set())


def test_names_never_collide(tmp_path):
    rows = [("x.jpg", "train", "normal", ""), ("x.png", "train", "normal", ""), ("x.jpeg", "train", "normal", "")]
    (tmp_path / "data/train").mkdir(parents=True)
    for i, (name, *_) in enumerate(rows):
        write_image(tmp_path / "data/train" / name, film(i))
    boxes = pd.DataFrame([(name, *BOX) for name, *_ in rows], columns=COLUMNS)
    changes = clean_dataset(frame(rows, tmp_path / "data"), tmp_path / "data", boxes, tmp_path / "out", SETTINGS)
    assert changes["file"].tolist() == ["x_2.png", "x.png", "x_3.png"]


def test_bad_images_are_set_aside_named_and_never_fatal(data, tmp_path):
    root, manifest, boxes = data
    (root / "test/d.png").write_bytes((root / "test/d.png").read_bytes()[:200])
    manifest.loc[1, "problem"], manifest.loc[3, "sha256"] = "truncated", ""
    more = pd.DataFrame([("a.png", 0, 0, 90, 80)], columns=COLUMNS)  # the whole image
    changes = clean_dataset(manifest, root, pd.concat([boxes, more]), tmp_path / "out", SETTINGS)
    summary = json.loads((tmp_path / "out/cleaning.json").read_text())
    assert changes["image_id"].tolist() == ["c.jpg", "f.tif"]
    assert summary["set_aside"] == 1 and summary["changed"] == 2 and summary["images"] == 5
    assert sorted(summary["failed"]) == ["a.png", "d.png"]
    assert "d.png: damaged or truncated" in summary["failed"]["d.png"]
    assert "covers the whole image" in summary["failed"]["a.png"]
    assert sha256(tmp_path / "out/train/a.png") == sha256(root / "train/a.png")
    assert read_labels(tmp_path / "out/test_COVIDx.txt")["image_id"].tolist() == ["e.png"]
    assert read_labels(tmp_path / "out/train_COVIDx.txt")["image_id"].tolist() == ["a.png", "c.png"]
    assert changes.attrs["summary"] == summary


def test_names_that_lead_out_of_the_folders_are_refused(data, tmp_path):
    root, manifest, boxes = data
    for column, value, words in (
        ("image_id", "../a.png", "plain file name"),
        ("image_id", "..\\a.png", "plain file name"),
        ("image_id", "C:a.png", "plain file name"),
        ("path", "../../etc/passwd", "leads out of the dataset"),
        ("path", "/etc/passwd", "leads out of the dataset"),
        ("test_set", "../elsewhere", "plain name"),
    ):
        bad = manifest.copy()
        bad.loc[3, column] = value
        with pytest.raises(ValueError, match=words):
            clean_dataset(bad, root, boxes, tmp_path / "out", SETTINGS)
    with pytest.raises(ValueError, match="holds the original images"):
        clean_dataset(manifest, root, boxes, root, SETTINGS)
    with pytest.raises(ValueError, match="holds the original images"):
        clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS, control=root)


def test_no_boxes_at_all_give_an_empty_log(data, tmp_path):
    root, manifest, boxes = data
    changes = clean_dataset(manifest, root, boxes[:0], tmp_path / "out", SETTINGS, reader=BrightSpots, probe_images=9)
    assert len(changes) == 0 and list(changes.columns) == CHANGES
    assert changes.attrs["probe"]["auc"] is None and changes.attrs["probe"]["images"] == 0
    changes.to_parquet(tmp_path / "changes.parquet")
    assert list(pd.read_parquet(tmp_path / "changes.parquet").columns) == CHANGES
    nothing = clean_dataset(manifest[:0], root, boxes, tmp_path / "nothing", SETTINGS)
    assert len(nothing) == 0 and nothing.attrs["summary"]["images"] == 0


def test_residual_counts_what_the_second_reader_still_finds(data, tmp_path):
    root, manifest, boxes = data
    decisions = pd.DataFrame({"image_id": ["d.png"], "decision": ["edit"], "boxes": [[[60, 60, 70, 70]]]})
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS, decisions, reader=BrightSpots)
    out = {"a.png": "train/a.png", "c.jpg": "train/c.png", "d.png": "test/d.png", "f.tif": "reversed/test/f.tif"}
    expected = {name: len(BrightSpots().detect([read_film(tmp_path / "out" / p).gray])[0])
                for name, p in out.items()}  # fmt: skip
    assert changes.set_index("image_id")["residual"].to_dict() == expected and expected["d.png"] == 1
    assert changes["residual"].dtype == "Int64"
    unread = clean_dataset(manifest, root, boxes, tmp_path / "unread", SETTINGS, decisions)
    assert unread["residual"].isna().all() and len(unread) == 4


# ------------------------------------------------------------------------------------------------- the plan


def test_the_plan_names_what_is_read_again_and_probed(tmp_path):
    rows = [(f"{i:02d}.png", "train", "normal", "") for i in range(40)]
    manifest = frame(rows, tmp_path).assign(source=["cohen", "sirm"] * 20)
    boxes = {f"{i:02d}.png": [BOX] for i in range(10, 40)}
    plan = plan_rows(manifest, tmp_path, boxes, SETTINGS, second_images=4, probe_images=12, seed=1)
    assert plan["image_id"].tolist() == manifest["image_id"].tolist()
    assert plan["read_again"].sum() == 4 and not plan["read_again"][:10].any()
    assert plan["probe"].sum() == 12 and not plan["probe"][:10].any()
    probed = plan[plan["probe"]]
    source = {str(tmp_path / path): source for path, source in zip(manifest["path"], manifest["source"], strict=True)}
    assert [source[path] for path in probed["untouched"]] == probed["source"].tolist()
    assert set(probed["untouched"]) <= {str(tmp_path / f"train/{i:02d}.png") for i in range(10)}
    assert (plan.loc[~plan["probe"], "untouched"] == "").all()
    again = plan_rows(manifest, tmp_path, boxes, SETTINGS, second_images=4, probe_images=12, seed=1)
    pd.testing.assert_frame_equal(plan, again)
    other = plan_rows(manifest, tmp_path, boxes, SETTINGS, second_images=None, probe_images=99, seed=2)
    assert other["read_again"].tolist() == other["probe"].tolist() == [False] * 10 + [True] * 30
    assert not plan_rows(manifest, tmp_path, boxes, SETTINGS)["read_again"].any()
    everywhere = plan_rows(manifest, tmp_path, {n: [BOX] for n in manifest["image_id"]}, SETTINGS)
    assert everywhere["probe"].all() and (everywhere["untouched"] == "").all()


def test_the_probe_looks_in_other_sources_where_its_own_has_no_untouched_image(tmp_path):
    manifest = frame([(f"{i}.png", "train", "normal", "") for i in range(4)], tmp_path)
    manifest = manifest.assign(source=["cohen", "cohen", "sirm", "sirm"])
    plan = plan_rows(manifest, tmp_path, {"0.png": [BOX], "1.png": [BOX]}, SETTINGS)
    assert set(plan["untouched"][:2]) <= {str(tmp_path / f"train/{i}.png") for i in (2, 3)}


def test_finish_wants_one_result_for_each_row(data, tmp_path):
    root, manifest, _ = data
    plan = plan_rows(manifest, root, {}, SETTINGS)
    with pytest.raises(ValueError, match="expected one for each of the 6 rows of the plan, got 1"):
        finish(plan, [{"file": "a.png"}], tmp_path)


def test_sixteen_bit_in_a_jpeg_name_is_named_and_kept(tmp_path):
    (tmp_path / "data/train").mkdir(parents=True)
    write_image(tmp_path / "data/train/a.png", film(0, np.uint16))
    (tmp_path / "data/train/a.png").rename(tmp_path / "data/train/a.jpg")
    manifest = frame([("a.jpg", "train", "normal", "")], tmp_path / "data")
    boxes = pd.DataFrame([("a.jpg", *BOX)], columns=COLUMNS)
    changes = clean_dataset(manifest, tmp_path / "data", boxes, tmp_path / "out", CleanConfig(lossy="jpeg"))
    assert len(changes) == 0 and "JPEG holds 8 bits" in changes.attrs["summary"]["failed"]["a.jpg"]
    assert sha256(tmp_path / "out/train/a.jpg") == sha256(tmp_path / "data/train/a.jpg")


@pytest.mark.parametrize("name", ["a.png", "b.png"], ids=["with boxes", "without"])
def test_an_image_that_changed_since_prepare_is_set_aside_and_never_copied(data, tmp_path, name):
    """Old boxes come on no new picture, and no wrong sha256 into the log."""
    root, manifest, boxes = data
    write_image(root / "train" / name, film(77, np.uint16))
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS, control=tmp_path / "control")
    assert name not in set(changes["image_id"])
    for folder in ("out", "control"):
        assert not (tmp_path / folder / "train" / name).exists()
        assert name not in set(read_labels(tmp_path / folder / "train_COVIDx.txt")["image_id"])
    failed = json.loads((tmp_path / "out" / "cleaning.json").read_text())["failed"]
    assert list(failed) == [name] and failed[name].endswith("changed since stage prepare; run prepare again")


def test_an_image_that_no_detector_could_read_is_named_and_not_called_clean(data, tmp_path):
    root, manifest, boxes = data
    own = {name: part[["x0", "y0", "x1", "y1"]].to_numpy() for name, part in boxes.groupby("image_id")}
    unread = {"b.png": "b.png: the detector gave NaN", "e.png": "e.png: out of reach"}
    decisions = pd.DataFrame({"image_id": ["e.png"], "decision": ["edit"], "boxes": [[[10, 10, 20, 20]]]})
    usable = manifest[manifest["problem"] == ""]
    plan = plan_rows(usable, root, own, SETTINGS, decisions, unread=unread)
    assert "b.png" not in {Path(path).name for path in plan["untouched"] if path}  # nobody knows what is in it
    results = [{"file": row["file"], "boxes": "" if not row["boxes"] else "[]"} for row in plan.to_dict("records")]
    summary = finish(plan, results, tmp_path / "out").attrs["summary"]
    assert summary["failed"] == {"b.png": "b.png: the detector gave NaN"}  # a person has decided on the other

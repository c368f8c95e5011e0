"""The cleaned dataset: one rule, every change in the log, originals never written to, begun work taken up again."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from xray_debug.cleaning import dataset as cleaning
from xray_debug.cleaning.dataset import CHANGES, add_residual, clean_dataset, inpainting_probe
from xray_debug.cleaning.files import Journal, link_or_copy, target_name
from xray_debug.config import CleanConfig, PrepareConfig
from xray_debug.data.formats import build_manifest
from xray_debug.data.formats.covidx import read_labels
from xray_debug.data.images import ImageError, image_header, read_image, write_image

COLUMNS = ["image_id", "x0", "y0", "x1", "y1"]
BOX = (20, 15, 50, 35)
SETTINGS = CleanConfig(workers=2, dilation=0.15)


def film(seed: int, dtype=np.uint8, channels=0, marker=True) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.random((80, 90)), (0, 0), 10)
    smooth = 0.25 + 0.5 * (smooth - smooth.min()) / (smooth.max() - smooth.min())
    image = ((smooth + rng.normal(0, 0.01, smooth.shape)).clip(0, 1) * np.iinfo(dtype).max).astype(dtype)
    if marker:
        image[20:30, 25:45] = np.iinfo(dtype).max
    return np.repeat(image[..., None], channels, 2) if channels else image


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def frame(rows: list[tuple], root: Path) -> pd.DataFrame:
    """Manifest rows from (image_id, split, label, test_set)."""
    table = pd.DataFrame(rows, columns=["image_id", "split", "label", "test_set"])
    folder = table["split"].map({"train": "train", "val": "train", "test": "test"})
    table["path"] = [f"{f}/{n}" if t in ("", "test") else f"{t}/test/{n}"
                     for f, n, t in zip(folder, table["image_id"], table["test_set"], strict=True)]
    table["patient_id"], table["source"], table["problem"] = table["image_id"].str[:1], "cohen", ""
    table["sha256"] = [sha256(root / path) if (root / path).exists() else "" for path in table["path"]]
    return table


@pytest.fixture
def data(tmp_path):
    """Six images in train, val, test and a further test set; a, c, d and f carry a marker in BOX."""
    root = tmp_path / "data"
    rows = [("a.png", "train", "COVID-19", ""), ("b.png", "train", "normal", ""), ("c.jpg", "val", "COVID-19", ""),
            ("d.png", "test", "pneumonia", "test"), ("e.png", "test", "normal", "test"),
            ("f.tif", "test", "normal", "reversed")]  # fmt: skip
    for folder in ("train", "test", "reversed/test"):
        (root / folder).mkdir(parents=True)
    write_image(root / "train/a.png", film(0, np.uint16))
    write_image(root / "train/b.png", film(1))
    write_image(root / "train/c.jpg", film(2))
    write_image(root / "test/d.png", film(3, np.uint8, 3))
    write_image(root / "test/e.png", film(4))
    write_image(root / "reversed/test/f.tif", film(5, np.uint16))
    manifest = frame(rows, root)
    boxes = pd.DataFrame([(name, *BOX, 0.9, "craft") for name in ("a.png", "c.jpg", "d.png", "f.tif")],
                         columns=["image_id", "x0", "y0", "x1", "y1", "score", "detector"])  # fmt: skip
    return root, manifest, boxes


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


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
        grown = np.zeros_like(changed)
        grown[12:38, 17:53] = True  # 20 pixels high: grown by 3
        assert changed.any() and not changed[~grown].any()
        assert row.area_share == pytest.approx(grown.mean())
        assert row.cleaned_sha256 == sha256(out / path) and row.original_sha256 == before[str(
            manifest.set_index("image_id").path[row.image_id])]  # fmt: skip
    assert changes["note"].tolist() == ["", "JPEG written losslessly as PNG", "", ""]
    assert image_header(out / "reversed/test/f.tif").format == "TIFF"


def test_unchanged_images_are_links_to_the_originals(data, tmp_path):
    root, manifest, boxes = data
    clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS)
    assert (tmp_path / "out/train/b.png").samefile(root / "train/b.png")
    assert not (tmp_path / "out/train/a.png").samefile(root / "train/a.png")


def test_links_that_fail_become_copies(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("pixels")

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "pixels" and not (tmp_path / "b").samefile(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "missing", tmp_path / "c")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


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
    renamed = dict(zip(changes["image_id"], changes["file"], strict=True))
    assert len(renamed) == 12
    expected = manifest.assign(image_id=manifest["image_id"].map(lambda name: renamed.get(name, name)))
    columns = ["image_id", "patient_id", "label", "source"]
    for frames in (again, expected):
        frames.sort_values("image_id", inplace=True, ignore_index=True)
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
    with pytest.raises(ValueError, match="approve, reject or edit, got 'maybe'"):
        clean_dataset(manifest, root, boxes, tmp_path / "out2", SETTINGS, bad)
    with pytest.raises(ValueError, match="a.png: edit needs boxes"):
        clean_dataset(manifest, root, boxes, tmp_path / "out2", SETTINGS, bad.assign(decision="edit"))


def test_control_erases_the_same_shapes_elsewhere_under_the_same_names(data, tmp_path):
    root, manifest, boxes = data
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS)
    control = clean_dataset(manifest, root, boxes, tmp_path / "control", SETTINGS, seed=3, control=True)
    assert control["file"].tolist() == changes["file"].tolist()
    assert control["area_share"].tolist() == changes["area_share"].tolist()
    for row in control.itertuples():
        ((x0, y0, x1, y1),) = json.loads(row.boxes)
        assert (x1 - x0, y1 - y0) == (36, 26)
        assert x1 <= BOX[0] or x0 >= BOX[2] or y1 <= BOX[1] or y0 >= BOX[3]
    np.testing.assert_array_equal(read_image(tmp_path / "control/train/a.png")[20:30, 25:45], 65535)
    alone = clean_dataset(manifest[2:3], root, boxes, tmp_path / "alone", SETTINGS, seed=3, control=True)
    assert alone["boxes"].tolist() == control["boxes"].tolist()[1:2]  # whatever its neighbours


def test_control_without_a_free_place_keeps_the_pixels_and_the_name(data, tmp_path):
    root, manifest, _ = data
    boxes = pd.DataFrame([("c.jpg", 0, 0, 90, 60), ("d.png", 0, 0, 90, 60)], columns=COLUMNS)
    control = clean_dataset(manifest, root, boxes, tmp_path / "control", SETTINGS, control=True)
    assert control["image_id"].tolist() == ["c.jpg"] and control["area_share"].tolist() == [0]
    assert "no text-free place" in control["note"][0]
    np.testing.assert_array_equal(read_image(tmp_path / "control/train/c.png"), read_image(root / "train/c.jpg"))
    assert (tmp_path / "control/test/d.png").samefile(root / "test/d.png")


def test_jpeg_is_encoded_again_only_on_request_and_says_what_was_lost(data, tmp_path):
    root, manifest, boxes = data
    settings = CleanConfig(lossy="jpeg", dilation=0.15)
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", settings).set_index("image_id")
    assert changes.file["c.jpg"] == "c.jpg"
    assert image_header(tmp_path / "out/train/c.jpg").format == "JPEG"
    cleaned, original = read_image(tmp_path / "out/train/c.jpg").astype(float), read_image(root / "train/c.jpg")
    outside = np.ones((80, 90), bool)
    outside[12:38, 17:53] = False
    assert 0 < np.abs(cleaned - original)[outside].mean() < 3
    assert "encoded as JPEG again: pixels outside the boxes differ by" in changes.note["c.jpg"]
    assert f"{np.abs(cleaned - original)[outside].mean():.2f} grey levels" in changes.note["c.jpg"]


@pytest.mark.parametrize(
    ("name", "lossy", "taken", "expected"),
    [
        ("a.png", "png", set(), "a.png"),
        ("a.TIFF", "png", set(), "a.TIFF"),
        ("a.jpg", "jpeg", set(), "a.jpg"),
        ("a.b.jpg", "png", set(), "a.b.png"),
        ("a.JPEG", "png", {"a.png"}, "a_2.png"),
        ("a.jpg", "png", {"a.png", "a_2.png"}, "a_3.png"),
        ("a.dcm", "jpeg", set(), "a.png"),
        ("a", "png", set(), "a.png"),
    ],
)
def test_target_name(name, lossy, taken, expected):
    assert target_name(name, lossy, taken) == expected


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, generate_uid()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data = pydicom.Dataset()
    data.file_meta, data.SOPClassUID = meta, meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)


def test_dicom_becomes_png_of_the_same_pixels(tmp_path):
    (tmp_path / "data/train").mkdir(parents=True)
    write_dicom(tmp_path / "data/train/a.dcm", film(0, np.uint16) // 16)
    manifest = frame([("a.dcm", "train", "normal", "")], tmp_path / "data")
    boxes = pd.DataFrame([("a.dcm", *BOX)], columns=COLUMNS)
    changes = clean_dataset(manifest, tmp_path / "data", boxes, tmp_path / "out", SETTINGS)
    assert changes["file"].tolist() == ["a.png"]
    assert changes["note"][0].startswith("DICOM written losslessly as PNG; mode MONOCHROME2 with 12 bits")
    cleaned = read_image(tmp_path / "out/train/a.png")
    assert cleaned.dtype == np.uint16
    np.testing.assert_array_equal(cleaned[:10], film(0, np.uint16)[:10] // 16)


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
    manifest.loc[1, "problem"] = "truncated"
    more = pd.DataFrame([("a.png", 0, 0, 90, 80)], columns=COLUMNS)  # the whole image
    changes = clean_dataset(manifest, root, pd.concat([boxes, more]), tmp_path / "out", SETTINGS)
    summary = json.loads((tmp_path / "out/cleaning.json").read_text())
    assert changes["image_id"].tolist() == ["c.jpg", "f.tif"]
    assert summary["set_aside"] == 1 and summary["changed"] == 2 and summary["images"] == 5
    assert sorted(summary["failed"]) == ["a.png", "d.png"]
    assert "d.png: damaged or truncated" in summary["failed"]["d.png"]
    assert "covers the whole image" in summary["failed"]["a.png"]
    assert (tmp_path / "out/train/a.png").samefile(root / "train/a.png")
    assert read_labels(tmp_path / "out/test_COVIDx.txt")["image_id"].tolist() == ["e.png"]
    assert read_labels(tmp_path / "out/train_COVIDx.txt")["image_id"].tolist() == ["a.png", "c.png"]
    assert changes.attrs["summary"] == summary


def test_a_killed_run_goes_on_where_it_stopped(data, tmp_path, monkeypatch):
    root, manifest, boxes = data
    one = SETTINGS.model_copy(update={"workers": 1})
    whole = clean_dataset(manifest, root, boxes, tmp_path / "whole", one)
    real, written = cleaning.write_image, []

    def dies_at_the_third(path, image):
        if len(written) == 2:
            raise MemoryError
        written.append(path)
        real(path, image)

    monkeypatch.setattr(cleaning, "write_image", dies_at_the_third)
    with pytest.raises(MemoryError):
        clean_dataset(manifest, root, boxes, tmp_path / "out", one)
    assert not (tmp_path / "out/train_COVIDx.txt").exists()
    with (tmp_path / "out/.cleaning.jsonl").open("a") as file:
        file.write('{"key": "cut o')
    again = []
    monkeypatch.setattr(cleaning, "write_image", lambda path, image: (again.append(path), real(path, image)))
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", one)
    assert len(written) == 2 and len(again) == 2 and not set(written) & set(again)
    pd.testing.assert_frame_equal(changes, whole)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_other_settings_or_boxes_do_not_count_as_begun_work(tmp_path):
    journal = Journal(tmp_path / "j.jsonl", {"seed": 0})
    journal.add("a.png", "f00", [[1, 2, 3, 4]], {"file": "a.png"})
    assert Journal(tmp_path / "j.jsonl", {"seed": 0}).get("a.png", "f00", [[1, 2, 3, 4]]) == {"file": "a.png"}
    assert Journal(tmp_path / "j.jsonl", {"seed": 1}).get("a.png", "f00", [[1, 2, 3, 4]]) is None
    assert Journal(tmp_path / "j.jsonl", {"seed": 0}).get("a.png", "f00", [[1, 2, 3, 5]]) is None
    assert Journal(tmp_path / "j.jsonl", {"seed": 0}).get("a.png", "bad", [[1, 2, 3, 4]]) is None


def test_names_that_lead_out_of_the_folders_are_refused(data, tmp_path):
    root, manifest, boxes = data
    for column, value, words in (
        ("image_id", "../a.png", "plain file name"),
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


def test_no_boxes_at_all_give_an_empty_log(data, tmp_path):
    root, manifest, boxes = data
    changes = clean_dataset(manifest, root, boxes[:0], tmp_path / "out", SETTINGS)
    assert len(changes) == 0 and list(changes.columns) == CHANGES
    assert add_residual(changes, tmp_path / "out", None)["residual"].tolist() == []
    assert inpainting_probe(changes, root, tmp_path / "out", manifest, SETTINGS)["auc"] is None
    changes.to_parquet(tmp_path / "changes.parquet")
    assert list(pd.read_parquet(tmp_path / "changes.parquet").columns) == CHANGES


# ------------------------------------------------------------------------------------------- what is left behind


class BrightSpots:
    """A reader that finds as many boxes as there are bright areas."""

    def detect(self, images):
        assert all(image.dtype == np.uint8 for image in images)
        gray = [image if image.ndim == 2 else image[..., 0] for image in images]
        return [[None] * (cv2.connectedComponents((g > 250).astype(np.uint8))[0] - 1) for g in gray]


def test_residual_counts_what_the_second_reader_still_finds(data, tmp_path):
    root, manifest, boxes = data
    decisions = pd.DataFrame({"image_id": ["d.png"], "decision": ["edit"], "boxes": [[[60, 60, 70, 70]]]})
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", SETTINGS, decisions)
    calls = []
    counted = add_residual(changes, tmp_path / "out", BrightSpots(), lambda *n: calls.append(n), batch_size=3)
    assert counted.set_index("image_id")["residual"].astype(int).to_dict()["d.png"] == 1
    assert counted["residual"].dtype == np.int64 and calls == [(3, 4), (4, 4)]
    assert "residual" not in changes


def probed(tmp_path, leave_trace: bool) -> dict:
    (tmp_path / "data/test").mkdir(parents=True)
    rows = [(f"{i:02d}.png", "test", "normal", "test") for i in range(36)]
    for i, (name, *_) in enumerate(rows):
        write_image(tmp_path / "data/test" / name, film(i, marker=False))
    manifest, rng = frame(rows, tmp_path / "data"), np.random.default_rng(0)
    places = [(int(x), int(y)) for x, y in rng.integers(5, 50, (24, 2))]
    boxes = pd.DataFrame([(rows[i][0], x, y, x + 20, y + 16) for i, (x, y) in enumerate(places)],
                         columns=COLUMNS)  # fmt: skip
    settings = CleanConfig(workers=1)
    changes = clean_dataset(manifest, tmp_path / "data", boxes, tmp_path / "out", settings)
    if leave_trace:
        for row, (x, y) in zip(changes.itertuples(), places, strict=True):
            image = read_image(tmp_path / "out/test" / row.file)
            image[y - 4 : y - 2, x : x + 20] = 255  # the top of a letter beyond the box
            write_image(tmp_path / "out/test" / row.file, image)
    return inpainting_probe(changes, tmp_path / "data", tmp_path / "out", manifest, settings, samples=200)


def test_probe_finds_a_trace_where_there_is_one(tmp_path):
    result = probed(tmp_path, leave_trace=True)
    assert result["auc"] > 0.9 and result["auc_untouched"] > 0.9
    assert result["images"] == result["patches"] == 24


def test_probe_finds_none_where_markers_were_nothing_but_places(tmp_path):
    result = probed(tmp_path, leave_trace=False)
    assert result["low"] <= 0.5 <= result["high"] or result["auc"] < 0.5
    assert 0 <= result["low"] <= result["auc"] <= result["high"] <= 1


def test_probe_auc_is_the_share_of_ordered_pairs():
    from xray_debug.cleaning.residue import _auc

    rng = np.random.default_rng(0)
    labels, scores = np.r_[np.ones(7), np.zeros(9)], rng.integers(0, 6, 16).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[:7] for b in scores[7:]]
    assert _auc(labels, scores) == pytest.approx(np.mean(pairs))


def test_sixteen_bit_in_a_jpeg_name_is_named_and_kept(tmp_path):
    (tmp_path / "data/train").mkdir(parents=True)
    write_image(tmp_path / "data/train/a.png", film(0, np.uint16))
    (tmp_path / "data/train/a.png").rename(tmp_path / "data/train/a.jpg")
    manifest = frame([("a.jpg", "train", "normal", "")], tmp_path / "data")
    boxes = pd.DataFrame([("a.jpg", *BOX)], columns=COLUMNS)
    changes = clean_dataset(manifest, tmp_path / "data", boxes, tmp_path / "out", CleanConfig(lossy="jpeg"))
    assert len(changes) == 0 and "JPEG holds 8 bits" in changes.attrs["summary"]["failed"]["a.jpg"]
    assert (tmp_path / "out/train/a.jpg").samefile(tmp_path / "data/train/a.jpg")
    assert issubclass(ImageError, ValueError)

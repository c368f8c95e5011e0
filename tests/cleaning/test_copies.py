"""One form for images that were changed and images that were not."""

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from cleaning_fixture import BOX, COLUMNS, GROWN, SETTINGS, film, frame
from formats_fixture import dicom
from PIL import Image

from xray_debug.cleaning.copies import stays
from xray_debug.cleaning.dataset import clean_dataset
from xray_debug.cleaning.verify import faults_of
from xray_debug.config import CleanConfig, PrepareConfig
from xray_debug.data.dicom_write import CONTROL
from xray_debug.data.formats import build_manifest
from xray_debug.data.formats.folders import Folders
from xray_debug.data.formats.layout import Layout
from xray_debug.data.images import image_header, read_film, read_image, write_image


def pair(root: Path, suffix: str, write, lossy: str = "png"):
    """Two images of a kind cleaned, `marked` with a box and `plain` without: manifest, changes, folders, settings."""
    (root / "data/train").mkdir(parents=True)
    names = [f"marked{suffix}", f"plain{suffix}"]
    for number, name in enumerate(names):
        write(root / "data/train" / name, film(number, marker=number == 0))
    manifest = frame([(name, "train", "normal", "") for name in names], root / "data")
    boxes = pd.DataFrame([(names[0], *BOX)], columns=COLUMNS)
    settings = SETTINGS.model_copy(update={"lossy": lossy})
    changes = clean_dataset(manifest, root / "data", boxes, root / "out", settings, control=root / "control")
    return manifest, changes, root / "data", root / "out", settings


def pillow(**options):
    return lambda path, pixels: Image.fromarray(pixels).save(path, **options)


def palette(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).convert("P").save(path)


FORMS = {
    "PNG": (".png", write_image, "png"), "palette": (".png", palette, "png"), "TIFF": (".tif", write_image, "png"),
    "JPEG as PNG": (".jpg", pillow(quality=60), "png"), "JPEG": (".jpg", pillow(quality=60), "jpeg"),
    "JPEG called PNG": (".png", pillow(format="JPEG"), "png"), "BMP": (".bmp", pillow(), "jpeg"),
    "WEBP": (".webp", pillow(lossless=True), "png"),
    "16 bits": (".png", lambda path, pixels: write_image(path, pixels.astype(np.uint16) << 8), "png"),
    "DICOM": (".dcm", lambda path, pixels: path.write_bytes(dicom(pixels, "1.2.3", BurnedInAnnotation="YES")), "jpeg"),
    "DICOM without suffix": ("", lambda path, pixels: path.write_bytes(dicom(pixels, "1.2.3")), "png"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_a_file_does_not_tell_which_was_cleaned(form, tmp_path):
    suffix, write, lossy = FORMS[form]
    manifest, changes, data, out, settings = pair(tmp_path, suffix, write, lossy)
    assert changes["image_id"].tolist() == [f"marked{suffix}"] and not changes.attrs["summary"]["failed"]
    for folder in (out, tmp_path / "control"):
        marked, plain = sorted(path for path in (folder / "train").iterdir())
        assert marked.suffix == plain.suffix
        assert image_header(marked)[2:] == image_header(plain)[2:]  # depth, mode, format
        if form.startswith("JPEG") and suffix == ".jpg" and lossy == "jpeg":
            tables = [Image.open(BytesIO(path.read_bytes())).quantization
                      for path in (marked, plain, data / "train/plain.jpg")]  # fmt: skip
            assert tables[0] == tables[1] == tables[2]
            continue
        np.testing.assert_array_equal(read_image(plain), read_image(data / "train" / f"plain{suffix}"))
        assert read_film(plain).window == read_film(data / "train" / f"plain{suffix}").window
        before, after = read_image(data / "train" / f"marked{suffix}"), read_image(marked)
        assert folder != out or np.array_equal(before[~GROWN], after[~GROWN])
    assert list(faults_of(manifest, changes, data, out, settings, control=tmp_path / "control")) == []


@pytest.mark.parametrize("form", ["JPEG as PNG", "JPEG", "DICOM", "PNG"])
def test_an_unchanged_image_that_was_edited_is_found(form, tmp_path):
    suffix, write, lossy = FORMS[form]
    manifest, changes, data, out, settings = pair(tmp_path, suffix, write, lossy)
    (plain,) = (out / "train").glob("plain*")
    write(plain, film(5)) if suffix != ".jpg" or lossy == "jpeg" else write_image(plain, film(5))
    (fault,) = faults_of(manifest, changes, data, out, settings)
    assert "is not in the change log, and yet no equal copy of its original" in fault


def test_tags_of_dicom_do_not_tell_either_and_deny_no_text_that_is_left(tmp_path):
    _, _, _, out, _ = pair(tmp_path, *FORMS["DICOM"][:2])
    said = {path.name: pydicom.dcmread(path) for folder in (out, tmp_path / "control")
            for path in sorted((folder / "train").iterdir()) if folder == out}  # fmt: skip
    assert {data.BurnedInAnnotation for data in said.values()} == {"NO"}
    assert len({data.DerivationDescription for data in said.values()}) == 1
    for path in (tmp_path / "control/train").iterdir():  # where the text still is
        data = pydicom.dcmread(path)
        assert data.BurnedInAnnotation == "YES" and data.DerivationDescription == CONTROL
        assert data.SOPInstanceUID not in {other.SOPInstanceUID for other in said.values()}


def test_dicom_that_was_rejected_or_not_read_keeps_what_it_says_of_text(tmp_path):
    write = FORMS["DICOM"][1]
    (tmp_path / "data/train").mkdir(parents=True)
    write(tmp_path / "data/train/a.dcm", film(0))
    manifest = frame([("a.dcm", "train", "normal", "")], tmp_path / "data")
    decisions = pd.DataFrame({"image_id": ["a.dcm"], "decision": ["reject"], "boxes": [None]})
    clean_dataset(manifest, tmp_path / "data", pd.DataFrame([("a.dcm", *BOX)], columns=COLUMNS), tmp_path / "out",
                  CleanConfig(), decisions)  # fmt: skip
    assert pydicom.dcmread(tmp_path / "out/train/a.dcm").BurnedInAnnotation == "YES"


def test_white_is_zero_stays_so_and_is_cleaned_as_it_is_shown(tmp_path):
    """MONOCHROME1 of 12 bits and signed values, shown through a window."""
    def write(path, pixels):
        stored = (2047 - pixels.astype(np.int16) * 16).astype(np.int16)
        path.write_bytes(dicom(stored, "1.2.3", 12, "MONOCHROME1", WindowCenter=0, WindowWidth=4096))

    _, changes, data, out, _ = pair(tmp_path, ".dcm", write)
    before, after = (pydicom.dcmread(root / "train/marked.dcm") for root in (data, out))
    assert after.PhotometricInterpretation == "MONOCHROME1" and after.WindowWidth == 4096
    differs = before.pixel_array != after.pixel_array
    assert differs.any() and not differs[~GROWN].any()
    bar = np.s_[20:30, 25:45]  # white, which is the least of all stored values here
    assert (before.pixel_array[bar] == before.pixel_array.min()).all()
    assert (after.pixel_array[bar] > before.pixel_array[bar]).all()
    shown = read_image(out / "train/marked.dcm")
    assert shown[bar].max() < read_image(data / "train/marked.dcm")[bar].min()
    assert changes["note"].tolist() == [""]


def test_compressed_dicom_is_written_uncompressed_and_that_is_said(tmp_path):
    def write(path, pixels):
        data = pydicom.dcmread(BytesIO(dicom(pixels, "1.2.3")))
        data.compress(pydicom.uid.RLELossless)
        data.save_as(path)

    manifest, changes, data, out, settings = pair(tmp_path, ".dcm", write)
    assert changes["note"].tolist() == ["RLE Lossless written uncompressed"]
    assert json.loads((out / "cleaning.json").read_text())["rewritten"] == {"RLE Lossless written uncompressed": 1}
    for name in ("marked.dcm", "plain.dcm"):
        syntax = pydicom.dcmread(out / "train" / name).file_meta.TransferSyntaxUID
        assert syntax == pydicom.uid.ExplicitVRLittleEndian
    assert list(faults_of(manifest, changes, data, out, settings)) == []


def test_dicom_that_cannot_be_edited_stays_and_is_named(tmp_path):
    def write(path, pixels):
        bits = (pixels > 200).astype(np.uint8)
        path.write_bytes(dicom(bits, "1.2.3", 1, BitsAllocated=1, HighBit=0, Columns=88,
                               PixelData=np.packbits(bits[:, :88], bitorder="little").tobytes()))  # fmt: skip

    _, changes, _, out, _ = pair(tmp_path, ".dcm", write)
    assert len(changes) == 0
    failed = changes.attrs["summary"]["failed"]
    assert list(failed) == ["marked.dcm"] and "pixels of 1 bits, which cannot be edited" in failed["marked.dcm"]
    assert "BurnedInAnnotation" not in pydicom.dcmread(out / "train/marked.dcm")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_only_this_system_knows_are_written_as_they_are(tmp_path):
    names = ["a:1.png", "back\\slash.png", "line\nend.png"]
    for number, name in enumerate(names):
        for label in "xy":
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / "data" / label / f"{label}{name}", film(number + 10 * (label == "x")))
    write_image(tmp_path / "data/x" / names[0], film(7))
    manifest = build_manifest(tmp_path / "data")
    boxes = pd.DataFrame([(name, *BOX) for name in manifest["image_id"]], columns=COLUMNS)
    layout = Layout(Folders(), tmp_path / "data", PrepareConfig())
    changes = clean_dataset(manifest, tmp_path / "data", boxes, tmp_path / "out", SETTINGS, layout=layout)
    assert len(changes) == len(manifest) == 7
    for path in manifest["path"]:
        assert (tmp_path / "out" / path).is_file()
    assert list(faults_of(manifest, changes, tmp_path / "data", tmp_path / "out", SETTINGS, layout)) == []


def test_what_stays_is_seen_without_decoding(tmp_path):
    write_image(tmp_path / "a.png", film(0))
    (tmp_path / "empty.png").write_bytes(b"")
    assert stays(tmp_path / "a.png", "a.png") and not stays(tmp_path / "empty.png", "empty.png")
    assert not stays(tmp_path / "a.png", "a.tif")
    with pytest.raises(FileNotFoundError):
        stays(tmp_path / "none.png", "none.png")

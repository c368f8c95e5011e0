"""A picture edited as it is shown, written with stored values: what else of the file stays, to the bit."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files_fixture import FILES, READ
from formats_fixture import dicom
from pydicom.uid import ExplicitVRLittleEndian

from xray_debug.data.dicom_write import new_uid, rewrite, stored_pixels
from xray_debug.data.images import read_film, read_image

NAMED = {"PixelData", "SOPInstanceUID", "DerivationDescription", "BurnedInAnnotation"}
LIE_OF_PIXELS = {"BitsAllocated", "PhotometricInterpretation", "PlanarConfiguration"}  # may change if compressed


def edited(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image with a corner replaced by what is shown in the opposite one, and where that is."""
    height, width = (max(1, side // 3) for side in image.shape[:2])
    wanted, region = image.copy(), np.zeros(image.shape[:2], bool)
    wanted[:height, :width] = image[-height:, -width:]
    region[:height, :width] = True
    return wanted, region


def differing(before, after) -> set[str]:
    return {element.keyword or str(element.tag) for data, other in ((before, after), (after, before))
            for element in data if element.tag.element  # group lengths are of the file's making
            and (element.tag not in other or other[element.tag] != element)}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READ)
def test_a_file_of_pydicoms_keeps_all_but_the_edit(name):
    path, content = FILES[name], FILES[name].read_bytes()
    film = read_film(path)
    wanted, region = edited(film.pixels)
    if pydicom.dcmread(BytesIO(content), force=True).BitsAllocated == 1:
        with pytest.raises(ValueError, match="pixels of 1 bits, which cannot be edited"):
            rewrite(path, content, (film.pixels, wanted))
        return
    written = rewrite(path, content, (film.pixels, wanted), "salt")
    before, after = pydicom.dcmread(BytesIO(content), force=True), pydicom.dcmread(BytesIO(written.content))
    compressed = bool(written.note)
    encapsulated = before.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian).is_encapsulated
    assert compressed == (encapsulated or before.PhotometricInterpretation == "YBR_FULL_422")
    assert differing(before, after) <= (NAMED | LIE_OF_PIXELS if compressed else NAMED)
    old, new = stored_pixels(path, content), stored_pixels(path, written.content)
    changed = old != new if old.ndim == 2 else (old != new).any(2)
    assert not changed[~region].any()
    again = read_film(path, written.content)
    if film.pixels.ndim == 3 or (old[region].min() >= old[~region].min() and old[region].max() <= old[~region].max()):
        np.testing.assert_array_equal(again.pixels, written.pixels)
        slack = 3 if before.PhotometricInterpretation == "YBR_FULL" and not compressed else 0
        assert np.abs(again.pixels.astype(int) - wanted).max() <= slack
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID == new_uid(
        str(before.get("SOPInstanceUID", "")), "salt")  # fmt: skip


def ramp(kind: str, bits: int, low: int = 0) -> np.ndarray:
    """(32, 32): all values of some bits, about evenly, the ends in the middle."""
    values = np.linspace(low, low + (1 << bits) - 1, 1024).round().astype(kind)
    return np.roll(values, 512).reshape(32, 32)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("kind", "bits", "tags"), [
    ("u1", 8, {}), ("u2", 12, {}), ("u2", 16, {}), ("i2", 12, {"low": -2048}),
    ("u2", 12, {"WindowCenter": 1500, "WindowWidth": 900}),
    ("i2", 12, {"low": -2048, "WindowCenter": -1100, "WindowWidth": 400, "RescaleSlope": "1",
                "RescaleIntercept": "-1024"}),
    ("u2", 10, {"RescaleSlope": "0.25", "RescaleIntercept": "3"}),
], ids=["8", "12", "16", "signed", "window", "CT", "fractions"])  # fmt: skip
def test_what_is_shown_is_mapped_back_to_the_value_it_was_made_of(photometric, kind, bits, tags, tmp_path):
    """Each value of the film asked for by what it is shown as: inside the window the very value, else its edge."""
    tags = dict(tags)
    pixels = ramp(kind, bits, tags.pop("low", 0))
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(pixels, "1.2.3", bits, photometric, **tags))
    shown = read_image(path)
    wanted, region = edited(shown)
    stored = stored_pixels(path, rewrite(path, path.read_bytes(), (shown, wanted)).content)
    assert np.array_equal(stored[~region], pixels[~region])
    inside = region & (wanted > shown.min()) & (wanted < shown.max())
    moved = pixels[-(32 // 3) :, -(32 // 3) :].reshape(-1)[inside[region]]
    assert len(moved) and np.array_equal(stored[inside], moved)


def test_an_edit_between_two_stored_values_takes_the_nearer(tmp_path):
    path = tmp_path / "a.dcm"
    pixels = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)
    path.write_bytes(dicom(pixels, "1.2.3", 2, WindowCenter=2, WindowWidth=4))  # shown as 0, 85, 170, 255
    shown = read_image(path)
    assert shown[0].tolist() == [0, 85, 170, 255]
    wanted = shown.copy()
    wanted[1] = (200, 215, 41, 250)
    written = rewrite(path, path.read_bytes(), (shown, wanted))
    assert stored_pixels(path, written.content).tolist() == [[0, 1, 2, 3], [2, 3, 0, 3]]
    assert written.pixels[1].tolist() == [170, 255, 0, 255]


def test_beyond_a_window_the_value_next_to_it_is_taken(tmp_path):
    path = tmp_path / "a.dcm"
    pixels = np.arange(0, 4096, 4, dtype=np.uint16).reshape(32, 32)
    path.write_bytes(dicom(pixels, "1.2.3", 12, WindowCenter=2000, WindowWidth=1000))
    shown = read_image(path)
    wanted = shown.copy()
    wanted[16, :2] = (shown.min(), shown.max())
    low, high = stored_pixels(path, rewrite(path, path.read_bytes(), (shown, wanted)).content)[16, :2]
    assert 1490 <= low <= 1510 and 2490 <= high <= 2510


def test_bits_beside_the_stored_ones_stay(tmp_path):
    """An overlay of the old kind lies in the highest bits."""
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 60
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(pixels | 0x8000, "1.2.3", 12))
    shown = read_image(path)
    wanted, region = edited(shown)
    written = pydicom.dcmread(BytesIO(rewrite(path, path.read_bytes(), (shown, wanted)).content))
    raw = np.frombuffer(written.PixelData, "<u2").reshape(8, 8)
    assert (raw & 0xF000 == 0x8000).all() and np.array_equal(raw[~region], pixels[~region] | 0x8000)


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_is_put_where_it_lies(planar, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    path = tmp_path / "a.dcm"
    content = dicom(pixels, "1.2.3", photometric="RGB")
    data = pydicom.dcmread(BytesIO(content))
    data.PlanarConfiguration = planar
    data.PixelData = (pixels.transpose(2, 0, 1) if planar else pixels).tobytes() + b"\0"
    data.save_as(path)
    shown = read_image(path)
    np.testing.assert_array_equal(shown, pixels)
    wanted, _ = edited(shown)
    written = rewrite(path, path.read_bytes(), (shown, wanted))
    np.testing.assert_array_equal(read_image(path, written.content), wanted)


def test_without_an_edit_the_pixels_stay_and_a_text_that_is_left_is_not_denied(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(ramp("u2", 12), "1.2.3", 12, BurnedInAnnotation="YES"))
    written = rewrite(path, path.read_bytes(), None, "x", free_of_text=False)
    before, after = pydicom.dcmread(path), pydicom.dcmread(BytesIO(written.content))
    assert differing(before, after) == {"SOPInstanceUID", "DerivationDescription"}
    assert rewrite(path, path.read_bytes(), None, "x", free_of_text=False).content == written.content


def test_uids_follow_from_the_old_one_and_the_settings():
    uids = [new_uid("1.2.3", "a"), new_uid("1.2.3", "b"), new_uid("1.2.4", "a")]
    assert len(set(uids)) == 3 and uids[0] == new_uid("1.2.3", "a")
    assert all(pydicom.uid.UID(uid).is_valid and re.match(r"2\.25\.\d{30,39}$", uid) for uid in uids)
    assert Path(FILES["CT_small.dcm"]).is_file()

"""What a fuzz has found (fuzz.py), each a case: read, or refused in one sentence that names the file."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from faults import fuzz_seeds
from faults.corpus_images import encoded
from PIL import Image

from xray_debug.data import view
from xray_debug.data.dicom_codecs import plugin_for
from xray_debug.data.images import ImageError, read_film

PATH = Path("folder/film.dcm")


def tiff(*entries: tuple) -> bytes:
    """A TIFF of one directory: (tag, type, count, value)."""
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + rows + bytes(8)


def several_bits() -> bytes:
    """BitsStored of two values, one of which is no number that fits."""
    content = fuzz_seeds.dicom_file()
    at = content.index(struct.pack("<HH", 0x28, 0x101))
    return content[: at + 6] + struct.pack("<H4s", 4, b"\x10\0\x10\0") + content[at + 10 :]


def odd_syntax() -> bytes:
    """A control character in the name of the transfer syntax."""
    return fuzz_seeds.dicom_file().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.\x10\0")


SAID = {
    "BitsStored of two values": (several_bits(), "not a DICOM image"),
    "control character in the transfer syntax": (odd_syntax(), r"cannot be decoded .*\\x10"),
    "frames of no number": (fuzz_seeds.dicom_file(NumberOfFrames=None, PixelData=bytes(960)), ""),
    "TIFF of one row whose bits are no 32-bit number": (
        tiff((256, 4, 1, 0x4000002), (257, 4, 1, 1), (258, 3, 1, 32), (262, 3, 1, 1), (273, 4, 1, 0x86), (278, 4, 1, 1),
             (279, 4, 1, 8)), "67108866 x 1 pixels, expected at most 16777216 a side"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAID)
def test_a_find_is_refused_in_one_sentence(name):
    content, words = SAID[name]
    with pytest.raises(ImageError, match=words) as error:
        read_film(PATH, content)
    assert str(error.value).startswith(f"{PATH}: ") and str(error.value).isprintable()


def syntax(path: Path) -> str:
    return pydicom.dcmread(path, force=True, stop_before_pixels=True).file_meta.get("TransferSyntaxUID", "")


SMALL = [path for path in sorted(fuzz_seeds.PYDICOMS.glob("*.dcm")) if path.stat().st_size <= fuzz_seeds.LARGEST]
COMPRESSED = [path for path in SMALL if syntax(path).startswith("1.2.840.10008.1.2.4")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", COMPRESSED, ids=lambda path: path.name)
def test_a_damaged_compressed_frame_ends_no_process(path):
    """GDCM, which was asked before, called abort() within seconds of such files."""
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        damaged, at = bytearray(content), int(rng.integers(132, len(content) - 8))
        damaged[at : at + 4] = rng.bytes(4)
        try:
            film = read_film(PATH, bytes(damaged))
        except ImageError as error:
            assert str(error).startswith(f"{PATH}: ") and str(error).isprintable()
        else:
            assert film.gray.shape == film.pixels.shape[:2]


def test_no_decoder_is_left_to_chance():
    """pydicom would ask GDCM first where somebody has installed it."""
    for path in COMPRESSED:
        data = pydicom.dcmread(path, force=True)
        if "BitsStored" in data:
            assert plugin_for(data) in ("xray-debug", "pillow", "pydicom")


def large() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    deep, alpha = rng.integers(0, 65536, (40, 30, 4), np.uint16), rng.integers(0, 256, (40, 30, 4), np.uint8)
    window = {"WindowCenter": 1000, "WindowWidth": 600}
    return {
        "RGBA": encoded(alpha), "LA": encoded(np.ascontiguousarray(alpha[..., :2]), mode="LA"),
        "RGBA of 16 bits": cv2.imencode(".png", deep)[1].tobytes(), "grey of 16 bits": encoded(deep[..., 0].copy()),
        "float": encoded(deep[..., 0].astype(np.float32) / 7, "TIFF"),
        "whole numbers": encoded(deep[..., 0].astype(np.int32) * 9, "TIFF"),
        "WebP": encoded(Image.fromarray(alpha), "WEBP", lossless=True), "DICOM": fuzz_seeds.dicom_file(),
        "DICOM with a window": fuzz_seeds.dicom_file(**window), "DICOM inverted": fuzz_seeds.dicom_file(
            PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=80),
        "DICOM rescaled": fuzz_seeds.dicom_file(RescaleSlope="2.5", RescaleIntercept="-9", PixelPaddingValue=80),
        "DICOM rescaled, with a window": fuzz_seeds.dicom_file(RescaleSlope="2", RescaleIntercept="-9", **window),
    }  # fmt: skip


@pytest.mark.parametrize("kind", large())
def test_an_image_in_strips_is_the_image(monkeypatch, kind):
    """An image of 38 bytes took 2 GB: large ones are worked on in strips."""
    content = large()[kind]
    whole = read_film(PATH, content)
    monkeypatch.setattr(view, "_AT_ONCE", 50)
    found = read_film(PATH, content)
    np.testing.assert_array_equal(found.pixels, whole.pixels)
    assert found.window == whole.window and whole.pixels.std() > 0

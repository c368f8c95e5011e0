"""Reading and writing radiographs: every depth and mode, and one clear sentence for every bad file."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from xray_debug.data import images
from xray_debug.data.images import ImageError, image_header, read_image, write_image

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (12, 17), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (12, 17, 3), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (12, 17), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (12, 17, 3), dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("image", [GREY8, RGB8, GREY16, RGB16], ids=["grey8", "rgb8", "grey16", "rgb16"])
def test_lossless_formats_give_back_every_pixel(tmp_path, suffix, image):
    path = tmp_path / f"a{suffix}"
    write_image(path, image)
    back = read_image(path)
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back, image)
    header = image_header(path)
    assert (header.width, header.height, header.bit_depth) == (17, 12, image.dtype.itemsize * 8)
    assert list(tmp_path.iterdir()) == [path]  # no temporary file is left


def test_jpeg_is_close_and_keeps_channel_order(tmp_path):
    flat = np.zeros((16, 16, 3), np.uint8)
    flat[...] = (200, 40, 90)
    write_image(tmp_path / "a.jpg", flat)
    back = read_image(tmp_path / "a.jpg")
    assert np.abs(back.astype(int) - flat).max() <= 4
    assert image_header(tmp_path / "a.jpg").format == "JPEG"


@pytest.mark.parametrize(("mode", "expected"), [
    ("1", np.array([[0, 255]])), ("P", np.array([[0, 255]])), ("LA", np.array([[0, 128]])),
    ("RGBA", np.array([[[0, 0, 0], [128, 128, 128]]])), ("CMYK", np.array([[[0, 0, 0], [255, 255, 255]]]))])
def test_other_modes_become_grey_or_colour(tmp_path, mode, expected):
    if mode in ("1", "P"):
        image = Image.fromarray(np.array([[0, 255]], np.uint8)).convert(mode)
    elif mode == "CMYK":
        image = Image.fromarray(np.array([[[0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8), mode="CMYK")
    else:  # white, once transparent, once half covered: laid on black
        channels = np.full((1, 2, len(mode)), 255, np.uint8)
        channels[0, :, -1] = [0, 128]
        image = Image.fromarray(channels, mode=mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    np.testing.assert_array_equal(read_image(path), expected)


def test_colour_palette_becomes_colour(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[255, 0, 0], [0, 0, 255]]])


def test_exif_rotation_is_applied_to_pixels_and_header(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees
    Image.fromarray(GREY8).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(GREY8, -1))
    header = image_header(tmp_path / "a.png")
    assert (header.width, header.height) == (12, 17)


def test_float_pixels_are_scaled_over_their_range(tmp_path):
    Image.fromarray(np.array([[-1.5, 0.0, 1.5]], np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), [[0, 32768, 65535]])


def _png_claiming(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b""))


@pytest.mark.parametrize(("content", "what"), [
    (None, "no such file"), (b"", "empty file"), (b"hello" * 20, "not an image"),
    (_png_claiming(20000, 6000), "at most"), (_png_claiming(2**31 - 1, 2**31 - 1), "pixels"),
    (_png_claiming(16, 16)[:40], ""), (b"\0" * 128 + b"DICM" + b"\1\2\3" * 9, "not a DICOM image")])
def test_bad_files_are_named_in_one_sentence(tmp_path, content, what):
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(path, RNG.integers(0, 256, (64, 64), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ImageError, match="a" + suffix):
        read_image(path)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(ImageError, match="a folder"):
        read_image(tmp_path)


def test_sixteen_bits_do_not_fit_a_jpeg_and_nothing_is_left(tmp_path):
    with pytest.raises(ImageError, match="8 bits"):
        write_image(tmp_path / "a.jpg", GREY16)
    with pytest.raises(ImageError, match="cannot write .dcm"):
        write_image(tmp_path / "a.dcm", GREY8)
    with pytest.raises(TypeError, match="uint8 or uint16"):
        write_image(tmp_path / "a.png", GREY8.astype(float))
    with pytest.raises(ValueError, match="shape"):
        write_image(tmp_path / "a.png", np.zeros((2, 2, 2), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        images.atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _dicom(path, pixels, photometric="MONOCHROME2", slope=None, intercept=0, signed=False):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(signed)
    if slope is not None:
        data.RescaleSlope, data.RescaleIntercept = slope, intercept
    data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def test_dicom_pixels_and_header(tmp_path):
    path = _dicom(tmp_path / "a.dcm", GREY16)
    np.testing.assert_array_equal(read_image(path), GREY16)
    header = image_header(path)
    assert (header.width, header.height, header.bit_depth, header.format) == (17, 12, 16, "DICOM")
    assert read_image(_dicom(tmp_path / "b.dcm", GREY8)).dtype == np.uint8


def test_dicom_monochrome1_is_inverted(tmp_path):
    pixels = np.array([[0, 10], [100, 400]], np.uint16)
    path = _dicom(tmp_path / "a.dcm", pixels, photometric="MONOCHROME1")
    np.testing.assert_array_equal(read_image(path), 400 - pixels)


def test_dicom_rescale_and_negative_values(tmp_path):
    pixels = np.array([[-5, 0, 7]], np.int16)
    path = _dicom(tmp_path / "a.dcm", pixels, slope=2, intercept=-1, signed=True)
    np.testing.assert_array_equal(read_image(path), [[0, 10, 24]])  # 2 x - 1, shifted to start at 0


def test_dicom_of_several_frames_is_refused(tmp_path):
    with pytest.raises(ImageError, match="3 frames"):
        read_image(_dicom(tmp_path / "a.dcm", np.zeros((3, 4, 4), np.uint8)))

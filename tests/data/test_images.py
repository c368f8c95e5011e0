"""Reading and writing radiographs: every depth and mode, and one clear sentence for every bad file."""

import errno
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from PIL.PngImagePlugin import PngInfo

from xray_debug.data.images import DECODES, ImageError, file_content, image_header, read_film, read_image, write_image
from xray_debug.data.view import GreyWindow, to_gray8

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (12, 17), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (12, 17, 3), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (12, 17), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (12, 17, 3), dtype=np.uint16)


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


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


@pytest.mark.parametrize("kind", ["eXIf first", "eXIf last", "XMP", "none"])
def test_a_png_header_knows_of_rotation_wherever_it_is_written(tmp_path, kind):
    path, exif, info = tmp_path / "a.png", Image.Exif(), PngInfo()
    exif[0x0112] = 6
    if kind == "XMP":
        info.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta tiff:Orientation="6"/>')
    Image.fromarray(GREY8).save(path, pnginfo=info, **({"exif": exif} if kind == "eXIf first" else {}))
    if kind == "eXIf last":  # Pillow writes it first
        content = path.read_bytes()
        path.write_bytes(content[:-12] + _chunk(b"eXIf", exif.tobytes()[6:]) + content[-12:])
    header, image = image_header(path), read_image(path)
    assert (header.height, header.width) == image.shape == ((12, 17) if kind == "none" else (17, 12))


def test_a_header_of_a_png_decodes_nothing(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", GREY8)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    assert image_header(tmp_path / "a.png") == (17, 12, 8, "L", "PNG", ())


def test_float_pixels_are_scaled_over_their_range(tmp_path):
    Image.fromarray(np.array([[-1.5, 0.0, 1.5]], np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), [[0, 32768, 65535]])


def _png_claiming(width, height):
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + _chunk(b"IDAT", zlib.compress(b"\0" * 64)) + _chunk(b"IEND", b""))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # Pillow's limit is near our own
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


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's remark on the TIFF
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(path, RNG.integers(0, 256, (64, 64), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ImageError, match="a" + suffix):
        read_image(path)


def test_places_that_hold_no_image(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for path, what in ((tmp_path, "a folder"), (tmp_path / "file" / "a.png", "no such file"),
                       (tmp_path / ("a" * 300), "cannot be read"), (tmp_path / "a\0b", "cannot be read")):
        for read in (read_image, image_header, file_content):
            with pytest.raises(ImageError, match=what):
                read(path)


def test_faults_of_the_machine_are_not_the_files(tmp_path, monkeypatch):
    def fail(self):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match="too many open files"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("image", [GREY8, RGB16], ids=["grey8", "rgb16"])
def test_known_bytes_are_not_read_again(tmp_path, suffix, image):
    if suffix == ".jpg" and image.dtype == np.uint16:
        image = RGB8
    path = tmp_path / f"a{suffix}"
    write_image(path, image)
    content, pixels, header = file_content(path), read_image(path), image_header(path)
    path.unlink()
    np.testing.assert_array_equal(read_image(path, content), pixels)
    assert image_header(path, content) == header


def test_decodes_are_counted_in_every_thread(tmp_path):
    write_image(tmp_path / "a.png", GREY8)
    before = DECODES.total
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read_image, [tmp_path / "a.png"] * 40))
    image_header(tmp_path / "a.png")  # decodes nothing
    with pytest.raises(ImageError):
        read_image(tmp_path / "none.png")
    assert DECODES.total - before == 40


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
    np.testing.assert_array_equal(read_image(path), 65535 - pixels)


def test_dicom_rescale_and_negative_values(tmp_path):
    pixels = np.array([[-5, 0, 7]], np.int16)
    path = _dicom(tmp_path / "a.dcm", pixels, slope=2, intercept=-1, signed=True)
    np.testing.assert_array_equal(read_image(path), [[0, 10, 24]])  # 2 x - 1, shifted to start at 0


def test_dicom_of_several_frames_is_refused(tmp_path):
    with pytest.raises(ImageError, match="3 frames"):
        read_image(_dicom(tmp_path / "a.dcm", np.zeros((3, 4, 4), np.uint8)))


@pytest.mark.parametrize("size", [(37, 53), (64, 64)])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("channels", [0, 3], ids=["grey", "colour"])
def test_a_film_of_16_bits_keeps_its_window_when_a_bright_corner_is_erased(tmp_path, channels, suffix, size):
    """Without it every other grey level of the view would be another one."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(400, 3000, (*size, channels) if channels else size).astype(np.uint16)
    pixels[:9, :9] = 65000
    window = GreyWindow(471, 65000)
    cleaned = pixels.copy()
    cleaned[:9, :9] = 1000
    write_image(tmp_path / f"a{suffix}", cleaned, window)
    film = read_film(tmp_path / f"a{suffix}")
    assert (film.window.low, film.window.high) == (471, 65000)
    assert film.pixels.dtype == np.uint16 and (film.pixels == cleaned).all()
    seen = [to_gray8(image, window) for image in (pixels, film.pixels)]
    differs = seen[0] != seen[1]
    assert differs[:9, :9].all() and not differs[9:].any() and not differs[:, 9:].any()
    again = cv2.imread(str(tmp_path / f"a{suffix}"), cv2.IMREAD_UNCHANGED)  # other programs read it as well
    assert (again == (cleaned[..., ::-1] if channels else cleaned)).all()
    header = image_header(tmp_path / f"a{suffix}")
    assert (header.bit_depth, header.height, header.width) == (16, *size)

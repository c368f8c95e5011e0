"""DICOM as a radiologist sees it; the oracle is pydicom's own functions, or the pixels that were put in."""

from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from xray_debug.data.images import ImageError, image_header, read_film, read_image

RAMP = np.arange(0, 4096, dtype=np.uint16)[::16].reshape(16, 16)


def dicom(path, pixels: np.ndarray, bits: int, preamble: bool = True, **tags) -> pydicom.Dataset:
    """A small DICOM file with `pixels` and further tags; returns its data set."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, generate_uid()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns, data.SamplesPerPixel = pixels.shape[0], pixels.shape[1], 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", int(pixels.dtype.kind == "i")
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * pixels.itemsize, bits, bits - 1
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    buffer = BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    path.write_bytes(buffer.getvalue() if preamble else buffer.getvalue()[132:])
    return pydicom.dcmread(BytesIO(buffer.getvalue()))


def table(values, bits: int, first: int = 0) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [len(values), first, bits], np.asarray(values, "<u2").tobytes()
    return item


def spread(values: np.ndarray, low: float, high: float, top: int = 65535) -> np.ndarray:
    return np.round((values.astype(float) - low) / (high - low) * top)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(2048, 1024), (1000, 300), (3000, 4000)])
def test_a_window_is_applied_as_pydicom_does(tmp_path, function, centre, width):
    data = dicom(tmp_path / "a.dcm", RAMP, 12, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function)
    expected = spread(apply_voi_lut(RAMP, data), 0, 4095)
    film = read_film(tmp_path / "a.dcm")
    assert film.pixels.dtype == np.uint16 and np.abs(film.pixels - expected).max() <= 1
    assert (film.window.low, film.window.high) == (0, 65535)  # the file has said what is black and what is white
    assert np.abs(film.gray - expected / 257).max() <= 1


def test_of_several_windows_the_first_counts(tmp_path):
    one = dicom(tmp_path / "a.dcm", RAMP, 12, WindowCenter=1000, WindowWidth=300)
    dicom(tmp_path / "b.dcm", RAMP, 12, WindowCenter=[1000, 3000], WindowWidth=[300, 50])
    assert np.array_equal(read_image(tmp_path / "a.dcm"), read_image(tmp_path / "b.dcm"))
    assert one.WindowCenter == 1000


def test_a_voi_table_is_applied(tmp_path):
    curve = (np.arange(4096) ** 2 // 4096).astype(int)
    data = dicom(tmp_path / "a.dcm", RAMP, 12, VOILUTSequence=Sequence([table(curve, 12)]))
    expected = spread(apply_voi_lut(RAMP, data), 0, 4095)
    assert np.array_equal(apply_voi_lut(RAMP, data), curve[RAMP])
    assert np.abs(read_image(tmp_path / "a.dcm") - expected).max() <= 1


@pytest.mark.parametrize("tags", [{"PhotometricInterpretation": "MONOCHROME1"}, {"PresentationLUTShape": "INVERSE"}])
def test_white_is_zero_is_inverted_once_and_after_the_window(tmp_path, tags):
    window = {"WindowCenter": 1000, "WindowWidth": 600}
    dicom(tmp_path / "a.dcm", RAMP, 12, **window)
    dicom(tmp_path / "b.dcm", RAMP, 12, **window, **tags)
    plain, inverted = (read_image(tmp_path / f"{name}.dcm").astype(int) for name in "ab")
    assert np.abs(plain + inverted - 65535).max() <= 1 and plain.std() > 1000


@pytest.mark.parametrize("bits", [8, 13])
def test_without_a_window_white_is_zero_is_mirrored_in_the_range_of_its_bits(bits, tmp_path):
    """Not in the film's own, or a film would be shown another once its brightest marker is erased."""
    pixels = (RAMP // 32).astype(np.uint8) + np.uint8(9) if bits == 8 else RAMP + np.uint16(100)
    dicom(tmp_path / "a.dcm", pixels, bits, PhotometricInterpretation="MONOCHROME1")
    found = read_image(tmp_path / "a.dcm")
    assert found.dtype == pixels.dtype and np.array_equal(found, (1 << bits) - 1 - pixels.astype(int))


def test_the_modality_comes_before_the_window(tmp_path):
    data = dicom(tmp_path / "a.dcm", RAMP, 12, RescaleSlope="2", RescaleIntercept="-1000", WindowCenter=0,
                 WindowWidth=1000)  # fmt: skip
    values = apply_voi_lut(apply_modality_lut(RAMP, data), data)
    found = read_image(tmp_path / "a.dcm").astype(float)
    assert np.abs(found - spread(values, values.min(), values.max())).max() <= 1


def test_signed_pixels_begin_at_zero(tmp_path):
    pixels = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    dicom(tmp_path / "a.dcm", pixels, 12)
    assert np.array_equal(read_image(tmp_path / "a.dcm"), RAMP - RAMP.min())


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("limit", [None, 2010])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 1000, "WindowWidth": 500}])
def test_padding_is_black_and_not_counted(tmp_path, photometric, limit, window):
    rng = np.random.default_rng(0)
    film = rng.integers(900, 1100, (40, 40)).astype(np.uint16)
    padded = film.copy()
    padded[:, :10] = 2000 if limit is None else rng.integers(2000, 2011, (40, 10))
    tags = {"PixelPaddingValue": 2000, **({} if limit is None else {"PixelPaddingRangeLimit": limit}), **window}
    dicom(tmp_path / "a.dcm", padded, 12, PhotometricInterpretation=photometric, **tags)
    dicom(tmp_path / "b.dcm", film[:, 10:].copy(), 12, PhotometricInterpretation=photometric, **window)
    found, alone = read_film(tmp_path / "a.dcm"), read_film(tmp_path / "b.dcm")
    assert (found.gray[:, :10] == 0).all()
    assert np.abs(found.gray[:, 10:].astype(int) - alone.gray).max() <= 1


def test_a_palette_becomes_colour(tmp_path):
    pixels = np.tile(np.arange(16, dtype=np.uint8), (16, 1))
    red, green, blue = (np.linspace(0, 65535, 16).astype("<u2"), np.linspace(65535, 0, 16).astype("<u2"),
                        np.full(16, 257 * 30, "<u2"))  # fmt: skip
    tags = {}
    for name, values in (("Red", red), ("Green", green), ("Blue", blue)):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [16, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = values.tobytes()
    dicom(tmp_path / "a.dcm", pixels, 8, PhotometricInterpretation="PALETTE COLOR", **tags)
    found = read_image(tmp_path / "a.dcm")
    assert found.shape == (16, 16, 3)
    assert np.array_equal(found[0], np.stack([red, green, blue], axis=1).astype(found.dtype))


def test_one_bit_is_black_and_white(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (16, 16)).astype(np.uint8)
    dicom(tmp_path / "a.dcm", bits, 1, BitsAllocated=1, PixelData=np.packbits(bits, bitorder="little").tobytes())
    assert np.array_equal(read_film(tmp_path / "a.dcm").gray, bits * 255)


def test_a_file_without_preamble_is_read_as_one_with(tmp_path):
    dicom(tmp_path / "a.dcm", RAMP, 12)
    dicom(tmp_path / "b.dcm", RAMP, 12, preamble=False)
    assert np.array_equal(read_image(tmp_path / "b.dcm"), read_image(tmp_path / "a.dcm"))
    assert image_header(tmp_path / "b.dcm") == image_header(tmp_path / "a.dcm")


def test_compressed_pixels_without_their_reader_name_what_to_install(tmp_path, monkeypatch):
    data = dicom(tmp_path / "a.dcm", RAMP, 12)
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7"])
    data["PixelData"].is_undefined_length = True
    data.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"b\.dcm: .*JPEG-LS.*needs pip install xray-debug\[dicom\]"):
        read_image(tmp_path / "b.dcm")


@pytest.mark.parametrize(
    ("tags", "words"),
    [({"NumberOfFrames": 3}, "3 frames, expected one radiograph"), ({"PixelData": b"\0" * 10}, "cannot be decoded"),
     ({"Rows": 20000, "Columns": 20000}, "20000 x 20000 pixels, expected at most 100000000")],
)  # fmt: skip
def test_what_is_no_radiograph_is_refused_in_a_sentence(tmp_path, tags, words):
    dicom(tmp_path / "a.dcm", RAMP, 12, **tags)
    with pytest.raises(ImageError, match=words) as error:
        read_image(tmp_path / "a.dcm")
    assert str(error.value).startswith(str(tmp_path / "a.dcm")) and "\n" not in str(error.value)

"""pydicom's own test files: each is shown as pydicom's functions say, or refused in the sentence listed here."""

import hashlib
import re
from io import BytesIO

import numpy as np
import pydicom
import pytest
from dicom_files_fixture import FILES, READ, REFUSED, refusal
from pydicom import uid
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing, pixel_array

from xray_debug.data.images import ImageError, image_header, read_film

NO_OTHER_READER = {  # sha256 of the stored pixels as GDCM 3.2.6 decodes them, which is no part of the project
    "GDCMJ2K_TextGBR.dcm": "bea5673fdd49313fd8c391f115e57ac501f44194aa3915c22293ddb55f1d0b88",
    "JPEGLSNearLossless_08.dcm": "9eb46aa86c342094f826affc35703f71b425ba4ef229fe1711adcf1bb3ca458f",
    "JPEGLSNearLossless_16.dcm": "f929318278115ce952d85c011f752634e266720680e807bd03bf97ded3f0d3e4",
    "MR_small_jpeg_ls_lossless.dcm": "88617aaa46138fb1b6e2a951e762d962382354d69f47f8c04d4abff2f6a6a63e",
    "SC_rgb_jls_lossy_line.dcm": "bd5344c0a46bc6c0869921680aa72c1ee344be34079d9b9c5b421336f24d798f",
    "SC_rgb_jls_lossy_sample.dcm": "bd5344c0a46bc6c0869921680aa72c1ee344be34079d9b9c5b421336f24d798f",
    "SC_rgb_jpeg_gdcm.dcm": "169e619557b12114a7f0be8602026e9abb3d5045804311736ec14cecb026aca9",
}
TWELVE_BITS = ("JPEG-lossy.dcm", "JPGExtended.dcm")  # which neither pydicom nor GDCM decodes


def data_of(name: str) -> pydicom.Dataset:
    data = pydicom.dcmread(BytesIO(FILES[name].read_bytes()), force=True)
    if "TransferSyntaxUID" not in data.file_meta:
        data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    return data


def shown(data, stored: np.ndarray) -> np.ndarray:
    """float (H, W) in 0..255: pydicom's values, then the window, padding black, MONOCHROME1 inverted."""
    first = data.get("PixelPaddingValue")
    padding = np.zeros(stored.shape, bool) if first is None else stored == first
    assert "PixelPaddingRangeLimit" not in data  # in no file of pydicom's
    values = apply_modality_lut(stored, data).astype(float)
    if "VOILUTSequence" in data:
        low, high = 0, 2 ** data.VOILUTSequence[0].LUTDescriptor[2] - 1
        values = apply_voi_lut(apply_modality_lut(stored, data), data)
    elif "WindowWidth" in data:
        low, high = apply_windowing(np.array([-1e12, 1e12]), data)
        values = apply_windowing(values, data)
    elif data.BitsStored == 1:
        low, high = 0, 1
    elif values.max() <= 255 and values.min() >= 0:
        low, high = 0, 255
    else:
        low, high = np.quantile(values[~padding], [0.005, 0.995], method="inverted_cdf")
    grey = (np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros(values.shape)) * 255
    grey = 255 - grey if data.PhotometricInterpretation == "MONOCHROME1" else grey
    return np.where(padding, 0, grey)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in READ if name not in TWELVE_BITS])
def test_a_file_of_pydicoms_is_shown_as_pydicom_does(name):
    film, data = read_film(FILES[name]), data_of(name)
    if name in NO_OTHER_READER:
        stored = pixel_array(data, decoding_plugin="xray-debug")
        assert hashlib.sha256(stored.tobytes()).hexdigest() == NO_OTHER_READER[name]
    else:
        syntax = data.file_meta.TransferSyntaxUID
        own = {uid.JPEGBaseline8Bit: "pillow", uid.JPEG2000: "pillow", uid.JPEG2000Lossless: "pillow"}
        stored = pixel_array(data, decoding_plugin=own.get(syntax, ""))
    if data.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, data)
    header = image_header(FILES[name])
    assert (header.height, header.width) == film.pixels.shape[:2]
    if stored.ndim == 3:
        np.testing.assert_array_equal(film.pixels, stored)
    else:
        assert np.abs(film.gray - shown(data, stored)).max() <= 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TWELVE_BITS)
def test_jpeg_of_twelve_bits_has_the_values_of_pydicoms_tests(name):
    """Those of pylibjpeg, which pydicom's tests and others have written down."""
    pixels = read_film(FILES[name]).pixels
    assert pixels.dtype == np.uint16 and pixels.shape == (1024, 256)
    assert (pixels[420, 140], pixels[230, 120]) == (244, 95) and abs(pixels.mean() - 14.383) < 0.05


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in FILES if refusal(name) is not None])
def test_a_file_of_pydicoms_that_is_no_radiograph_is_refused_because(name):
    with pytest.raises(ImageError) as error:
        read_film(FILES[name])
    assert str(error.value).startswith(f"{FILES[name]}: ") and "\n" not in str(error.value)
    assert refusal(name) in str(error.value)


def test_every_pattern_is_of_a_file():
    assert [pattern for pattern in REFUSED if not any(re.fullmatch(pattern, name) for name in FILES)] == []
    assert set(NO_OTHER_READER) | set(TWELVE_BITS) <= set(READ) and len(READ) >= 80

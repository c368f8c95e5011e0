"""A JPEG encoded again at another's quality."""

from io import BytesIO

import numpy as np
import pytest
from covidx_fixture import picture
from PIL import Image, JpegImagePlugin

from xray_debug.data.jpeg import encode_like, is_jpeg


def jpeg(pixels: np.ndarray, quality: int, **options) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


@pytest.mark.parametrize("quality", [35, 75, 90, 100])
@pytest.mark.parametrize("sampling", [None, 0, 1, 2])
def test_tables_and_sampling_are_those_of_the_source(quality, sampling):
    grey = picture(1, (64, 72))
    pixels = grey if sampling is None else np.stack([grey, np.roll(grey, 5, 0), 255 - grey], -1)
    options = {} if sampling is None else {"subsampling": sampling}
    source = jpeg(pixels, quality, dpi=(96, 96), **options)
    written = encode_like(pixels, source)
    before, after = Image.open(BytesIO(source)), Image.open(BytesIO(written))
    assert is_jpeg(written) and before.quantization == after.quantization and after.mode == before.mode
    assert JpegImagePlugin.get_sampling(after) == JpegImagePlugin.get_sampling(before)
    assert after.info["dpi"] == (96, 96)
    np.testing.assert_array_equal(np.asarray(after), np.asarray(before))


def test_what_was_decoded_once_hardly_changes_when_it_is_encoded_again():
    source = jpeg(picture(2, (64, 72)), 80)
    shown = np.asarray(Image.open(BytesIO(source)))
    again = np.asarray(Image.open(BytesIO(encode_like(shown, source))))
    assert np.abs(again.astype(int) - shown).max() <= 1


def test_colour_from_a_grey_source_and_grey_from_a_colour_one():
    grey = picture(3, (32, 32))
    colour = np.repeat(grey[..., None], 3, 2)
    for pixels, source in ((grey, jpeg(colour, 90)), (colour, jpeg(grey, 90))):
        found = np.asarray(Image.open(BytesIO(encode_like(pixels, source))))
        assert found.shape == pixels.shape and np.abs(found.astype(int) - pixels).mean() < 3


def test_an_orientation_is_not_kept_since_pixels_are_as_they_are_shown():
    exif = Image.Exif()
    exif[274] = 6
    written = encode_like(picture(1), jpeg(picture(1), 90, exif=exif.tobytes()))
    assert Image.open(BytesIO(written)).getexif().get(274, 1) == 1


def test_a_source_that_is_none_is_one_sentence():
    with pytest.raises(ValueError, match="not a JPEG whose quality can be read"):
        encode_like(picture(1), b"\xff\xd8\xff cut off")

"""The corpus: damaged, hostile and odd inputs, each with what must happen.

An input is read as exactly what it shows, or refused in one sentence that names the file and says what is wrong.
"""

import numpy as np
import pytest
from faults import corpus_images as images

from xray_debug.data.images import ImageError, image_header, read_image


def cases(rows, *names):
    """Parameters whose id is the fault in words."""
    return pytest.mark.parametrize(names, [pytest.param(*row[1:], id=row[0]) for row in rows])


def told(error: pytest.ExceptionInfo, path, says: str) -> None:
    """One sentence, not long, that names the file and holds `says`."""
    text = str(error.value)
    assert says in text and str(path) in text, text
    assert "\n" not in text.replace(str(path), "") and "Traceback" not in text and len(text) < len(str(path)) + 300


@cases(images.REFUSED, "name", "content", "says")
def test_an_image_is_refused(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError) as error:
        read_image(path)
    told(error, path, says)
    assert path.read_bytes() == content


@cases(images.READ, "name", "content", "pixels")
def test_an_image_is_read(tmp_path, name, content, pixels):
    path = tmp_path / name
    path.write_bytes(content)
    found = read_image(path)
    assert (found.dtype, found.shape) == (pixels.dtype, pixels.shape)
    np.testing.assert_array_equal(found, pixels)
    assert (image_header(path).height, image_header(path).width) == pixels.shape[:2]

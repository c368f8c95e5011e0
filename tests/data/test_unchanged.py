"""Files that are read again must be those that prepare saw."""

from hashlib import sha256

import numpy as np
import pytest
from covidx_fixture import picture

from xray_debug.data.images import ImageError, read_image, write_image
from xray_debug.data.unchanged import copy_known, known_content, read_known


@pytest.fixture
def film(tmp_path):
    write_image(tmp_path / "a.png", picture(1))
    return tmp_path / "a.png"


def test_the_same_bytes_are_read_and_copied(film, tmp_path):
    digest = sha256(film.read_bytes()).hexdigest()
    assert known_content(film, digest) == known_content(film) == film.read_bytes()
    np.testing.assert_array_equal(read_known(film, digest).pixels, picture(1))
    copy_known(film, tmp_path / "b.png", digest)
    assert (tmp_path / "b.png").read_bytes() == film.read_bytes()


def test_other_bytes_are_refused_and_leave_no_copy(film, tmp_path):
    digest = sha256(film.read_bytes()).hexdigest()
    write_image(film, picture(2))
    for act in (known_content, read_known, lambda path, known: copy_known(path, tmp_path / "b.png", known)):
        with pytest.raises(ImageError, match=r"a\.png: changed since stage prepare; run prepare again"):
            act(film, digest)
    assert not (tmp_path / "b.png").exists()
    np.testing.assert_array_equal(read_image(film), picture(2))


def test_the_same_picture_in_other_bytes_is_another_file(film):
    digest = sha256(film.read_bytes()).hexdigest()
    film.write_bytes(film.read_bytes() + b"\0")
    with pytest.raises(ImageError, match="changed since"):
        read_known(film, digest)

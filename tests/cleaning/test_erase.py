"""A patch does what inpainting did, bit for bit, and only where it belongs."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.cleaning import erase as module
from xray_debug.cleaning.erase import clean_image, erase
from xray_debug.config import CleanConfig

boxes_anywhere = st.lists(
    st.tuples(st.integers(-10, 105), st.integers(-10, 125), st.integers(1, 30), st.integers(1, 30)).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    max_size=8,
)
BOXES = [(20, 20, 50, 40), (60, 70, 70, 90)]


def film(seed=0, dtype=np.uint8, channels=0) -> np.ndarray:
    """A smooth image with grain and something bright to erase; three equal channels where `channels` is -3."""
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.random((120, 100)), (0, 0), 8)
    shape = (120, 100, channels) if channels > 0 else (120, 100)
    grain = rng.normal(0, 0.01, shape)
    image = ((smooth.reshape((120, 100) + (1,) * (len(shape) - 2)) + grain).clip(0, 1)
             * np.iinfo(dtype).max).astype(dtype)  # fmt: skip
    image[25:35, 25:45] = np.iinfo(dtype).max
    return np.repeat(image[..., None], 3, axis=2) if channels == -3 else image


def erase_by_patch(image, boxes, config, known) -> module.Erased:
    """`erase` where inpainting would be an error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "clean_image", None)
        return erase(image, boxes, config, known)


@settings(max_examples=80, deadline=None)
@given(
    boxes_anywhere,
    st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from([0, 1, 3, -3]),
    st.sampled_from(["box", "letters"]),
    st.sampled_from(["telea", "ns"]),
    st.integers(0, 3),
)
def test_a_patch_gives_what_inpainting_gives(boxes, dtype, channels, shape, method, seed):
    image = film(seed, dtype, channels)
    config = CleanConfig(shape=shape, method=method)
    before = image.copy()
    cleaned, region = clean_image(image, boxes, config)
    first = erase(image, boxes, config)
    again = erase_by_patch(image, boxes, config, first.patch)
    for found in (first, again):
        np.testing.assert_array_equal(found.cleaned, cleaned)
        np.testing.assert_array_equal(found.region, region)
        assert (found.cleaned.dtype, found.cleaned.shape) == (image.dtype, image.shape)
        assert found.patch == first.patch
    np.testing.assert_array_equal(image, before)
    assert again.cleaned is not image


def test_the_order_of_the_boxes_does_not_matter():
    patch = erase(film(), BOXES, CleanConfig()).patch
    assert erase_by_patch(film(), BOXES[::-1], CleanConfig(), patch).patch == patch


@pytest.mark.parametrize(
    ("image", "boxes", "options"),
    [
        (film(1), BOXES, {}),
        (film(0, channels=1), BOXES, {}),
        (film(0, np.uint16), BOXES, {}),
        (film(), BOXES[:1], {}),
        (film(), [*BOXES, (1, 1, 5, 5)], {}),
        (film(), BOXES, {"radius": 9}),
        (film(), BOXES, {"method": "ns"}),
        (film(), BOXES, {"shape": "letters"}),
        (film(), BOXES, {"dilation": 0.3}),
        (film(), BOXES, {"min_dilation": 5}),
    ],
)
def test_a_patch_of_something_else_is_ignored(image, boxes, options):
    other = erase(film(), BOXES, CleanConfig()).patch
    config = CleanConfig(**options)
    found = erase(image, boxes, config, other)
    np.testing.assert_array_equal(found.cleaned, clean_image(image, boxes, config)[0])
    assert found.patch != other and found.patch == erase(image, boxes, config).patch


def test_options_that_change_no_pixel_do_not_matter():
    patch = erase(film(), BOXES, CleanConfig()).patch
    assert erase_by_patch(film(), BOXES, CleanConfig(lossy="jpeg", control=False), patch).patch == patch


@pytest.mark.parametrize("damage", [b"", b"x", "cut", "flip", "short"])
def test_damaged_patches_are_ignored(damage):
    image, config = film(), CleanConfig()
    good = erase(image, BOXES, config).patch
    bad = {"cut": good[:-9], "flip": good[:-9] + bytes([good[-9] ^ 255]) + good[-8:],
           "short": good[:20] + module.zlib.compress(b"\xff" * 30)}.get(damage, damage)  # fmt: skip
    found = erase(image, BOXES, config, bad)
    np.testing.assert_array_equal(found.cleaned, clean_image(image, BOXES, config)[0])
    assert found.patch == good


def test_patches_are_small():
    image = film(0, np.uint8, -3)
    area = int(clean_image(image, BOXES, CleanConfig())[1].sum())
    assert len(erase(image, BOXES, CleanConfig()).patch) < area  # a third of the raw bytes


def test_a_box_over_the_whole_image_is_refused():
    with pytest.raises(ValueError, match="covers the whole image"):
        erase(film(), [(0, 0, 100, 120)], CleanConfig())

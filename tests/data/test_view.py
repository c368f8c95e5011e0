"""Between an image's pixels and the model's square: grey, crop, resize, and boxes and maps on the same path."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.config import ViewConfig
from xray_debug.data.boxes import rasterise_boxes
from xray_debug.data.images import ModelView, to_gray8

fractions = st.floats(0, 0.49)
views = st.builds(ModelView, st.integers(8, 40), fractions, fractions, fractions, fractions)


def test_gray8_keeps_bytes_and_weighs_colours():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert to_gray8(grey) is grey
    colour = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(to_gray8(colour), [[0.299 * 255, 0.587 * 255, 0.114 * 255]], atol=0.6)


def test_gray8_windows_sixteen_bits_by_percentiles():
    image = np.arange(1000, dtype=np.uint16).reshape(20, 50) * 60
    low, high = np.percentile(image, [0.5, 99.5])
    expected = ((image - low) / (high - low) * 255).clip(0, 255)
    assert np.abs(to_gray8(image).astype(float) - expected).max() < 1.0
    np.testing.assert_array_equal(to_gray8(np.array([[3, 200]], np.uint16)), [[3, 200]])  # bytes in a wide type
    np.testing.assert_array_equal(to_gray8(np.full((4, 4), 5000, np.uint16)), np.zeros((4, 4)))


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 3), np.uint8)])
def test_gray8_names_what_is_no_image(bad):
    with pytest.raises((TypeError, ValueError), match="expected"):
        to_gray8(bad)


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 8, "crop_top": 0.5}, {"size": 8, "crop_left": -0.1},
                                     {"size": 8, "resize": "stretch"}, {"size": 8, "resize_to": 9},
                                     {"size": 8, "resize": "shorter+crop", "resize_to": 7}])  # fmt: skip
def test_impossible_views_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        ModelView(**options)


def test_view_from_config_crops_then_averages():
    view = ModelView.from_config(ViewConfig(size=16, crop_top=0.25, crop_right=0.5 - 1e-9))
    image = np.zeros((64, 64), np.uint8)
    image[16:, :32] = 100
    assert view.window(64, 64) == (0, 16, 33, 64)
    small = ModelView(16, crop_top=0.25).apply(image)
    np.testing.assert_array_equal(small[:, :8], 100)
    np.testing.assert_array_equal(small[:, 8:], 0)


def test_shrinking_averages_areas_exactly():
    image = np.random.default_rng(0).integers(0, 256, (32, 64), dtype=np.uint8)
    blocks = image.reshape(8, 4, 8, 8).mean(axis=(1, 3))
    assert np.abs(ModelView(8).apply(image) - blocks).max() <= 0.5


@settings(max_examples=40, deadline=None)
@given(views, st.integers(1, 90), st.integers(1, 90))
def test_every_view_has_its_size_and_keeps_constants(view, height, width):
    seen = view.apply(np.full((height, width), 77, np.uint8))
    assert seen.shape == (view.size, view.size)
    assert (seen == 77).all()
    full = view.map_to_image(np.ones((5, 5), np.float32), height, width)
    x0, y0, x1, y1 = view.window(height, width)
    np.testing.assert_allclose(full, rasterise_boxes([(x0, y0, x1, y1)], height, width), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(views, st.integers(20, 90), st.integers(20, 90), st.data())
def test_boxes_masks_and_visible_shares_agree(view, height, width, data):
    x0, y0 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    box = (x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    seen = view.boxes_to_view([box], height, width)
    assert seen.shape == (1, 4) and seen.min() >= 0 and seen.max() <= view.size
    wx0, wy0, wx1, wy1 = view.window(height, width)
    area = (seen[0, 2] - seen[0, 0]) * (seen[0, 3] - seen[0, 1]) * (wx1 - wx0) * (wy1 - wy0) / view.size**2
    share = view.visible_fraction([box], height, width)[0]
    pixels = (box[2] - box[0]) * (box[3] - box[1])
    assert area == pytest.approx(share * pixels, abs=1e-6)  # both count the visible pixels
    inside = rasterise_boxes([box], height, width)[wy0:wy1, wx0:wx1]
    assert share == pytest.approx(inside.sum() / pixels)
    if wx1 - wx0 >= view.size and wy1 - wy0 >= view.size:  # averaging keeps the covered area
        covered = view.mask_to_view(rasterise_boxes([box], height, width)).mean()
        assert covered == pytest.approx(inside.mean(), abs=2e-3)


ways = st.builds(ModelView, st.integers(8, 40), fractions, fractions, fractions, fractions,
                 st.sampled_from(["squash", "shorter+crop", "pad"]))  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(ways, st.integers(20, 120), st.integers(20, 120), st.data())
def test_a_bright_box_is_seen_where_it_is_said_to_be_however_the_square_is_made(view, height, width, data):
    """The centre and area of what is bright in the view, and in the map that comes back, against the box's."""
    x0, y0 = data.draw(st.integers(0, width - 8)), data.draw(st.integers(0, height - 8))
    box = (x0, y0, data.draw(st.integers(x0 + 6, width)), data.draw(st.integers(y0 + 6, height)))
    inside = rasterise_boxes([box], height, width)
    (left, top, right, bottom), seen = view.boxes_to_view([box], height, width)[0], view.mask_to_view(inside)
    assert np.abs(view.apply((inside * 255).astype(np.uint8)) / 255 - seen).max() < 0.01
    share = view.visible_fraction([box], height, width)[0]
    assert (share > 0) == ((right - left) * (bottom - top) > 1e-9)
    if min(right - left, bottom - top) < 3:
        return
    assert seen.sum() == pytest.approx((right - left) * (bottom - top), rel=0.2, abs=4)
    places = np.arange(view.size) + 0.5
    assert (seen.sum(0) @ places / seen.sum()) == pytest.approx((left + right) / 2, abs=0.75)
    assert (seen.sum(1) @ places / seen.sum()) == pytest.approx((top + bottom) / 2, abs=0.75)
    back = view.map_to_image(seen, height, width)
    assert back.shape == (height, width)
    assert back[~inside.astype(bool)].sum() <= 0.35 * back.sum() + 8
    wx0, wy0, wx1, wy1 = view.window(height, width)
    outside = np.ones((height, width), bool)
    outside[wy0:wy1, wx0:wx1] = False
    assert not back[outside].any()


@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90), (128, 128), (101, 77)])
def test_the_shorter_side_and_a_crop_are_torchvisions(height, width):
    from PIL import Image
    from torchvision.transforms import CenterCrop, Compose, Resize

    rows, columns = np.mgrid[:height, :width]
    image = (127 + 60 * np.sin(rows / 9) + 60 * np.cos(columns / 7)).astype(np.uint8)
    expected = np.asarray(Compose([Resize(64), CenterCrop(56)])(Image.fromarray(image)))
    found = ModelView(56, resize="shorter+crop", resize_to=64).apply(image)
    assert np.abs(found.astype(int) - expected).max() <= 6 and np.abs(found.astype(int) - expected).mean() < 1.5
    moved = np.roll(expected, 1, axis=1)
    assert np.abs(found.astype(int) - moved).mean() > 3  # a pixel aside would be seen


def test_padding_keeps_the_shape_and_is_black():
    seen = ModelView(40, resize="pad").apply(np.full((50, 100), 200, np.uint8))
    assert (seen[10:30] == 200).all() and not seen[:10].any() and not seen[30:].any()
    assert ModelView(40, resize="pad").boxes_to_view([(0, 0, 100, 50)], 50, 100).tolist() == [[0, 10, 40, 30]]
    assert ModelView(40, resize="pad").window(50, 100) == (0, 0, 100, 50)


def test_a_centre_crop_shows_the_centre_alone():
    view = ModelView(40, resize="shorter+crop")
    assert view.window(50, 100) == (25, 0, 75, 50)
    assert view.visible_fraction([(0, 0, 25, 50), (20, 0, 30, 50), (25, 0, 75, 50)], 50, 100).tolist() == [0, 0.5, 1]
    larger = ModelView(40, resize="shorter+crop", resize_to=80)
    assert larger.window(50, 100) == (37, 12, 63, 38)  # 25 pixels around the centre, and the parts of pixels beside


def test_a_box_without_area_is_not_visible():
    assert ModelView(8).visible_fraction([(3, 3, 3, 9)], 10, 10).tolist() == [0.0]
    assert ModelView(8).boxes_to_view([], 10, 10).shape == (0, 4)


def test_a_transposed_image_gives_the_transposed_view():
    image = np.random.default_rng(1).integers(0, 256, (50, 70), dtype=np.uint8)
    view, turned = ModelView(24, 0.1, 0.2, 0.0, 0.3), ModelView(24, 0.0, 0.3, 0.1, 0.2)
    assert np.abs(view.apply(image).T.astype(int) - turned.apply(image.T.copy())).max() <= 1
    saliency = np.random.default_rng(2).random((7, 7)).astype(np.float32)
    there, back = view.map_to_image(saliency, 50, 70), turned.map_to_image(saliency.T, 70, 50)
    np.testing.assert_allclose(there.T, back, atol=1e-5)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="mask"):
        ModelView(8).mask_to_view(np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="map"):
        ModelView(8).map_to_image(np.zeros(9), 10, 10)
    with pytest.raises(ValueError, match="at least"):
        ModelView(8).window(0, 10)

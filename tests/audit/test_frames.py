import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.audit.frames import (
    Frames,
    add_salient_frames,
    add_text_frames,
    blacked_out,
    composite,
    cropped_margins,
    mirrored,
    place_controls,
    prepare_case,
    ranks,
    remove_boxes,
    top_share,
)
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.images import ModelView
from xray_debug.saliency import insertion_deletion_images

VIEW = ModelView(32)


def film(seed=0, size=64):
    rng = np.random.default_rng(seed)
    ramp = np.linspace(60, 160, size)[None] + np.zeros((size, 1))
    return np.clip(ramp + rng.normal(0, 3, (size, size)), 0, 255).astype(np.uint8)


def half(image):
    return np.full_like(image, 0.5)


def case(boxes, view=VIEW, **options):
    image = film()
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = 255
    return prepare_case("a.png", image, boxes, view, AuditConfig(**options), CleanConfig(), half, seed=5)


def test_text_free_view_is_what_cleaning_makes_of_the_original():
    found = case([(4, 4, 14, 12)])
    cleaned, region = remove_boxes(found.original, [(4, 4, 14, 12)], CleanConfig())
    assert np.array_equal(found.text_free, VIEW.apply(cleaned).astype(np.float32) / np.float32(255))
    assert np.array_equal(found.text_mask, VIEW.mask_to_view(region))
    assert np.array_equal(found.text_free[found.text_mask == 0], found.view[found.text_mask == 0])


def test_without_text_nothing_is_removed():
    found = case([])
    assert np.array_equal(found.text_free, found.view)
    assert found.text_mask.sum() == 0 and found.control_removed == [] and found.removed == {} and found.hidden == 0
    frames = Frames()
    add_text_frames(frames, found)
    assert frames.names == ["image", "baseline"]


def test_cropped_text_is_hidden_and_gets_no_controls_of_its_own():
    found = case([(4, 1, 14, 7), (30, 40, 40, 48)], ModelView(32, crop_top=0.2))
    assert found.hidden == 1
    assert found.visible.tolist() == [[30, 40, 40, 48]]


def test_controls_touch_no_text_and_lie_inside_the_view():
    view = ModelView(32, crop_top=0.25, crop_left=0.25)
    text = np.array([[40, 40, 52, 46]])
    places = place_controls(text, text, view, 64, 64, seed=1, count=6)
    assert len(places) >= 6
    for place in places:
        assert (place[:, 2:] - place[:, :2] == [12, 6]).all()
        assert (view.visible_fraction(place, 64, 64) == 1).all()
        x0, y0, x1, y1 = place[0]
        assert x1 <= 40 or x0 >= 52 or y1 <= 40 or y0 >= 46


def test_mirror_image_is_a_control_only_where_it_is_text_free():
    alone = place_controls(np.array([[2, 2, 10, 8]]), np.array([[2, 2, 10, 8]]), VIEW, 64, 64, 0, 1)
    both = np.array([[2, 2, 10, 8], [50, 2, 62, 8]])
    assert alone[-1].tolist() == [[54, 2, 62, 8]]
    assert len(place_controls(both, both, VIEW, 64, 64, 0, 1)) == 1


@given(st.integers(0, 40), st.integers(1, 24), st.integers(64, 100))
def test_mirroring_twice_changes_nothing(x, width, total):
    boxes = np.array([[x, 3, x + width, 9]])
    assert np.array_equal(mirrored(mirrored(boxes, total), total), boxes)


def test_cropped_margins_and_the_window_cover_the_image_once():
    view = ModelView(16, 0.1, 0.2, 0.3, 0.05)
    count = np.zeros((50, 40), int)
    for x0, y0, x1, y1 in [*cropped_margins(view, 50, 40), view.window(50, 40)]:
        count[y0:y1, x0:x1] = 1
    x0, y0, x1, y1 = view.window(50, 40)
    outside = count.copy()
    outside[y0:y1, x0:x1] = 0
    assert count.all() and outside.sum() == 50 * 40 - (y1 - y0) * (x1 - x0)


def test_revealed_and_blurred_text_add_up_to_image_and_baseline():
    found, frames = case([(4, 4, 14, 12)]), Frames()
    add_text_frames(frames, found)
    by_name = dict(zip(frames.names, frames.images, strict=True))
    assert np.allclose(by_name["text_only"] + by_name["text_blurred"], found.view + found.baseline)
    for index in range(len(found.control_masks)):
        total = by_name[f"control_only/{index}"] + by_name[f"control_blurred/{index}"]
        assert np.allclose(total, found.view + found.baseline)
    assert {"text_inpainted", "text_smoothed", "text_mirrored", "control_mirrored/0"} <= set(frames.names)
    assert frames.stack().shape == (7 + 5 * len(found.control_masks), 1, 32, 32)
    assert frames.stack().dtype == np.float32


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0, 1))
def test_top_share_holds_that_many_pixels_and_the_most_salient_ones(seed, share):
    saliency = np.random.default_rng(seed).random((8, 8)).astype(np.float32)
    mask = top_share(ranks(saliency, 8), share).astype(bool)
    assert mask.sum() == round(share * 64)
    if 0 < mask.sum() < 64:
        assert saliency[mask].min() > saliency[~mask].max()


def test_salient_frames_equal_those_of_the_saliency_package():
    found, frames = case([]), Frames()
    saliency = np.random.default_rng(1).random((7, 7)).astype(np.float32)
    add_salient_frames(frames, found, saliency, [0.04, 0.25])
    images, bases = (torch.from_numpy(a)[None, None] for a in (found.view, found.baseline))
    for share in (0.04, 0.25):
        inserted, deleted = insertion_deletion_images(images, bases, torch.from_numpy(saliency)[None, None], share)
        by_name = dict(zip(frames.names, frames.images, strict=True))
        assert np.allclose(by_name[f"inserted_share/{share:g}"], inserted[0, 0], atol=1e-6)
        assert np.allclose(by_name[f"deleted_share/{share:g}"], deleted[0, 0], atol=1e-6)


def test_blacked_out_centre_and_untouched_rest():
    images = np.full((2, 20, 20), 7, np.uint8)
    result = blacked_out(images, 0.25)
    assert result[:, 5:15, 5:15].sum() == 0
    assert result.sum() == 7 * 2 * (400 - 100) and images.min() == 7


@pytest.mark.parametrize("mask, expected", [(1.0, 0.25), (0.0, 0.75), (0.5, 0.5)])
def test_composite(mask, expected):
    assert composite(np.array(0.25), np.array(0.75), np.array(mask)) == expected

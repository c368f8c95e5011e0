import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.audit.frames import Frames, add_salient_frames, blacked_out, composite, prepare_case, ranks, top_share
from xray_debug.audit.removals import remove_boxes
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.view import ModelView
from xray_debug.saliency import insertion_deletion_images

VIEW = ModelView(32)


def film(seed=0, size=64):
    rng = np.random.default_rng(seed)
    ramp = np.linspace(60, 160, size)[None] + np.zeros((size, 1))
    return np.clip(ramp + rng.normal(0, 3, (size, size)), 0, 255).astype(np.uint8)


def case(boxes, view=VIEW, **options):
    image = film()
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = 255
    return prepare_case("a.png", "normal", image, boxes, view, AuditConfig(**options), CleanConfig(), seed=5)


def test_text_free_view_is_what_cleaning_makes_of_the_original():
    found = case([(4, 4, 14, 12)])
    cleaned, region = remove_boxes(found.original, [(4, 4, 14, 12)], CleanConfig())
    assert np.array_equal(found.text_free, VIEW.apply(cleaned).astype(np.float32) / np.float32(255))
    assert np.array_equal(found.text.mask, VIEW.mask_to_view(region))
    assert np.array_equal(found.text_free[found.text.mask == 0], found.view[found.text.mask == 0])
    assert sorted(found.text.views) == ["inpainted", "mirrored", "smoothed"]


def test_without_text_nothing_is_removed():
    found = case([])
    assert np.array_equal(found.text_free, found.view) and found.text.original is found.original
    assert found.text.mask.sum() == 0 and found.text.views == {} and found.hidden == 0
    assert not found.has("text") and not found.has("map") and not found.has("bank")


def test_text_that_the_view_crops_away_is_erased_only_along_with_visible_text():
    view, hidden, visible = ModelView(32, crop_top=0.2), (4, 1, 14, 7), (30, 40, 40, 48)
    alone = case([hidden], view)
    assert alone.hidden == 1 and not alone.has("text") and np.array_equal(alone.text.original, alone.original)
    both = case([hidden, visible], view)
    assert both.hidden == 1 and both.visible.tolist() == [list(visible)]
    cleaned, _ = remove_boxes(both.original, [hidden, visible], CleanConfig())
    assert np.array_equal(both.text.original, cleaned) and (cleaned[1:7, 4:14] < 255).all()


def test_a_frame_s_name_can_be_given_once():
    frames = Frames()
    frames.add("image", np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match="'image' is added twice"):
        frames.add("image", np.zeros((4, 4), np.uint8))


def test_frames_are_float_in_0_to_1():
    frames = Frames()
    frames.add("bytes", np.full((4, 4), 255, np.uint8))
    frames.add("floats", np.full((4, 4), 0.25))
    assert frames.stack().dtype == np.float32 and frames.stack().shape == (2, 1, 4, 4)
    assert frames.stack()[:, 0, 0, 0].tolist() == [1.0, 0.25]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0, 1))
def test_top_share_holds_that_many_pixels_and_the_most_salient_ones(seed, share):
    saliency = np.random.default_rng(seed).random((8, 8)).astype(np.float32)
    mask = top_share(ranks(saliency, 8), share).astype(bool)
    assert mask.sum() == round(share * 64)
    if 0 < mask.sum() < 64:
        assert saliency[mask].min() > saliency[~mask].max()


def test_salient_frames_equal_those_of_the_saliency_package():
    found, frames = case([], shares=[0.04, 0.25]), Frames()
    saliency = found.saliency = np.random.default_rng(1).random((7, 7)).astype(np.float32)
    add_salient_frames(frames, found)
    assert len(frames.names) == 4
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

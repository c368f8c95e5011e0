"""Curves of models whose curves are known, ties, regions, blurring."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xray_debug.saliency import (
    blurred,
    deletion_insertion,
    insertion_deletion_images,
    rank_pixels,
    upsample_saliency,
)


class PixelSum(nn.Module):
    """Score of class 1 = the mean of the pixels, exactly: logits (log(1 - s), log s)."""

    def __init__(self):
        super().__init__()
        self.register_buffer("one", torch.ones((), dtype=torch.float64))

    def forward(self, x):
        share = x.mean((1, 2, 3)).clamp(1e-300, 1 - 1e-16)
        return torch.stack([torch.log1p(-share), torch.log(share)], 1)


def test_curves_of_a_pixel_sum_are_exact():
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(2, 1, 6, 6, generator=draws, dtype=torch.float64)
    baselines = torch.rand(2, 1, 6, 6, generator=draws, dtype=torch.float64) * 0.1
    saliency = torch.rand(2, 1, 6, 6, generator=draws, dtype=torch.float64)
    curves = deletion_insertion(PixelSum(), images, saliency, [1, 1], baselines, steps=9)
    for row in range(2):
        order = np.argsort(-saliency[row].numpy().ravel())
        image, baseline = images[row].numpy().ravel(), baselines[row].numpy().ravel()
        for k in range(10):
            top = order[: 4 * k]
            deleted, inserted = image.copy(), baseline.copy()
            deleted[top], inserted[top] = baseline[top], image[top]
            assert curves.deletion_curve[row, k].item() == pytest.approx(deleted.mean(), abs=1e-12)
            assert curves.insertion_curve[row, k].item() == pytest.approx(inserted.mean(), abs=1e-12)
        area = np.trapezoid(curves.deletion_curve[row].numpy(), np.linspace(0, 1, 10))
        assert curves.deletion[row].item() == pytest.approx(area)


def test_area_in_closed_form():
    """Half the pixels carry the score and are found first: deletion 1/4, insertion 3/4 of the way."""
    images = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    images[..., :2] = 1
    curves = deletion_insertion(PixelSum(), images, images, 1, torch.zeros_like(images), steps=16)
    assert curves.deletion.item() == pytest.approx(0.5 * 0.25, abs=1e-12)
    assert curves.insertion.item() == pytest.approx(0.5 * 0.75, abs=1e-12)
    assert curves.shares.tolist() == [k / 16 for k in range(17)]


@pytest.mark.parametrize("grid", ["pixels", "mask"])
def test_ends_of_the_curves_and_batches(grid):
    draws = torch.Generator().manual_seed(1)
    images, saliency = torch.rand(3, 1, 12, 12, generator=draws), torch.rand(3, 1, 4, 4, generator=draws)
    baselines = blurred(images)
    model = PixelSum()
    both = deletion_insertion(model, images, saliency, 1, baselines, grid=grid, internal_batch_size=5)
    assert both.deletion_curve.shape == (3, 51)
    assert torch.allclose(both.deletion_curve[:, 0], images.mean((1, 2, 3)).double(), atol=1e-6)
    assert torch.allclose(both.deletion_curve[:, -1], baselines.mean((1, 2, 3)).double(), atol=1e-6)
    assert torch.allclose(both.insertion_curve[:, 0], baselines.mean((1, 2, 3)).double(), atol=1e-6)
    assert torch.allclose(both.insertion_curve[:, -1], images.mean((1, 2, 3)).double(), atol=1e-6)
    single = deletion_insertion(model, images[1:2], saliency[1:2], 1, baselines[1:2], grid=grid)
    assert torch.allclose(both.deletion[1:2], single.deletion, atol=1e-9)


def test_mask_grid_is_the_upsampled_zero_one_mask():
    images = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    saliency = torch.tensor([[[[0.1, 0.9], [0.5, 0.3]]]], dtype=torch.float64)
    curves = deletion_insertion(PixelSum(), images, saliency, 1, torch.zeros_like(images), steps=4, grid="mask")
    kept = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]], dtype=torch.float64)
    large = nn.functional.interpolate(kept, size=(8, 8), mode="bilinear")
    assert curves.deletion_curve[0, 1].item() == pytest.approx((images * large).mean().item())


def test_insertion_under_noise_follows_its_seed():
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(3)) * 0.5 + 0.2
    run = [
        deletion_insertion(PixelSum(), images, images, 1, noise=noise, seed=seed, steps=5).insertion
        for noise, seed in ((0.1, 1), (0.1, 1), (0.1, 2), (0.0, 1))
    ]
    assert torch.equal(run[0], run[1])
    assert not torch.allclose(run[0], run[2], atol=1e-6)
    assert not torch.allclose(run[0], run[3], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_ranks_are_a_permutation_that_respects_saliency(values):
    saliency = torch.tensor(values, dtype=torch.float32).view(1, 1, 3, 4)
    ranks = rank_pixels(saliency).flatten()
    assert sorted(ranks.tolist()) == list(range(12))
    ordered = saliency.flatten()[torch.argsort(ranks)]
    assert (ordered.diff() <= 0).all()


def test_ties_go_to_the_thick_of_the_plateau_then_by_position():
    saliency = torch.zeros(1, 1, 5, 7)
    saliency[..., 1:4, 1:4] = 1
    saliency[..., 2, 5] = 1
    order = torch.argsort(rank_pixels(saliency).flatten()).tolist()
    assert order[0] == 2 * 7 + 2
    assert order[9] == 2 * 7 + 5
    assert torch.equal(rank_pixels(torch.zeros(1, 1, 2, 3)).flatten(), torch.arange(6))


def test_inserted_and_deleted_images():
    images = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(4))
    baselines = torch.zeros_like(images)
    saliency = torch.arange(16.0).view(1, 1, 4, 4) / 16
    inserted, deleted = insertion_deletion_images(images, baselines, saliency, 0.25)
    assert torch.equal(inserted[..., 3, :], images[..., 3, :]) and inserted[..., :3, :].abs().max() == 0
    assert torch.equal(inserted + deleted, images)
    for share, kept in ((0.0, 0.0), (1.0, 1.0)):
        assert torch.equal(insertion_deletion_images(images, baselines, saliency, share)[0], images * kept)


@pytest.mark.parametrize("side", [24, 90])
def test_blur_is_opencvs(side):
    image = np.random.default_rng(0).random((side, side + 7), dtype=np.float64)
    expected = cv2.GaussianBlur(image, (51, 51), 50) if side > 51 else None
    found = blurred(torch.from_numpy(image)[None, None])[0, 0].numpy()
    if expected is not None:
        assert np.allclose(found, expected, atol=1e-12)
    assert found.std() < 0.2 * image.std()
    assert blurred(torch.full((1, 3, side, side), 0.7)).sub(0.7).abs().max() < 1e-6


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda x, s: deletion_insertion(PixelSum(), x, s, 1, steps=0), "steps"),
        (lambda x, s: deletion_insertion(PixelSum(), x, s, 1, grid="rows"), "grid"),
        (lambda x, s: deletion_insertion(PixelSum(), x, s, 1, noise=float("nan")), "noise"),
        (lambda x, s: deletion_insertion(PixelSum(), x, s[:0], 1), "saliency"),
        (lambda x, s: deletion_insertion(PixelSum(), x, s[0], 1), "saliency"),
        (lambda x, s: rank_pixels(s * float("nan")), "finite"),
        (lambda x, s: insertion_deletion_images(x, x, s, 1.5), "share"),
        (lambda x, s: upsample_saliency(s[0], 8), "saliency"),
        (lambda x, s: blurred(x, 4), "kernel_size"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(ValueError, match=word):
        call(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4))

"""ROAD: imputation against a solver written out, curves of a network whose scores are known."""

import numpy as np
import pytest
import torch
from torch import nn

from xray_debug.saliency import noisy_linear_imputation, rank_pixels, road


class Means(nn.Module):
    """Probability of class 1 = the mean of the pixels."""

    def __init__(self):
        super().__init__()
        self.register_buffer("one", torch.ones((), dtype=torch.float64))

    def forward(self, x):
        share = x.mean((1, 2, 3)).clamp(1e-9, 1 - 1e-9)
        return torch.stack([torch.log1p(-share), torch.log(share)], 1)


def relaxed(image: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Each pixel that is gone is set to the weighted mean of its neighbours, again and again until nothing moves."""
    image = np.where(gone, 0.0, image)
    height, width = image.shape
    for _ in range(3000):
        new = image.copy()
        for y, x in zip(*np.nonzero(gone), strict=True):
            total = weight = 0.0
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if (dy or dx) and 0 <= y + dy < height and 0 <= x + dx < width:
                        own = 1 / 6 if 0 in (dy, dx) else 1 / 12
                        total, weight = total + own * image[y + dy, x + dx], weight + own
            new[y, x] = total / weight
        if np.abs(new - image).max() < 1e-13:
            break
        image = new
    return image


def test_imputation_solves_the_papers_equations():
    draws = np.random.default_rng(0)
    images = torch.from_numpy(draws.random((2, 2, 6, 7)))
    removed = torch.from_numpy(draws.random((2, 1, 6, 7)) < 0.6)
    found = noisy_linear_imputation(images, removed, noise=0)
    for row in range(2):
        for channel in range(2):
            expected = relaxed(images[row, channel].numpy(), removed[row, 0].numpy())
            np.testing.assert_allclose(found[row, channel], expected, atol=1e-9)
    assert torch.equal(noisy_linear_imputation(images, torch.zeros_like(removed), noise=1), images)


def test_an_even_image_stays_even_and_noise_follows_the_images_own_seed():
    even, removed = torch.full((1, 1, 9, 9), 0.3), torch.ones(1, 1, 9, 9, dtype=torch.bool)
    removed[..., 4, 4] = False
    assert torch.allclose(noisy_linear_imputation(even, removed, noise=0), even, atol=1e-6)
    noisy = [noisy_linear_imputation(even, removed, 0.05, seed) for seed in (1, 1, 2)]
    assert torch.equal(noisy[0], noisy[1]) and not torch.equal(noisy[0], noisy[2])
    assert noisy[0][..., 4, 4] == even[..., 4, 4] and 0.03 < (noisy[0] - even).std() < 0.07


def test_road_removes_the_most_salient_first_and_the_least_salient_first():
    """A bright left half on black: without its bright pixels the mean falls, without the dark ones it rises."""
    images = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    images[..., :4] = 1
    found = road(Means(), images, images, 1, shares=(0.25, 0.5, 0.9), noise=0)
    assert found.shares.tolist() == pytest.approx([16 / 64, 32 / 64, 58 / 64])
    ranks = rank_pixels(images)[0, 0].numpy()
    for column, count in enumerate((16, 32, 58)):
        for scores, gone in ((found.morf, ranks < count), (found.lerf, ranks >= 64 - count)):
            expected = relaxed(images[0, 0].numpy(), gone).mean()
            assert scores[0, column].item() == pytest.approx(expected, abs=1e-8)
    assert found.morf[0, 1] < 1e-6 and found.lerf[0, 1] > 1 - 1e-6  # one half is left, and fills the other
    assert found.morf_hits.tolist() == [[bool(p > 0.5) for p in found.morf[0]]]
    assert found.lerf_hits.tolist() == [[bool(p > 0.5) for p in found.lerf[0]]]
    assert found.gap.item() == pytest.approx((found.lerf - found.morf).mean().item())


def test_rows_do_not_depend_on_each_other():
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    both = road(Means(), images, images, 1, seed=[5, 6, 7])
    alone = road(Means(), images[1:2], images[1:2], 1, seed=[6])
    assert torch.equal(both.morf[1:2], alone.morf) and torch.equal(both.lerf[1:2], alone.lerf)


@pytest.mark.parametrize(("change", "words"), [
    ({"shares": ()}, "shares: expected numbers between 0 and 1"), ({"shares": (0.5, 1.0)}, "shares: expected numbers"),
    ({"saliency": torch.rand(1, 1, 4, 4)}, "saliency: expected 2 maps, got 1"),
])  # fmt: skip
def test_what_cannot_be_used_is_named(change, words):
    arguments = {"images": torch.rand(2, 1, 4, 4), "saliency": torch.rand(2, 1, 4, 4), "targets": 1}
    with pytest.raises(ValueError, match=words):
        road(Means(), **{**arguments, **change})


def test_imputation_needs_a_pixel_and_a_mask_of_the_images_size():
    images = torch.rand(1, 1, 4, 4)
    with pytest.raises(ValueError, match="at least one pixel that is left"):
        noisy_linear_imputation(images, torch.ones(1, 1, 4, 4).bool())
    with pytest.raises(ValueError, match=r"removed: expected \(1, 1, 4, 4\)"):
        noisy_linear_imputation(images, torch.ones(1, 1, 2, 4).bool())

"""Augmentation against exact movements of pixels."""

import math

import pytest
import torch
from torch.nn import functional as F

from xray_debug.config import AugmentConfig
from xray_debug.models.augment import _grid, affine_matrices, augment

NOTHING = AugmentConfig(rotate=0, translate=0, scale=0, brightness=0, contrast=0)


@pytest.fixture
def images():
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def moved(images, angle=0.0, scale=1.0, x=0.0, y=0.0, mirror=1.0):
    values = (torch.full((len(images),), v) for v in (angle, scale, x, y, mirror))
    grid = F.affine_grid(affine_matrices(*values), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_matrices_turn_mirror_move_and_scale_exactly(images):
    torch.testing.assert_close(moved(images), images)
    torch.testing.assert_close(moved(images, mirror=-1.0), images.flip(3))
    turned = moved(images, angle=math.pi / 2)
    assert min((turned - torch.rot90(images, k, (2, 3))).abs().max() for k in (1, 3)) < 1e-5
    right = moved(images, x=2 / 8)  # one pixel: the content moves left, the border repeats
    torch.testing.assert_close(right[..., :-1], images[..., 1:])
    torch.testing.assert_close(right[..., -1], images[..., -1])
    down = moved(images, y=2 / 8)
    torch.testing.assert_close(down[..., :-1, :], images[..., 1:, :])
    square = torch.zeros(1, 1, 64, 64)
    square[..., 24:40, 24:40] = 1
    assert moved(square, scale=2.0).sum() == pytest.approx(4 * 256, rel=0.05)


def test_no_augmentation_changes_nothing(images):
    assert torch.equal(augment(images, NOTHING, generator()), images)


def test_flip_mirrors_about_half_and_never_by_default():
    images = torch.arange(8.0).repeat(200, 1, 8, 1) / 8
    flipped = augment(images, NOTHING.model_copy(update={"flip": True}), generator())
    mirrored = (flipped[:, 0, 0, 0] > 0.5).float().mean()
    assert 0.35 < mirrored < 0.65
    kept = augment(images, AugmentConfig(brightness=0, contrast=0), generator())
    assert (kept[:, 0, 4, 0] < kept[:, 0, 4, -1]).all()


def test_exposure_keeps_range_and_shape_of_the_histogram(images):
    config = NOTHING.model_copy(update={"brightness": 0.3, "contrast": 0.3})
    changed = augment(images, config, generator())
    assert changed.min() >= 0 and changed.max() <= 1 and not torch.equal(changed, images)
    gentle = augment(images * 0.2 + 0.4, NOTHING.model_copy(update={"brightness": 0.1}), generator())
    shift = gentle - (images * 0.2 + 0.4)  # nothing clipped: one offset per image
    torch.testing.assert_close(shift.amax((1, 2, 3)), shift.amin((1, 2, 3)), atol=1e-5, rtol=0)
    assert shift.abs().max() <= 0.1 + 1e-6


def test_random_values_come_from_the_generator_alone(images):
    config = AugmentConfig()
    first = augment(images, config, generator(3))
    torch.rand(7)
    assert torch.equal(first, augment(images, config, generator(3)))
    assert not torch.equal(first, augment(images, config, generator(4)))
    assert not torch.allclose(first[0] - images[0], first[1] - images[1])  # each image its own change


def test_the_grid_is_torchs():
    angle, scale = torch.tensor([0.1, -0.3]), torch.tensor([0.9, 1.2])
    matrices = affine_matrices(angle, scale, torch.tensor([0.1, 0.0]), torch.tensor([0.0, -0.2]), torch.tensor([1, -1]))
    expected = torch.nn.functional.affine_grid(matrices, [2, 1, 7, 7], align_corners=False)
    torch.testing.assert_close(_grid(matrices, 7), expected, rtol=1e-5, atol=1e-6)

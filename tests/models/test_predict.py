"""Probabilities: the softmax of the model, whatever the images come in."""

import numpy as np
import pytest
import torch
from training_fixture import tiny, toy

from xray_debug.models.predict import Subset, probabilities, probabilities_side_by_side
from xray_debug.models.threads import threads_of


def test_probabilities_are_the_softmax_of_the_model():
    model, images = tiny(), toy(19)[0]
    model.train()
    seen = []
    found = probabilities(model, images, progress=lambda *a: seen.append(a))
    assert model.training and found.dtype == np.float32 and seen == [(8, 19), (16, 19), (19, 19)]
    model.eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(images)[:, None] / 255).softmax(1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_rows_floats_and_tensors_are_images_too():
    model, images = tiny(), toy(7)[0]
    found = probabilities(model, images)
    rows = np.array([5, 1, 2])
    assert_same(probabilities(model, Subset(images, rows)), found[rows])
    floats = images[:, None].astype(np.float32) / 255
    np.testing.assert_allclose(probabilities(model, floats), found, rtol=1e-4, atol=1e-6)
    assert np.array_equal(probabilities(model, torch.from_numpy(floats)), probabilities(model, floats))
    assert probabilities(model, images[:0]).shape == (0, 2)


def assert_same(found, expected):
    """Bit for bit on most CPUs; where kernels treat rows of a batch differently (seen with AMX), to the last digit."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_side_by_side_gives_what_one_thread_gives(threads):
    model, images = tiny().eval(), toy(19)[0]
    with threads_of(1):
        expected = probabilities(model, images)
    with threads_of(threads):
        assert_same(probabilities_side_by_side(model, images), expected)
        assert probabilities_side_by_side(model, images[:0]).shape == (0, 2)
        assert torch.get_num_threads() == threads


def test_the_others_do_not_matter():
    model, images = tiny(), toy(19)[0]
    found, order = probabilities(model, images), np.random.default_rng(0).permutation(19)
    assert_same(probabilities(model, images[order]), found[order])
    for count in (1, 2, 5, 9):
        assert_same(probabilities(model, images[:count]), found[:count])


def test_the_mode_is_left_as_it_was_after_an_error():
    model = tiny().train()
    with pytest.raises(ValueError, match="expected shape"):
        probabilities(model, np.zeros((2, 3, 3, 3), np.float32))
    assert model.training

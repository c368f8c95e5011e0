"""Each measure against a formula by hand, and what it must not depend on."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from look_fixture import film
from scipy import ndimage, stats

from xray_debug.audit.look.measures import (
    CALM,
    MEASURES,
    black_margin,
    brightness,
    contrast,
    entropy,
    gamma,
    jpeg,
    measured,
    noise,
    resolution,
    sharpness,
)


def test_brightness_and_contrast_by_hand():
    image = np.zeros((8, 8), np.float32)
    image[:, :2] = 1
    assert brightness(image) == pytest.approx(0.25)
    assert contrast(image) == pytest.approx(2 * np.sqrt(0.25 * 0.75))
    image[:, :4] = 1
    assert contrast(image) == pytest.approx(1.0)


def test_entropy_is_that_of_scipy_over_64_greys():
    assert entropy(np.full((8, 8), 0.4, np.float32)) == 0
    assert entropy((np.arange(256, dtype=np.float32) / 256).reshape(16, 16)) == pytest.approx(1)
    image = np.random.default_rng(0).beta(2, 5, (40, 30)).astype(np.float32)
    shares = np.histogram(image, 64, (0, 1))[0] / image.size
    assert entropy(image) == pytest.approx(stats.entropy(shares) / np.log(64))


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_black_margin_is_what_lies_around_the_film(top, bottom, left, right):
    image = np.pad(np.full((12, 10), 0.5, np.float32), ((top, bottom), (left, right)))
    assert black_margin(image) == pytest.approx(1 - 120 / image.size)
    image[top + 3, left : left + 10] = 0  # a black line inside is no margin
    assert black_margin(image) == pytest.approx(1 - 120 / image.size)
    assert black_margin(np.zeros((4, 4), np.float32)) == 1


def test_gamma_is_where_the_median_lies():
    ramp = np.linspace(0, 1, 101, dtype=np.float32)[None].repeat(101, 0)
    assert gamma(ramp) == pytest.approx(0.5, abs=1e-5)
    low, middle, high = np.sort(ramp.ravel() ** 2)[[round(q * (ramp.size - 1)) for q in (0.02, 0.5, 0.98)]]
    assert gamma(ramp**2) == pytest.approx((middle - low) / (high - low), abs=1e-3)
    assert gamma(np.full((8, 8), 0.3, np.float32)) == 0.5


def test_noise_finds_the_deviation_of_white_noise_and_is_blind_to_edges():
    rng = np.random.default_rng(1)
    for deviation in (0.005, 0.02, 0.05):
        image = (0.5 + deviation * rng.standard_normal((200, 200))).astype(np.float32)
        assert noise(image) == pytest.approx(deviation, rel=0.03)
        image[:, 100:] += 0.3  # an edge is no noise
        assert noise(image) == pytest.approx(deviation, rel=0.05)
    plane = np.add.outer(np.linspace(0, 0.4, 50), np.linspace(0, 0.5, 50)).astype(np.float32)
    assert noise(plane) < 1e-5


def test_the_mean_of_the_calm_part_is_that_of_the_normal_distribution():
    z = stats.norm.ppf((1 + CALM) / 2)
    mean = stats.norm.expect(np.abs, lb=-z, ub=z) / CALM
    values = np.abs(np.random.default_rng(0).standard_normal(400_000))
    assert np.sort(values)[: int(CALM * len(values))].mean() == pytest.approx(mean, rel=0.01)
    from xray_debug.audit.look.measures import _CALM_MEAN

    assert pytest.approx(mean, rel=1e-9) == _CALM_MEAN


def test_sharpness_by_scipy():
    image = film()
    details = ndimage.gaussian_filter(image, 1, mode="mirror") - ndimage.gaussian_filter(image, 2, mode="mirror")
    assert sharpness(image) == pytest.approx(details.std() / image.std(), rel=0.02)
    assert sharpness(np.full((16, 16), 0.4, np.float32)) == 0


def jpeg_by_hand(image):
    grid, inside = 0.0, 0.0
    for pixels in (image, image.T):
        steps = [float(np.mean([abs(float(row[j + 1]) - float(row[j])) for row in pixels]))
                 for j in range(pixels.shape[1] - 1)]
        lines = [j for j in range(len(steps)) if j % 8 == 7 and j + 1 < len(steps)]
        grid += float(np.mean([steps[j] - (steps[j - 1] + steps[j + 1]) / 2 for j in lines]))
        inside += float(np.mean([step for j, step in enumerate(steps) if j % 8 != 7]))
    return max(grid, 0) / (max(grid, 0) + inside)


def test_jpeg_by_hand_and_for_even_blocks():
    image = film(side=40)
    coded = cv2.imencode(".jpg", np.round(image * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 8])[1]
    blocky = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
    assert jpeg(blocky) == pytest.approx(jpeg_by_hand(blocky), rel=1e-5) and jpeg(blocky) > 0.3
    assert jpeg(image) == pytest.approx(jpeg_by_hand(image), abs=1e-6) and jpeg(image) < 0.05
    blocks = np.random.default_rng(0).random((5, 5)).astype(np.float32).repeat(8, 0).repeat(8, 1)
    assert jpeg(blocks) == pytest.approx(1)
    assert jpeg(blocky[4:, 4:]) < jpeg(blocky) / 2  # the grid begins at the corner
    assert jpeg(np.full((40, 40), 0.5, np.float32)) == 0 and jpeg(image[:8, :8]) == 0


def test_resolution_is_the_cut_off_of_a_filtered_film():
    """White noise of which only frequencies up to a share of the highest are left, by a filter of our own."""
    rng, side = np.random.default_rng(0), 128
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) / 0.5
    for cut in (0.25, 0.5, 0.75):
        spectrum = np.fft.fft2(rng.standard_normal((side, side))) * (radius <= cut)
        image = np.fft.ifft2(spectrum).real.astype(np.float32)
        assert resolution(image) == pytest.approx(cut * 0.95**0.25, abs=0.03)  # weighted energy grows as radius^4
    assert resolution(np.full((32, 32), 0.2, np.float32)) == 0


def resolution_by_hand(image):
    """Energy of every frequency of the whole plane, sorted by radius into rings."""
    height, width = image.shape
    windowed = (image - image.mean()) * np.outer(np.hanning(height), np.hanning(width))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij"))
    energy, count = np.abs(np.fft.fft2(windowed)) ** 2 * radius**2, min(height, width) // 2
    rings = [energy[(radius * 2 * count >= i) & (radius * 2 * count < i + 1)].sum() for i in range(count)]
    shares = np.concatenate([[0], np.cumsum(rings) / np.sum(rings)])
    return np.interp(0.95, shares, np.arange(count + 1)) / count


@pytest.mark.parametrize("shape", [(64, 64), (48, 63), (33, 50)])
def test_resolution_by_hand(shape):
    image = film(3)[: shape[0], : shape[1]]
    assert resolution(image) == pytest.approx(resolution_by_hand(image), abs=2e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 1.4), st.floats(-0.1, 0.1))
def test_measures_lie_in_0_to_1_and_are_kept_apart(seed, stretch, shift):
    image = film(seed, 48)
    other = (0.5 + shift + stretch * 0.5 * (image - 0.5)).astype(np.float32)  # clips nothing
    image = (0.5 + 0.5 * (image - 0.5)).astype(np.float32)
    for value in (*measured(image).values(), *measured(other).values()):
        assert 0 <= value <= 1
    for name in ("gamma", "sharpness", "jpeg", "resolution"):
        assert MEASURES[name](other) == pytest.approx(MEASURES[name](image), abs=2e-3), name
    assert noise(other) == pytest.approx(stretch * noise(image), rel=0.01)
    assert list(measured(image)) == list(MEASURES)

"""The overlay: what is shown where, that its colours can be told apart, and that nothing else draws heat."""

from pathlib import Path

import numpy as np
import pytest

import xray_debug
from xray_debug.data.overlay import DARKEST, gray_bytes, heat_colours, heat_overlay, map_facts, resized_map

IMAGE = np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))


def test_gray_bytes_takes_floats_and_bytes():
    assert np.array_equal(gray_bytes(IMAGE), IMAGE)
    assert np.array_equal(gray_bytes(IMAGE / 255), IMAGE)
    assert gray_bytes(np.array([[-1.0, 0.5, 2.0]])).tolist() == [[0, 128, 255]]
    assert gray_bytes(IMAGE[None]).shape == (30, 40)
    with pytest.raises(ValueError, match=r"got shape \(2, 3, 4\)"):
        gray_bytes(np.zeros((2, 3, 4)))


def test_an_overlay_without_saliency_is_the_image():
    overlay = heat_overlay(IMAGE, np.zeros((4, 4)))
    assert np.array_equal(overlay, np.repeat(IMAGE[..., None], 3, axis=2))
    hot = heat_overlay(IMAGE, np.ones((4, 4)), opacity=1.0)
    assert (hot == hot[0, 0]).all() and hot[0, 0, 0] > 200  # the end of the colour scale everywhere


def test_a_map_is_resized_where_it_belongs():
    saliency = np.zeros((4, 4), np.float32)
    saliency[0, 3] = 1
    fine = resized_map(saliency, 40, 80)
    assert fine.shape == (40, 80) and np.unravel_index(fine.argmax(), fine.shape)[0] < 10
    assert fine[:, :50].max() == 0 and np.array_equal(resized_map(saliency[None], 40, 80), fine)
    with pytest.raises(ValueError, match="expected a map"):
        resized_map(np.zeros((2, 3, 4)), 8, 8)


def test_an_overlay_is_scaled_to_its_peak_and_the_peak_is_said():
    saliency = np.zeros((4, 4))
    saliency[1, 1] = 0.2
    assert np.array_equal(heat_overlay(IMAGE, saliency), heat_overlay(IMAGE, 5 * saliency))
    assert map_facts(saliency) == "peak 0.20, 6 % above half of it"


# colour vision without the long, the middle and the short cones: Machado et al. 2009, severity 1, on linear RGB
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07218], [0.01933, 0.11919, 0.95030]])


def lab(linear):
    """CIE L* a* b* of linear RGB (n, 3), D65."""
    xyz = np.clip(linear, 0, 1) @ XYZ.T / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def seen(vision):
    """The scale's colours as one with this vision sees them, (256, 3)."""
    scale = heat_colours(np.linspace(0, 1, 256)[None])[0] / 255
    linear = np.where(scale <= 0.04045, scale / 12.92, ((scale + 0.055) / 1.055) ** 2.4)
    return lab(linear @ np.array(VISION[vision]).T)


@pytest.mark.parametrize("vision", VISION)
def test_lightness_rises_for_every_kind_of_colour_vision_and_in_print(vision):
    lightness = seen(vision)[:, 0]
    coarse = lightness[::8]  # rounded to bytes, single steps may stand still
    assert (np.diff(coarse) > 0).all() and lightness[-1] - lightness[0] > 90


COLOURED = [("normal", 40, DARKEST), ("deutan", 15, 0.5), ("tritan", 5, 0.5)]  # chroma, from where on the scale


@pytest.mark.parametrize(("vision", "least", "start"), COLOURED)
def test_on_a_grey_film_what_is_salient_stays_coloured(vision, least, start):
    chroma = np.hypot(*seen(vision)[round(255 * start) :, 1:].T)
    assert chroma.min() > least


def test_nothing_else_draws_heat():
    folder = Path(xray_debug.__file__).parent
    found = [file.name for file in folder.rglob("*.py")
             if any(word in file.read_text(encoding="utf-8") for word in ("applyColorMap", "colormaps[", "inferno"))]
    assert found == ["overlay.py"]

"""Score maps to boxes against craft-text-detector's own decoding; the small network, its input and its weight file."""

import numpy as np
import pytest
import torch

from xray_debug.text.craft import (
    WINDOW,
    CraftLite,
    Thresholds,
    decode,
    find_words,
    fold,
    lite_facts,
    load_lite,
    prepare,
    save_lite,
)
from xray_debug.text.detectors import craft as official
from xray_debug.text.detectors.base import MapDetector
from xray_debug.text.training.targets import Character, draw_targets

SMALL = (4, 4, 6, 6, 8)


def package_decoding():
    pytest.importorskip("craft_text_detector.craft_utils", reason="craft-text-detector is not installed")
    return official._package("craft_utils").getDetBoxes_core


def random_maps(seed, shape=(96, 120)):
    """Words of random characters, some touching the edges, over noise: region and affinity float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    characters = []
    for word in range(rng.integers(1, 9)):
        centre, angle, size = rng.uniform(0, 1, 2) * shape[::-1] * 2, rng.uniform(0, 2 * np.pi), rng.uniform(3, 22)
        right, down = size * np.array([np.cos(angle), np.sin(angle)]), size * np.array([-np.sin(angle), np.cos(angle)])
        for i in range(rng.integers(1, 6)):
            characters.append(Character(centre + 2.1 * i * right, right * 0.9, down, word))
    maps = draw_targets(characters, 2 * shape[0], 2 * shape[1])
    return np.clip(maps * rng.uniform(0.6, 1, maps.shape) + rng.uniform(0, 0.12, maps.shape), 0, 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
def test_decoding_equals_the_packages(seed):
    region, affinity = random_maps(seed)
    expected, _, _ = package_decoding()(region, affinity, 0.7, 0.4, 0.4)
    found = decode(region, affinity, Thresholds(0.7, 0.4, 0.4))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_decoding_equals_the_packages_at_other_settings():
    counts = []
    for seed in range(4):
        region, affinity = random_maps(100 + seed)
        expected, _, _ = package_decoding()(region, affinity, 0.5, 0.3, 0.2)
        found = decode(region, affinity, Thresholds(0.5, 0.3, 0.2))
        counts.append(len(expected))
        np.testing.assert_allclose(np.array(found), np.array(expected), atol=1e-4)
    assert sum(counts) > 4


def test_one_character_is_found_where_it_is():
    character = Character(np.array([60.0, 80.0]), np.array([12.0, 0]), np.array([0, 20.0]))
    maps = draw_targets([character], 160, 128)
    (word,) = find_words(*maps)
    x0, y0, x1, y1 = 2 * word.rectangle
    assert x0 <= 48 and y0 <= 60 and x1 >= 72 and y1 >= 100  # covers the character
    assert (x1 - x0) * (y1 - y0) < 2.5 * 24 * 40  # and not much more
    assert word.score > 0.95


def test_affinity_makes_one_word_of_characters_and_its_absence_leaves_them_apart():
    row = [Character(np.array([30.0 + 22 * i, 40.0]), np.array([9.0, 0]), np.array([0, 12.0]), 0) for i in range(4)]
    region, affinity = draw_targets(row, 80, 160)
    assert len(find_words(region, affinity)) == 1
    assert len(find_words(region, np.zeros_like(affinity))) == 4


@pytest.mark.parametrize("text, words", [(0.7, 1), (0.95, 0)])
def test_a_word_needs_its_peak(text, words):
    maps = 0.9 * draw_targets([Character(np.array([30.0, 30.0]), np.array([9.0, 0]), np.array([0, 9.0]))], 64, 64)
    assert len(find_words(*maps, Thresholds(text=text))) == words


def test_the_thresholds_are_those_of_the_paper():
    """0.7 for a word's peak, 0.4 for where characters and links end, unless asked for otherwise."""
    ends = np.zeros((8, 32), np.float32)
    ends[2:6, 2:8], ends[2:6, 20:26] = 0.42, 0.38
    for peak, words in ((0.68, 0), (0.72, 1)):
        region = ends.copy()
        region[3, 4] = region[3, 22] = peak
        assert len(find_words(region, np.zeros_like(region))) == words
    region[3, 22] = 0.72
    assert len(find_words(region, np.zeros_like(region))) == 1  # the other has one pixel above 0.4
    for link, words in ((0.38, 2), (0.42, 1)):
        region = np.zeros((8, 32), np.float32)
        region[2:6, 2:8] = region[2:6, 20:26] = 0.8
        affinity = np.zeros_like(region)
        affinity[3, 6:22] = link
        assert len(find_words(region, affinity)) == words
    assert MapDetector().thresholds == Thresholds()


def test_small_components_are_dropped():
    region = np.zeros((32, 32), np.float32)
    region[4:7, 4:7] = 1  # 9 pixels
    region[20:22, 20:25] = 1  # 10 pixels
    assert len(find_words(region, np.zeros_like(region))) == 1
    assert len(find_words(region, np.zeros_like(region), Thresholds(min_area=9))) == 2


def test_maps_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        find_words(np.zeros((4, 4), np.float32), np.zeros((4, 5), np.float32))


@pytest.mark.parametrize("name", ["text", "link", "low"])
def test_thresholds_are_checked(name):
    with pytest.raises(ValueError, match=f"threshold {name} must be in"):
        Thresholds(**{name: 1.2})


def test_prepare_against_a_slow_neighbourhood():
    gray = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    values, half = prepare(gray), WINDOW // 2
    around = np.pad(gray / 255, half, mode="edge")
    for y, x in ((0, 0), (20, 20), (39, 49)):
        window = around[y:y + WINDOW, x:x + WINDOW]
        expected = np.clip((gray[y, x] / 255 - window.mean()) / (window.std() + 0.02), -3, 3)
        assert values[1, y, x] == pytest.approx(expected, abs=1e-3)
    np.testing.assert_allclose(values[0], 2 * (gray / 255) - 1, atol=1e-6)


def test_faint_and_full_contrast_look_alike_to_the_second_channel():
    gray = np.zeros((64, 64), np.uint8)
    gray[28:36, 20:44] = 1
    faint, full = prepare(gray * 12)[1], prepare(gray * 240)[1]
    assert faint[32, 32] > 0.4 * full[32, 32] > 0


def test_network_halves_the_resolution_and_is_small():
    net = CraftLite()
    assert sum(p.numel() for p in net.parameters()) <= 3_000_000
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 2, 64, 96)).shape == (1, 2, 32, 48)


def test_folding_keeps_the_output():
    torch.manual_seed(0)
    net = CraftLite(SMALL)
    with torch.no_grad():
        net(torch.randn(2, 2, 64, 64))  # moves the running statistics away from their start
        net.eval()
        x = torch.randn(1, 2, 64, 64)
        before = net(x)
        after = fold(net)(x)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_weights_survive_the_file(tmp_path):
    torch.manual_seed(1)
    net = CraftLite(SMALL).eval()
    save_lite(net, tmp_path / "w.safetensors", step=7)
    assert lite_facts(tmp_path / "w.safetensors")["step"] == 7
    x = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(load_lite(tmp_path / "w.safetensors")(x), net(x), atol=2e-2, rtol=2e-2)


def test_files_that_are_no_weights_are_named(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match="w.safetensors"):
        load_lite(tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="no such weight file"):
        load_lite(tmp_path / "missing.safetensors")


def test_five_stages_are_needed():
    with pytest.raises(ValueError, match="five stages"):
        CraftLite((4, 4, 4))

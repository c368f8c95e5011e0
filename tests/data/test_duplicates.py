"""Pictures that are the same: hashes, candidates, and what is done with altered copies of drawn films."""

import cv2
import numpy as np
import pytest
from covidx_fixture import picture
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.data import duplicates
from xray_debug.data.duplicates import near_pairs
from xray_debug.data.hashes import hamming, near_duplicates, perceptual_hash
from xray_debug.data.likeness import SHAPE, outline, reduced, trimmed


def _slow(hashes, bits):
    return [next((j for j in range(i) if bin(int(hashes[i]) ^ int(hashes[j])).count("1") <= bits), -1)
            for i in range(len(hashes))]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40).map(lambda x: x << 30), max_size=30),
       st.sampled_from([0, 1, 4, 10, 32]))
def test_lookup_agrees_with_all_pairs(hashes, bits):
    hashes = np.array(hashes, np.uint64)
    assert near_duplicates(hashes, bits).tolist() == _slow(hashes, bits)


def test_lookup_across_blocks_of_rows():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**20, 2600, dtype=np.uint64) << np.uint64(40)  # all agree in most groups
    assert near_duplicates(hashes, 2).tolist() == _slow(hashes, 2)


def test_lookup_refuses_impossible_distances():
    with pytest.raises(ValueError, match="bits: expected 0 to 63"):
        near_duplicates(np.zeros(2, np.uint64), 64)


def test_hamming_counts_bits():
    assert hamming(np.uint64(0), np.uint64(2**64 - 1)) == 64
    np.testing.assert_array_equal(hamming(np.array([0b1011, 7], np.uint64), np.uint64(0b0010)), [2, 2])


def test_hash_is_the_sign_of_low_cosine_frequencies():
    image = picture(3)
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(float)
    k, n = np.arange(8)[:, None], np.arange(32)[None]
    basis = np.cos(np.pi * k * (2 * n + 1) / 64) * np.where(k == 0, np.sqrt(1 / 32), np.sqrt(2 / 32))
    low = (basis @ small @ basis.T).ravel()
    bits = "".join("1" if value > np.median(low[1:]) else "0" for value in low)
    assert f"{perceptual_hash(image):064b}" == bits


def test_hash_survives_recompression_scaling_and_brightness_but_not_another_picture():
    image = picture(7, (200, 220))
    first = perceptual_hash(image)
    coded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)
    for other in (coded, cv2.resize(image, (110, 100), interpolation=cv2.INTER_AREA), image // 2 + 30):
        assert hamming(first, perceptual_hash(other)) <= 4
    assert hamming(first, perceptual_hash(picture(8, (200, 220)))) > 10
    assert hamming(first, perceptual_hash(image.astype(np.uint16) * 257)) <= 8


def _film(seed):
    """A drawn film, uint8 (300, 260): bright bones on fine grain, other ones for each seed."""
    rng = np.random.default_rng(seed)
    image = np.full((300, 260), 70, np.float32)
    for _ in range(40):
        start, end = rng.integers(0, 260, 2), rng.integers(0, 260, 2)
        cv2.line(image, start.tolist(), end.tolist(), float(rng.uniform(40, 220)), int(rng.integers(2, 9)))
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1.5) + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


CHANGES = {
    "crop 2 %": lambda f: f[6:-6, 5:-5], "crop 5 %": lambda f: f[15:-15, 13:-13], "off-centre": lambda f: f[24:, 20:],
    "black border": lambda f: cv2.copyMakeBorder(f, 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=0),
    "white border": lambda f: cv2.copyMakeBorder(f, 40, 10, 0, 30, cv2.BORDER_CONSTANT, value=255),
    "mirror": lambda f: f[:, ::-1], "inversion": lambda f: 255 - f,
    "mirror, inversion": lambda f: 255 - f[:, ::-1], "half": lambda f: cv2.resize(f, (130, 150)),
    "CLAHE": lambda f: cv2.createCLAHE(2, (8, 8)).apply(f),
    "gamma": lambda f: (255 * (f / 255) ** 1.6).astype(np.uint8),
    "letter": lambda f: cv2.putText(f.copy(), "R", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 255, 3),
}


@pytest.fixture(scope="module")
def drawn():
    return [_film(seed) for seed in range(12)]


@pytest.mark.parametrize("name", CHANGES)
def test_an_altered_copy_is_found_and_no_other_film_is(drawn, name):
    films = [*drawn, np.ascontiguousarray(CHANGES[name](drawn[4]))]
    pairs = near_pairs(np.stack([outline(reduced(film)) for film in films]), 0.8)
    assert [pair[:3] for pair in pairs] == [(4, 12, "mirror" in name)]
    assert 0.8 <= pairs[0][3] <= 1


def test_no_pictures_and_pictures_without_corners_are_no_pairs():
    assert near_pairs(np.zeros((0, *SHAPE), np.uint8), 0.8) == []
    assert near_pairs(np.zeros((3, *SHAPE), np.uint8), 0.8) == []
    flat = np.stack([outline(np.full((60, 50), 9, np.uint8))] * 2)
    assert near_pairs(flat, 0.8, np.zeros(2, np.uint64)) == []


def test_candidates_do_not_depend_on_the_block(drawn, monkeypatch):
    outlines = np.stack([outline(reduced(film)) for film in [*drawn, drawn[1][9:, 9:]]])
    wanted = near_pairs(outlines, 0.8)
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    monkeypatch.setattr(duplicates, "_READ", 2)
    assert near_pairs(outlines, 0.8) == wanted != []


def test_a_border_of_one_grey_is_cut_away_and_a_film_of_one_grey_is_not():
    film = np.random.default_rng(3).integers(0, 256, (300, 260)).astype(np.uint8)
    framed = cv2.copyMakeBorder(film, 7, 11, 30, 2, cv2.BORDER_CONSTANT, value=250)
    np.testing.assert_array_equal(trimmed(framed), film)
    assert trimmed(np.full((50, 60), 3, np.uint8)).shape == (50, 60)


def test_reduced_takes_means_of_whole_squares():
    image = np.random.default_rng(1).integers(0, 256, (801, 768)).astype(np.uint8)
    small = reduced(image)
    assert small.shape == (200, 192)
    np.testing.assert_allclose(small, image[:800].reshape(200, 4, 192, 4).mean(axis=(1, 3)), atol=0.51)
    assert reduced(image[:200, :200]).shape == (200, 200)

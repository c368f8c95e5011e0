"""Perceptual hashes and the lookup of near ones."""

import cv2
import numpy as np
import pytest
from covidx_fixture import picture
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.data.hashes import hamming, near_duplicates, perceptual_hash


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

"""Images that are the same or nearly so: perceptual hashes and a lookup that never builds all pairs."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd

from xray_debug.data.view import GreyWindow, to_gray8

HASH_BITS = 64
_ONES = np.array([bin(value).count("1") for value in range(1 << 16)], np.uint8)
_BLOCK = 1024


def perceptual_hash(image: np.ndarray, window: GreyWindow | None = None) -> int:
    """64-bit pHash of a uint8 or uint16 image: signs of its 8 x 8 lowest cosine frequencies against their median."""
    small = cv2.resize(to_gray8(image, window), (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8].ravel()
    bits = low > np.median(low[1:])  # without the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(first, second) -> np.ndarray:
    """Number of differing bits of uint64 arrays (broadcast), uint8."""
    differ = np.ascontiguousarray(np.bitwise_xor(np.asarray(first, np.uint64), np.asarray(second, np.uint64)))
    return _ONES[differ[..., None].view(np.uint16)].sum(axis=-1, dtype=np.uint8)


def near_duplicates(hashes: np.ndarray, bits: int) -> np.ndarray:
    """(N,) int64: the earliest other hash at most `bits` away from hash i and before it; -1 where there is none.

    `bits + 1` disjoint groups of bits cannot all differ between hashes `bits` apart, so only hashes that agree in a
    whole group are compared; memory stays below _BLOCK rows times the largest group.
    """
    hashes = np.asarray(hashes, np.uint64)
    if not 0 <= bits < HASH_BITS:
        raise ValueError(f"bits: expected 0 to {HASH_BITS - 1}, got {bits}")
    earliest = np.arange(len(hashes))
    for group in np.array_split(np.arange(HASH_BITS), bits + 1):
        key = hashes & np.uint64(sum(1 << int(bit) for bit in group))
        order = np.argsort(key, kind="stable")
        edges = np.flatnonzero(np.diff(key[order])) + 1
        for members in np.split(order, edges):
            if len(members) > 1:
                _compare(hashes, members, bits, earliest)
    return np.where(earliest < np.arange(len(hashes)), earliest, -1)


def _compare(hashes: np.ndarray, members: np.ndarray, bits: int, earliest: np.ndarray) -> None:
    """Lowers `earliest` for rows `members` (ascending) that have a near one before them among `members`."""
    for start in range(0, len(members), _BLOCK):
        rows = members[start:start + _BLOCK]
        before = members[:start + _BLOCK]  # later ones cannot be the earliest
        near = hamming(hashes[rows][:, None], hashes[before][None]) <= bits
        earliest[rows] = np.minimum(earliest[rows], before[near.argmax(axis=1)])  # a row is near itself


def mark_duplicates(frame: pd.DataFrame, bits: int) -> None:
    """Sets two columns of a manifest, "" for rows with a problem and for the first of its kind.

    duplicate_of: the first image_id with the same bytes; near_duplicate_of: the first with nearly the same picture
    (`bits` of the perceptual hash apart), of images that are no duplicates.
    """
    frame["duplicate_of"] = frame["near_duplicate_of"] = pd.Series("", frame.index, dtype=object)
    good = frame.index[frame["problem"] == ""]
    first = frame.loc[good].groupby("sha256")["image_id"].transform("first")
    frame.loc[good, "duplicate_of"] = first.where(first != frame.loc[good, "image_id"], "")
    alone = good[frame.loc[good, "duplicate_of"] == ""]
    near = near_duplicates(np.array([int(text, 16) for text in frame.loc[alone, "phash"]], np.uint64), bits)
    names = frame.loc[alone, "image_id"].to_numpy()
    frame.loc[alone[near >= 0], "near_duplicate_of"] = names[near[near >= 0]]

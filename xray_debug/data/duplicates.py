"""Images that are the same or nearly so: also cropped, framed, mirrored, inverted or with other contrast.

Candidates are images that share corners (likeness.py). They are found without all pairs: the corners of all images are
sorted by a random choice of their bits, several times, and only neighbours in these orders are compared. Pictures with
few corners are found by a hash of the whole (hashes.py). A candidate counts as the same picture where the outlines of
both agree after one is laid on the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pandas as pd

from xray_debug.data.hashes import near_duplicates
from xray_debug.data.likeness import BYTES, CORNERS, NONE, Seen, agreement, corners
from xray_debug.stats.seeds import rng_of

ORDERS = 16  # random orders of all corners
AHEAD = 8  # neighbours in each that a corner is compared with
FIT = 56  # bits of 256 that corners of candidates differ in at most
VOTES = 2  # pairs of corners that make a pair of images a candidate
MOST = 24  # candidates of an image that are looked at, those with most votes
BEST = 12  # pairs of corners kept for each corner of a later image, those that differ least
OWN, OTHER = 32, 26  # where, in the code of a pair, the later image's corner and the bits that differ begin
HASH = 4  # bits in which perceptual hashes of candidates differ at most
_BLOCK = 1 << 18
_READ = 1024
_PAIRS = 4096  # candidates handed out at a time
Progress = Callable[[int, int], None]


def candidates(descriptors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(n, 3) int64 rows (earlier image, later image, mirrored) that may be the same picture, most likely first.

    Args:
        descriptors: (N, 2, CORNERS, BYTES) uint8; known: (N, 2, CORNERS) bool, where there is one. Axis 1: mirrored.

    Memory: about 200 bytes for each corner and processor, however many corners are alike.
    """
    entries = np.flatnonzero(known)
    if not len(entries):
        return np.zeros((0, 3), np.int64)
    words = descriptors.reshape(-1, BYTES)[entries].view(np.uint64)

    def turned(turn: int) -> np.ndarray:
        order = np.argsort(_keys(words, turn), kind="stable")
        pairs = [_near(words, entries, order, ahead) for ahead in range(1, AHEAD + 1)]
        return _closest(np.concatenate(pairs))

    found = np.zeros(0, np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for pairs in pool.map(turned, range(ORDERS)):
            found = _closest(np.concatenate([found, pairs]))
    later, other = (found >> OWN) // CORNERS, (found & ((1 << OTHER) - 1)) // CORNERS  # of the earlier: image, mirrored
    images, votes = np.unique(other * len(descriptors) + later, return_counts=True)
    images, votes = images[votes >= VOTES], votes[votes >= VOTES]
    other, later = images // len(descriptors), images % len(descriptors)
    rows = np.stack([other // 2, later, other % 2], axis=1)
    rows = rows[np.argsort(-votes, kind="stable")]
    rank = pd.Series(rows[:, 1]).groupby(rows[:, 1]).cumcount().to_numpy()
    return rows[rank < MOST]


def _closest(codes: np.ndarray) -> np.ndarray:
    """Of each corner of a later image the BEST pairs that differ least, each once; equal ones by the earlier image."""
    codes = np.sort(codes)
    new = np.ones(len(codes), bool)
    new[1:] = codes[1:] != codes[:-1]
    codes = codes[new]
    corner, number = codes >> OWN, np.arange(len(codes))
    first = np.ones(len(codes), bool)
    first[1:] = corner[1:] != corner[:-1]
    return codes[number - np.maximum.accumulate(np.where(first, number, 0)) < BEST]


def _keys(words: np.ndarray, turn: int) -> np.ndarray:
    """uint64 of each corner: 64 of its bits, whole bytes rotated by chance, drawn for this turn."""
    rng = rng_of("order of corners", turn)
    shifts = rng.integers(0, 64, words.shape[1], dtype=np.uint64)
    masks = [sum(1 << int(bit) for bit in part) for part in np.array_split(rng.permutation(64), words.shape[1])]
    keys = np.zeros(len(words), np.uint64)
    for column, (shift, mask) in enumerate(zip(shifts, masks, strict=True)):
        word = words[:, column]
        keys |= ((word << shift) | (word >> (np.uint64(64) - shift) % np.uint64(64))) & np.uint64(mask)
    return keys


def _near(words: np.ndarray, entries: np.ndarray, order: np.ndarray, ahead: int) -> np.ndarray:
    """Codes of pairs of corners `ahead` apart in `order` that differ in at most FIT bits, of different images.

    A code sorts by the corner of the later image, then by the bits that differ, then by the corner of the earlier:
    (later image * CORNERS + corner) << OWN | bits << OTHER | (earlier image * 2 + mirrored) * CORNERS + corner.
    """
    kept = []
    for start in range(0, len(order) - ahead, _BLOCK):
        one = order[start : min(start + _BLOCK, len(order) - ahead)]
        two = order[start + ahead : start + ahead + len(one)]
        bits = np.bitwise_count(words[one] ^ words[two]).sum(axis=1, dtype=np.int64)
        near = bits <= FIT
        bits = np.tile(bits[near], 2)
        first, second = (entries[np.concatenate(pair)] for pair in ((one[near], two[near]), (two[near], one[near])))
        image, other = first // (2 * CORNERS), second // (2 * CORNERS)
        use = (image < other) & (second // CORNERS % 2 == 0)  # the later one is never the mirrored one
        own = other * CORNERS + second % CORNERS
        kept.append((own << OWN | bits << OTHER | first)[use])
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def near_pairs(
    outlines, least: float, hashes: np.ndarray | None = None, progress: Progress | None = None
) -> list[tuple[int, int, bool, float]]:
    """(earlier, later, mirrored, agreement) of all pairs found that agree by at least `least`.

    `outlines`: uint8 (N, *likeness.SHAPE), an array or Views, of which few are in memory at a time.
    `hashes`: (N,) uint64, for pictures that have too few corners. `progress`: called with (pairs looked at, of all).
    """
    found, places = _all_corners(outlines)
    rows = candidates(found, places[..., 0] != NONE)
    alike, pairs = set(), []
    if hashes is not None:
        alike = {(int(j), i, 0) for i, j in enumerate(near_duplicates(hashes, HASH)) if j >= 0}

    def agreed(row: tuple[int, int, int]) -> float:
        earlier, later, mirror = row
        picture = outlines[earlier][:, ::-1] if mirror else outlines[earlier]
        one = Seen(picture, found[earlier, mirror], places[earlier, mirror])
        two = Seen(outlines[later], found[later, 0], places[later, 0])
        return agreement(one, two, least, row in alike)

    rows = sorted({*map(tuple, rows.tolist()), *alike})
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # a pair is too small to be shared out; pairs stand side by side instead
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(rows), _PAIRS):
                part = rows[start : start + _PAIRS]
                values = zip(part, pool.map(agreed, part), strict=True)
                pairs += [(row[0], row[1], bool(row[2]), value) for row, value in values if value >= least]
                if progress:
                    progress(start + len(part), len(rows))
    finally:
        cv2.setNumThreads(threads)
    return pairs


def _all_corners(outlines) -> tuple[np.ndarray, np.ndarray]:
    """(descriptors (N, 2, CORNERS, BYTES), places (N, 2, CORNERS, 2)) of outlines; axis 1: as it is, mirrored."""
    count = len(outlines)
    found, places = np.zeros((count, 2, CORNERS, BYTES), np.uint8), np.zeros((count, 2, CORNERS, 2), np.uint8)
    for start in range(0, count, _READ):
        for i, picture in enumerate(outlines[start : start + _READ], start):
            for mirror, seen in enumerate((picture, np.ascontiguousarray(picture[:, ::-1]))):
                found[i, mirror], places[i, mirror] = corners(seen)
    return found, places


def mark_duplicates(frame: pd.DataFrame, outlines=None, least: float = 0.8, progress: Progress | None = None) -> None:
    """Sets two columns of a manifest, "" for rows with a problem and for the first of its kind.

    duplicate_of: the first image_id with the same bytes; near_duplicate_of: the first that is the same picture by
    near_pairs, of images that are no duplicates; "" throughout without `outlines`.
    `outlines`: uint8 (N, *likeness.SHAPE) Views, one for each row of `frame`.
    """
    frame["duplicate_of"] = frame["near_duplicate_of"] = pd.Series("", frame.index, dtype=object)
    good = frame.index[frame["problem"] == ""]
    first = frame.loc[good].groupby("sha256")["image_id"].transform("first")
    frame.loc[good, "duplicate_of"] = first.where(first != frame.loc[good, "image_id"], "")
    if outlines is None:
        return
    alone = good[frame.loc[good, "duplicate_of"] == ""]
    names = frame["image_id"].to_numpy()
    hashes = np.array([int(text or "0", 16) for text in frame.loc[alone, "phash"]], np.uint64)
    for earlier, later, _, _ in near_pairs(outlines.rows(alone.to_numpy()), least, hashes, progress):
        if not frame.at[alone[later], "near_duplicate_of"]:
            frame.at[alone[later], "near_duplicate_of"] = names[alone[earlier]]

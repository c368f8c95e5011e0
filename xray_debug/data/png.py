"""Whether a PNG holds all the rows that its header promises. Decoders leave those that are missing black."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # Adam7
_AT_ONCE = 1 << 20


def is_interlaced(content: bytes) -> bool:
    return content[28] == 1


def rows_are_missing(content: bytes) -> bool:
    """Inflates the pixels and counts; for a PNG that a decoder has taken."""
    inflater, found = zlib.decompressobj(), 0
    for data in _pixels(content):
        while data:
            found += len(inflater.decompress(data, _AT_ONCE))
            data = inflater.unconsumed_tail
    return found + len(inflater.flush()) < _promised(content)


def _pixels(content: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(content):
        size, kind = int.from_bytes(content[at:at + 4], "big"), content[at + 4:at + 8]
        if kind == b"IDAT":
            yield content[at + 8:at + 8 + size]
        at += size + 12


def _promised(content: bytes) -> int:
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    bits = content[24] * _CHANNELS[content[25]]
    total = 0
    for x, y, across, down in _PASSES if is_interlaced(content) else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // across), -(-(height - y) // down)
        if columns > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total

"""Text from files and names as a person may see it: nothing in it moves a cursor, colours, or turns the line round."""

from __future__ import annotations

import unicodedata


def shown(text: object, keep: str = "") -> str:
    r"""`text` with control, format and lone surrogate characters as \x1b, \u202e ...; those in `keep` stay.

    Terminals obey ESC and C1 controls, and bidirectional marks reorder a line, so that a file's name could pass for
    another or for a message.
    """
    return "".join(sign if sign in keep or _plain(sign) else _escaped(sign) for sign in str(text))


def _plain(sign: str) -> bool:
    return sign.isprintable() or unicodedata.category(sign) == "Zs"


def _escaped(sign: str) -> str:
    number = ord(sign)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"

"""Files that are read again after prepare: their bytes must be those that prepare saw."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from xray_debug.data.files import copy_file, file_sha256
from xray_debug.data.images import Film, ImageError, file_content, read_film


def changed_error(path: str | Path) -> ImageError:
    return ImageError(f"{path}: changed since stage prepare; run prepare again")


def known_content(path: str | Path, digest: str = "") -> bytes:
    """All bytes of an image file; ImageError where their sha256 is not `digest` ("": not known, any will do)."""
    content = file_content(path)
    if digest and sha256(content).hexdigest() != digest:
        raise changed_error(path)
    return content


def read_known(path: str | Path, digest: str = "") -> Film:
    """The film in `path`, decoded from bytes of the sha256 `digest`; ImageError as known_content and read_film."""
    return read_film(path, known_content(path, digest))


def copy_known(source: str | Path, target: str | Path, digest: str = "") -> None:
    """As copy_file; ImageError, and no file, where the copy's sha256 is not `digest` ("": not known)."""
    copy_file(source, target)
    if digest and file_sha256(target) != digest:
        Path(target).unlink()
        raise changed_error(source)

"""Files that belong to a model's file: an ONNX file may keep its weights in others beside it."""

from __future__ import annotations

import hashlib
import mmap
import re
from pathlib import Path

from xray_debug.data.files import file_sha256

# onnx.proto: TensorProto.external_data holds pairs of key (field 1) and value (field 2); "location" is a file's path
LOCATION = re.compile(rb"\x0a\x08location\x12([\x80-\xff]?[\x01-\x7f])")


def files_of_model(file: str | Path) -> list[Path]:
    """The file, and those of external data that it names and that are there; all others but .onnx are alone."""
    file = Path(file)
    if file.suffix.lower() != ".onnx" or not file.is_file() or not file.stat().st_size:
        return [file]
    found = set()
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in LOCATION.finditer(content):
            low, *high = match[1]
            length = (low & 0x7F) | (high[0] << 7 if high else 0)
            found.add(content[match.end() : match.end() + length])
    places = {file.parent / name.decode(errors="replace") for name in found if b"\0" not in name}
    return [file, *sorted(place for place in places if place.is_file())]


def model_sha256(file: str | Path) -> str:
    """sha256 (64 hex digits) of the file's bytes; where it has external data, of the sha256 of each of its files."""
    files = files_of_model(file)
    if len(files) == 1:
        return file_sha256(files[0])
    return hashlib.sha256("\n".join(file_sha256(part) for part in files).encode()).hexdigest()

"""Which kind of file a model lies in, told by what the file holds and not by its name."""

from __future__ import annotations

import zipfile
from pathlib import Path

STATE, SAFETENSORS, SCRIPT, EXPORT, ONNX = "state dict", "safetensors", "TorchScript", "torch.export", "ONNX"
CODE = (SCRIPT, EXPORT)  # kinds that torch runs as programs: read where the user names them, never for a stranger


def kind_of(path: str | Path) -> str:
    """STATE, SAFETENSORS, SCRIPT, EXPORT or ONNX; ValueError for a file that is not there."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such model file" + (" (it is a folder)" if path.is_dir() else ""))
    if path.suffix.lower() == ".onnx":
        return ONNX
    with path.open("rb") as file:
        start = file.read(9)
    if path.suffix.lower() == ".safetensors" or (len(start) == 9 and start[8:] == b"{" and start[5:8] == b"\0\0\0"):
        return SAFETENSORS
    if start[:4] != b"PK\x03\x04":
        return STATE  # torch's old format, or nothing that can be read, which reading it says
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()} | set(archive.namelist())
    except zipfile.BadZipFile:
        return STATE
    if any(name.startswith("code/") or name == "constants.pkl" for name in names) and "data.pkl" in names:
        return SCRIPT
    if "archive_format" in names or any("serialized_exported_program" in name for name in names):
        return EXPORT
    return STATE

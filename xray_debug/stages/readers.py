"""Detectors as stages use them: what they find of further packages (told without importing any), their options."""

from __future__ import annotations

import importlib.util
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from xray_debug.data.files import write_json
from xray_debug.run.fingerprint import file_digest

# detector -> (packages that must be there, patterns of files of theirs that it reads)
PACKAGES = {
    "ppocr": (("onnxruntime", "rapidocr"), ("models/*det*.onnx", "default_models.yaml")),
    "craft": (("craft_text_detector",), ()),
}


def packages_of(name: str) -> str:
    """"" for a detector that needs none; else which are missing, or the versions and files that there are."""
    packages, patterns = PACKAGES.get(name, ((), ()))
    found = {package: importlib.util.find_spec(package) for package in packages}
    if missing := [package for package, spec in found.items() if spec is None]:
        return f"not installed: {', '.join(missing)}"
    said = []
    for package, spec in found.items():
        said.append(f"{package} {_version(package)}".strip())
        for place in spec.submodule_search_locations or ():
            files = sorted({file for pattern in patterns for file in Path(place).glob(pattern)})
            said += [f"{file.name} {file_digest(file)}" for file in files]
    return ", ".join(said)


def decided_options(file: Path, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a detector with what depends on the machine decided once for all workers, and kept in `file`."""
    from xray_debug.text import resolved_options

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):  # parts may begin at the same moment
        if not file.exists():
            write_json(file, resolved_options(name, dict(options)))
    return json.loads(file.read_text(encoding="utf-8"))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # it comes in a distribution of another name
        return ""

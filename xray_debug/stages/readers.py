"""Detectors as stages use them: what they find of further packages (told without importing any), their options."""

from __future__ import annotations

import importlib.util
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from xray_debug.config import PipelineConfig
from xray_debug.data.files import write_json
from xray_debug.run.fingerprint import file_digest
from xray_debug.run.store import Store

AUTO = "auto"  # as detect.second: what is at hand
MOST_BY_AUTO = {"craft": 40}  # cleaned images that a slow reader reads where nobody has asked for it
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


def second_for(first: str) -> dict[str, str]:
    """`name` of the best reader beside the detector `first` that is at hand ("" for none), and `why`, a few words.

    The official CRAFT where its weights are, which sees the most, and has learned nothing from craft-lite; beside CRAFT
    itself, or where only ppocr would be left beside ppocr, craft-lite; else ppocr.
    """
    from xray_debug.text.detectors.craft import at_hand

    if first == "craft":
        return {"name": "craft-lite", "why": "the detector is CRAFT itself"}
    if at_hand():
        return {"name": "craft", "why": "CRAFT's official weights are at hand"}
    if first == "ppocr":
        return {"name": "craft-lite", "why": "CRAFT's official weights are not at hand, the detector is ppocr itself"}
    if missing := packages_of("ppocr").partition("not installed: ")[2]:
        return {"name": "", "why": "neither CRAFT's official weights (extra craft-weights) nor ppocr (extra ppocr, "
                                   f"missing: {missing}) are at hand"}  # fmt: skip
    return {"name": "ppocr", "why": "CRAFT's official weights (extra craft-weights) are not at hand"}


def second_of(store: Store, config: PipelineConfig) -> tuple[str | None, str]:
    """(the second reader's name, why), `auto` as stage detect has settled it; None for none, or not settled yet."""
    asked = config.detect.second
    if asked != AUTO:
        return asked, "detect.second"
    if not store.has("second reader"):
        return None, "stage detect has not settled it"
    found = store.json("second reader")
    return found["name"] or None, found["why"]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # it comes in a distribution of another name
        return ""

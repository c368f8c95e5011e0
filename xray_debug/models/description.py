"""model.json, which may come from a stranger: what it may say, checked before anything is built or fetched."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xray_debug.data.view import ModelView
from xray_debug.models.classifier import NORMALISATIONS
from xray_debug.models.registry import NETWORKS

FORMAT = 1
LARGEST_FILE = 16 << 20  # bytes
LARGEST_NUMBER, LARGEST_VIEW, MOST_CLASSES = 1 << 16, 1 << 13, 10_000
# build_model's own arguments and what torchvision would read files or fetch for
RESERVED = {"name", "classes", "view", "pretrained", "seed", "weights", "weights_backbone", "progress", "backbone",
            "checkpoint", "path", "file", "url"}  # fmt: skip


@dataclass(frozen=True)
class Description:
    """What belongs to a file of weights. `sha256`: of the weights, "" in files that do not say it. `own`: of a user's
    model, which lies elsewhere: see models.own."""

    name: str
    classes: list[str]
    view: ModelView
    options: dict[str, Any]
    sha256: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] | None = None


def read_description(file: Path) -> Description:
    """The description in `file`; ValueError, one sentence with the file's name, for anything it may not say."""
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it has {file.stat().st_size} bytes, expected at most {LARGEST_FILE}")
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"expected an object, got {type(found).__name__}")
        if found.get("format", FORMAT) != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {found['format']!r}; a newer version may have written it")
        name, own = _kind(found, "name", str), _kind(found, "own", dict) if "own" in found else None
        return Description(
            name, _classes(found), _view(found), checked_options(name, _kind(found, "options", dict)),
            _kind({"weights_sha256": "", **found}, "weights_sha256", str), _kind({"extra": {}, **found}, "extra", dict),
            own,
        )  # fmt: skip
    except (ValueError, TypeError, OSError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file}: not a model description: {reason}") from error


def _kind(found: dict, key: str, kind: type) -> Any:
    if key not in found:
        raise ValueError(f"{key} is missing")
    if not isinstance(found[key], kind):
        raise ValueError(f"{key}: expected {kind.__name__}, got {type(found[key]).__name__}")
    return found[key]


def _classes(found: dict) -> list[str]:
    classes = _kind(found, "classes", list)
    if not all(isinstance(name, str) and name for name in classes) or len(set(classes)) != len(classes):
        raise ValueError("classes: expected different names")
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise ValueError(f"classes: expected 2 to {MOST_CLASSES}, got {len(classes)}")
    return classes


def _view(found: dict) -> ModelView:
    values = _kind(found, "view", dict)
    wrong = [key for key, value in values.items()
             if key != "resize" and (isinstance(value, bool) or not isinstance(value, int | float))]  # fmt: skip
    if wrong:
        raise ValueError(f"view: {wrong[0]}: expected a number, got {values[wrong[0]]!r:.60}")
    size = values.get("size", 0)
    if not math.isfinite(size) or not 1 <= size <= LARGEST_VIEW:
        raise ValueError(f"view: size: expected 1 to {LARGEST_VIEW}, got {size}")
    return ModelView(**values | {"size": int(size) if size == int(size) else size})


def checked_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """`options`, where they are what a network's description may hold; ValueError naming the first that is not.

    Numbers and truth values within bounds, and `normalise`. Text is taken only by a network of another package whose
    signature has an argument of that name, and never where it reads like a path.
    """
    for key, value in options.items():
        if key in RESERVED:
            raise ValueError(f"options: {key} is not one that a saved model may have: nothing is fetched or opened")
        if key == "normalise":
            if value not in [*NORMALISATIONS]:
                raise ValueError(f"options: normalise: expected one of {', '.join(NORMALISATIONS)}, got {value!r:.60}")
        elif isinstance(value, str):
            if not _takes(name, key) or any(sign in value for sign in "/\\:~") or value.startswith("."):
                raise ValueError(f"options: {key}: expected a number, got {value!r:.60}")
        elif not isinstance(value, bool | int | float):
            raise ValueError(f"options: {key}: expected a number, got {type(value).__name__}")
        elif not abs(value) <= LARGEST_NUMBER:
            raise ValueError(f"options: {key}: expected at most {LARGEST_NUMBER}, got {value}")
    return options


def _takes(name: str, key: str) -> bool:
    """Whether the network's own signature names the argument."""
    return name in NETWORKS and key in inspect.signature(NETWORKS[name]).parameters

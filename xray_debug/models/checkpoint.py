"""A trained classifier as two files: model.safetensors (weights) and model.json (what they belong to)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from xray_debug.data.files import atomic_write, write_json
from xray_debug.data.view import ModelView
from xray_debug.models.build import build_model
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.weights import fill, read_state

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


def weights_of(model: XrayClassifier) -> dict[str, Tensor]:
    """A copy of the network's state, on the CPU."""
    return {key: value.detach().to("cpu", copy=True).contiguous() for key, value in model.net.state_dict().items()}


def save_checkpoint(model: XrayClassifier, folder: str | Path, **extra) -> Path:
    """Writes `model` into `folder` (made if absent). `extra`, plain values, comes back as `model.extra`.

    The same model and `extra` give the same bytes.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = weights_of(model)
    atomic_write(folder / WEIGHTS, lambda file: file.write(save(state)))
    description = {
        "format": 1,
        "name": model.name,
        "classes": model.classes,
        "view": dataclasses.asdict(model.view),
        "options": model.options,
        "parameters": model.parameter_count,
        "extra": extra,
    }
    write_json(folder / DESCRIPTION, description)  # last: a model folder is complete or absent
    return folder


def load_checkpoint(path: str | Path) -> XrayClassifier:
    """The classifier saved in a folder (or named by either of its two files), on the CPU, in eval mode.

    Raises:
        ValueError: naming the file that is missing, damaged or does not fit.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    file = folder / DESCRIPTION
    if not file.is_file():
        raise ValueError(f"{path}: expected a model folder with {WEIGHTS} and {DESCRIPTION}, found no {DESCRIPTION}")
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        view = ModelView(**description["view"])
        name, classes, options = description["name"], description["classes"], description["options"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a model description: {type(error).__name__} {error}") from error
    model = build_model(name, classes, view, seed=0, **options)
    fill(model.net, read_state(folder / WEIGHTS), str(folder / WEIGHTS))
    model.extra = description.get("extra", {})
    return model.eval()

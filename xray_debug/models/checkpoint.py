"""A trained classifier as two files: model.safetensors (weights) and model.json (what they belong to)."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from xray_debug.data.files import atomic_write, file_sha256, write_json
from xray_debug.models.build import build_model
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.description import FORMAT, read_description
from xray_debug.models.own import OwnModel, load_own
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
    content = save(weights_of(model))
    atomic_write(folder / WEIGHTS, lambda file: file.write(content), sync=True)
    description = {
        "format": FORMAT,
        "name": model.name,
        "classes": model.classes,
        "view": dataclasses.asdict(model.view),
        "options": model.options,
        "parameters": model.parameter_count,
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "extra": extra,
    }
    write_json(folder / DESCRIPTION, description)  # last: a model folder is complete or absent
    return folder


def save_own(own: OwnModel, classes: list[str], folder: str | Path) -> None:
    """Writes the description of a user's model into `folder`; the model stays where it is.

    A file in `folder` is named without it, since both may move together.
    """
    described, file = own.described(), own.config.file
    if file is not None and Path(file).resolve().parent == Path(folder).resolve():
        described["settings"]["file"], described["beside"] = Path(file).name, True
    write_json(Path(folder, DESCRIPTION), {
        "format": FORMAT, "name": own.name, "classes": classes, "view": dataclasses.asdict(own.view), "options": {},
        "own": described,
    })  # fmt: skip


def load_checkpoint(path: str | Path, trusted: bool = False) -> XrayClassifier:
    """The classifier saved in a folder (or named by either of its two files), on the CPU, in eval mode.

    `trusted`: a user's model that is a program may be run; see models.own.

    Raises:
        ValueError: naming the file that is missing, damaged or does not fit.
    """
    path = Path(path)
    folder = path if os.path.isdir(path) else path.parent
    file, weights = folder / DESCRIPTION, folder / WEIGHTS
    if not os.path.isfile(file):
        raise ValueError(f"{path}: expected a model folder with {WEIGHTS} and {DESCRIPTION}, found no {DESCRIPTION}"
                         "; train/ of a run is such a folder, and audit-model makes a run of your own model's file")
    found = read_description(file)
    if found.own is not None:
        return load_own(found.own, found.view, str(file), trusted)
    state = read_state(weights)
    try:
        model = build_model(found.name, found.classes, found.view, seed=0, **found.options)
    except Exception as error:  # a stranger's numbers can fail in any way inside a network
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file}: this model cannot be built: {reason}") from error
    fill(model.net, state, str(weights))
    if found.sha256 and file_sha256(weights) != found.sha256:
        raise ValueError(f"{weights}: expected sha256 {found.sha256}, as {DESCRIPTION} says, found "
                         f"{file_sha256(weights)}: the file is damaged or belongs to another model")  # fmt: skip
    model.extra = found.extra
    return model.eval()

"""Models given in Python, kept while the program runs; a run names one by what tells it from another."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable

from torch import nn

_HELD: dict[str, tuple[nn.Module, Callable | None]] = {}


def hold(model: nn.Module, preprocess: Callable | None = None) -> str:
    """Keeps the model; its key is made of the weights, the class and the source of class and preprocess."""
    total = hashlib.sha256(f"{type(model).__module__}.{type(model).__qualname__}\n{model}".encode())
    for part in (type(model), preprocess):
        total.update(_source(part).encode())
    for name, value in model.state_dict().items():
        total.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        total.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    key = total.hexdigest()
    _HELD[key] = model, preprocess
    return key


def _source(thing) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return repr(type(thing))


def held(key: str) -> tuple[nn.Module, Callable | None]:
    """A copy of the model (the user's is left alone), and its preprocess. ValueError where it is not held here."""
    if key not in _HELD:
        raise ValueError("the run's model was given in Python and is not in a file: xray_debug.audit_model(model, ...) "
                         "with the same model and out goes on with it, in one process")  # fmt: skip
    model, preprocess = _HELD[key]
    try:
        return copy.deepcopy(model).cpu(), preprocess
    except Exception:  # modules that hold what cannot be copied
        return model, preprocess

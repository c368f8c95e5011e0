"""Models given in Python, kept while the program runs; a run names one by what tells it from another."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import nn

from xray_debug.models.own.content import content_key

_HELD: dict[str, tuple[nn.Module, Callable | None]] = {}


def hold(model: nn.Module, preprocess: Callable | None = None) -> str:
    """Keeps the model; its key is made of the contents of both, see content_key."""
    key = content_key(model, preprocess)
    _HELD[key] = model, preprocess
    return key


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

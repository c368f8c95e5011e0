"""A model made by a function of the user's: their own code, which is run because they named it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from torch import nn

_LOCK = threading.Lock()  # workers open their models side by side
_FILES: dict[tuple[str, int], ModuleType] = {}


def split_factory(text: str) -> tuple[str, str]:
    """(module or FILE.py, function). ValueError for another form."""
    module, sign, function = text.rpartition(":")
    if not sign or not module or not function.isidentifier():
        raise ValueError(f"model.factory: expected module:function or FILE.py:function, got {text!r}")
    return module, function


def from_factory(text: str) -> tuple[nn.Module, object | None]:
    """(the module, its preprocess or None) that the function gives, called without arguments."""
    module, function = split_factory(text)
    with _LOCK:
        found = getattr(_module(module), function, None)
        if not callable(found):
            raise ValueError(f"model.factory: {module} has no function {function}")
        try:
            made = found()
        except Exception as error:  # the user's code
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(f"model.factory: {text} failed: {type(error).__name__}: {reason}") from error
    net, preprocess = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(net, nn.Module):
        raise ValueError(f"model.factory: {text} gives a {type(net).__name__}, expected a torch.nn.Module, or one and "
                         "its preprocess")  # fmt: skip
    if preprocess is not None and not isinstance(preprocess, Callable):
        raise ValueError(f"model.factory: {text}: its preprocess is a {type(preprocess).__name__}, expected a function")
    return net, preprocess


def _module(name: str) -> ModuleType:
    try:
        return _from_file(Path(name)) if name.endswith(".py") else _by_name(name)
    except ValueError:
        raise
    except Exception as error:  # the user's code
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"model.factory: {name} cannot be imported: {type(error).__name__}: {reason}") from error


def _by_name(name: str) -> ModuleType:
    """A module that is installed, or lies in the folder the command was started in."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return importlib.import_module(name)


def _from_file(file: Path) -> ModuleType:
    """The module in a file, imported once in each state of the file; what lies beside it can be imported by it."""
    if not file.is_file():
        raise ValueError(f"model.factory: {file}: no such file")
    key = (str(file), file.stat().st_mtime_ns)
    if key not in _FILES:
        if str(file.parent) not in sys.path:
            sys.path.append(str(file.parent))
        spec = importlib.util.spec_from_file_location(f"xray_debug_factory_{len(_FILES)}_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        _FILES[key] = module
    return _FILES[key]

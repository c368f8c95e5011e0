"""What tells one object of the user's from another: weights, sources, and whatever functions and modules hold."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import pickle
import sys
import sysconfig
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn

OWN = frozenset(vars(nn.Module())) - {"_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs",
                                      "_forward_pre_hooks_with_kwargs"}  # fmt: skip  # torch's, told of otherwise
PLAIN = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), torch.dtype, torch.device, range)


def content_key(*things: object) -> str:
    """sha256 (64 hex digits) of the contents; another each time where something in them cannot be read."""
    told = _Told()
    try:
        for thing in things:
            told.add(thing)
    except Exception:  # the user's objects fail in ways of their own: not to know is not to be the same
        return hashlib.sha256(os.urandom(32)).hexdigest()
    return told.total.hexdigest()


class _Told:
    """A sha256 that is fed with everything an object holds, each object once."""

    def __init__(self):
        self.total, self.seen = hashlib.sha256(), {}
        self.kept: list[object] = []  # ids stay theirs while the objects live

    def say(self, *parts: object) -> None:
        self.total.update(("\x1f".join(map(str, parts)) + "\x1e").encode(errors="surrogatepass"))

    def add(self, thing: object) -> None:
        if isinstance(thing, PLAIN):
            return self.say(type(thing).__name__, repr(thing))
        if id(thing) in self.seen:
            return self.say("again", self.seen[id(thing)])
        self.seen[id(thing)] = len(self.seen)
        self.kept.append(thing)
        self.say(type(thing).__module__, type(thing).__qualname__)
        if isinstance(thing, torch.Tensor):
            return self._tensor(thing)
        if isinstance(thing, (types.ModuleType, types.BuiltinFunctionType)):
            return self.say(thing.__name__)
        if isinstance(thing, types.FunctionType):
            return self._function(thing)
        if isinstance(thing, types.MethodType):
            return self._all([thing.__func__, thing.__self__])
        if isinstance(thing, functools.partial):
            return self._all([thing.func, thing.args, thing.keywords])
        if isinstance(thing, type):
            return self._class(thing)
        if isinstance(thing, nn.Module):
            return self._module(thing)
        return self._object(thing)

    def _all(self, things) -> None:
        self.say(len(things))
        for thing in things:
            self.add(thing)

    def _pairs(self, pairs: dict) -> None:
        self._all([part for pair in pairs.items() for part in pair])

    def _tensor(self, value: torch.Tensor) -> None:
        self.say(tuple(value.shape), value.dtype)
        self.total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())

    def _class(self, kind: type) -> None:
        self.say(kind.__module__, kind.__qualname__, _source(kind))
        if _library(kind.__module__):
            return
        self._all(kind.__bases__)
        for name, value in vars(kind).items():
            value = getattr(value, "fget", None) or getattr(value, "__func__", value)  # of properties, of methods
            if isinstance(value, (types.FunctionType, *PLAIN)):
                self.say(name)
                self.add(value)

    def _function(self, function: types.FunctionType) -> None:
        code = function.__code__
        self.say(function.__module__, function.__qualname__, _source(function), code.co_code.hex())
        self._all([cell.cell_contents for cell in function.__closure__ or () if not _empty(cell)])
        if _library(function.__module__):
            return
        self._all([part for part in code.co_consts if isinstance(part, PLAIN)])
        self._all([function.__defaults__, function.__kwdefaults__])
        names = [name for name in _names(code) if name in function.__globals__]
        for name in names:  # the numbers, and the functions beside it, that it reads
            value = function.__globals__[name]
            if not callable(value) or getattr(value, "__module__", None) == function.__module__:
                self.say(name)
                self.add(value)

    def _module(self, module: nn.Module) -> None:
        self.add(type(module))
        if isinstance(module, torch.jit.ScriptModule):
            self.total.update(module.save_to_buffer())
            return
        for kind in ("_parameters", "_buffers", "_modules"):
            self._pairs(getattr(module, kind))
        if isinstance(module, torch.fx.GraphModule):
            self.say(module.code)
            return
        self._pairs({name: value for name, value in vars(module).items() if name not in OWN})
        for hooks in ("_forward_hooks", "_forward_pre_hooks"):
            self._all(list(getattr(module, hooks).values()))

    def _object(self, thing: object) -> None:
        if isinstance(thing, (list, tuple)):
            return self._all(list(thing))
        if isinstance(thing, dict):
            return self._pairs(thing)
        if isinstance(thing, np.ndarray) and thing.dtype != object:
            self.say(thing.shape, thing.dtype)
            return self.total.update(np.ascontiguousarray(thing).tobytes())
        if type(thing).__reduce__ is object.__reduce__ and hasattr(thing, "__dict__"):
            self.add(type(thing))
            return self._pairs(vars(thing))
        self.total.update(pickle.dumps(thing))


def _library(name: str | None) -> bool:
    """Whether a module is installed, and not the user's own work: its name and source say enough."""
    module = sys.modules.get(name or "")
    file = getattr(module, "__file__", None)
    if file is None:
        return name in sys.builtin_module_names
    return any(Path(file).is_relative_to(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib", "platlib"))


def _source(thing) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return ""


def _names(code: types.CodeType) -> list[str]:
    """Of the globals that a function reads, also in functions inside it."""
    inner = [name for part in code.co_consts if isinstance(part, types.CodeType) for name in _names(part)]
    return list(dict.fromkeys([*code.co_names, *inner]))


def _empty(cell) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False

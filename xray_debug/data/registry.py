"""Things by name, built in or brought by another package: detectors, methods, checks, formats, models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any


class Registry(Mapping):
    """Names of one kind and what they stand for.

    `group`: entry points of this group, of any installed package, are further names ("name = package.module:thing").
    They are loaded when they are asked for; a built-in name is never replaced.
    """

    def __init__(self, kind: str, group: str):
        self.kind, self.group = kind, group
        self._own: dict[str, Any] = {}
        self.help: dict[str, str] = {}

    def register(self, name: str, help: str = "") -> Callable:
        """A decorator: the decorated thing gets this name. ValueError for a name that is taken."""

        def keep(thing):
            if name in self._own:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._own[name] = thing
            self.help[name] = help or (thing.__doc__ or "").strip().partition("\n")[0]
            return thing

        return keep

    def names(self) -> list[str]:
        """Built-in names in the order of registration, then those of entry points in alphabetical order."""
        return [*self._own, *self.foreign()]

    def foreign(self) -> dict[str, str]:
        """What entry points bring beside the built-in names: name -> "package.module:thing"; nothing is loaded."""
        found = self._foreign()
        return {name: found[name].value for name in sorted(found) if name not in self._own}

    def hidden(self) -> dict[str, str]:
        """What entry points bring under a built-in name, which hides it: as `foreign`."""
        found = self._foreign()
        return {name: found[name].value for name in sorted(found) if name in self._own}

    def check(self, name: str, option: str = "") -> None:
        """ValueError naming what there is, where `name` is not known; loads nothing."""
        if name not in self._own and name not in self._foreign():
            where = f"{option}: " if option else ""
            raise ValueError(f"{where}unknown {self.kind} {name!r}: expected one of {', '.join(self.names())}")

    def origin(self, name: str) -> str:
        """The module that a name comes from, for fingerprints; nothing is loaded for an entry point."""
        return self._own[name].__module__ if name in self._own else self._foreign()[name].value.partition(":")[0]

    def __getitem__(self, name: str):
        if name in self._own:
            return self._own[name]
        self.check(name)
        point = self._foreign()[name]
        try:
            return point.load()
        except Exception as error:  # of another's code, so of any kind
            plain = isinstance(error, (ImportError, AttributeError))
            told = str(error) if plain else f"{type(error).__name__}: {error}"
            raise ImportError(f"{self.kind} {name!r} ({point.value}) cannot be loaded: {told}; mend its package"
                              f"{f' {point.dist.name}' if point.dist else ''}, or uninstall it") from error

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._foreign()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def _foreign(self) -> dict[str, metadata.EntryPoint]:
        return {point.name: point for point in metadata.entry_points(group=self.group)}

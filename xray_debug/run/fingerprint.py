"""What a stage's result depends on: the contents of what it reads, the options that change it, the code it imports.

The code is the import closure of the stage's own file, read from the sources: every module of the package that is
imported anywhere in it, at the top or inside a function, and the data files that lie beside those modules (weights,
templates). `config` is left out: what it says arrives as parameters.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

PACKAGE = Path(__file__).resolve().parents[1]
LEFT_OUT = ("xray_debug.config",)
STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)  # nodes that can hold an import
DATA = {".safetensors", ".json", ".html", ".npy", ".txt"}


def digest(value: Any) -> str:
    """sha256 (16 hex digits) of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


# ---------------------------------------------------------------------------------------------------- code


def _module_file(name: str, root: Path) -> Path | None:
    """The file of a dotted module name of the package below `root`, None for something else."""
    path = root.parent.joinpath(*name.split("."))
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _imported(file: Path, name: str) -> frozenset[str]:
    """Dotted names that a module's source imports; a name taken from a module counts as a module, too."""
    facts = file.stat()
    return _names_in(file, name, (facts.st_mtime_ns, facts.st_size))


@lru_cache(maxsize=1024)
def _names_in(file: Path, name: str, state: tuple[int, int]) -> frozenset[str]:
    found, package = set(), name if file.name == "__init__.py" else name.rpartition(".")[0]
    waiting: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, STATEMENTS)]
    return frozenset(found)


@lru_cache(maxsize=256)
def import_closure(module: str, root: Path = PACKAGE, skips: tuple[str, ...] = ()) -> tuple[Path, ...]:
    """All files of the package that importing `module` can bring in, sorted, with the packages' own `__init__`s.

    This package's own `__init__` is left out: it says the version, and every stage would be stale with it.
    `skips`: modules and packages that are not followed.
    """
    top, seen, waiting, without = root.name, {}, [module], (*LEFT_OUT, *skips)
    while waiting:
        name = waiting.pop()
        if name in seen or not (name == top or name.startswith(f"{top}.")):
            continue
        if name == PACKAGE.name and root == PACKAGE:
            continue
        if any(name == left or name.startswith(f"{left}.") for left in without):
            continue
        file = _module_file(name, root)
        seen[name] = file
        if file is None:
            continue
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        waiting += _imported(file, name)
    return tuple(sorted({file for file in seen.values() if file is not None}))


def code_files(module: str, root: Path = PACKAGE, skips: tuple[str, ...] = ()) -> list[Path]:
    """The import closure and the data files beside its modules (in their folder, or one below that is no package)."""
    files = list(import_closure(module, root, skips))
    for folder in sorted({file.parent for file in files} - {root}):
        places = [folder, *(path for path in folder.iterdir() if path.is_dir() and not (path / "__init__.py").exists())]
        files += [file for place in places for file in place.iterdir() if file.is_file() and file.suffix in DATA]
    return sorted(set(files))


def code_state(module: str, root: Path = PACKAGE, skips: tuple[str, ...] = ()) -> dict[str, str]:
    """Name of each of `code_files`, below `root` -> sha256 (16 hex digits) of its contents."""
    return {file.relative_to(root).as_posix(): _content(file, file.stat().st_mtime_ns)
            for file in code_files(module, root, skips)}  # fmt: skip


def code_digest(module: str, root: Path = PACKAGE, skips: tuple[str, ...] = ()) -> str:
    """sha256 (16 hex digits) of the names and contents of `code_files`."""
    return digest(code_state(module, root, skips))


@lru_cache(maxsize=1024)
def _content(file: Path, changed: int) -> str:
    return file_digest(file)


# ---------------------------------------------------------------------------------------------------- inputs


def file_digest(path: str | Path) -> str:
    """sha256 (16 hex digits) of a file's bytes; "absent" where there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return "absent"


def contents_digest(paths: Iterable[Path]) -> str:
    """Names and bytes of files and of everything in folders, links followed; for results, which are read anyway."""
    rows = []
    for path in paths:
        for file, again in _files_below(path) if path.is_dir() else [(path, None)]:
            name = file.relative_to(path.parent).as_posix()
            if again is not None:
                rows.append((name, f"same folder as {again.relative_to(path.parent).as_posix()}"))
            elif file.is_file() and not file.name.startswith(".tmp-"):
                rows.append((name, file_digest(file)))
    return digest(sorted(rows))


def folder_digest(root: Path) -> str:
    """Names, sizes and times of all files below `root`, links followed: changes when a dataset does, unread."""
    rows = []
    for path, again in _files_below(root):
        name = path.relative_to(root).as_posix()
        if again is not None:
            rows.append((name, again.relative_to(root).as_posix(), 0))
            continue
        try:
            facts = path.stat()
        except OSError:  # a link to nothing
            continue
        rows.append((name, facts.st_size, facts.st_mtime_ns))
    return digest(sorted(rows, key=str))


def _files_below(root: Path) -> Iterator[tuple[Path, Path | None]]:
    """(file, None) of all files below `root` in a fixed order, links followed; (folder, where it was seen before) for
    folders that are another name of one seen already, which are not entered again: links may form loops."""
    seen: dict[str, Path] = {}
    for folder, folders, names in os.walk(root, followlinks=True):
        folders.sort()
        first = seen.setdefault(os.path.realpath(folder), Path(folder))
        if first != Path(folder):
            folders.clear()
            yield Path(folder), first
            continue
        yield from ((Path(folder, name), None) for name in sorted(names))


# ---------------------------------------------------------------------------------------------------- options


def result_options(section: BaseModel) -> dict[str, Any]:
    """The options of a section that change a result: all but those declared with `free` (workers, batches, devices)."""
    kept = {}
    for name, option in type(section).model_fields.items():
        if isinstance(option.json_schema_extra, dict) and option.json_schema_extra.get("result") is False:
            continue
        value = getattr(section, name)
        kept[name] = result_options(value) if isinstance(value, BaseModel) else section.model_dump(mode="json")[name]
    return kept


def chosen_options(config: BaseModel, names: Iterable[str]) -> dict[str, Any]:
    """The options called `names` ("train", "detect.detector", ...), sections without their free options."""
    result = {}
    for name in names:
        value: Any = config
        *parents, last = name.split(".")
        for parent in parents:
            value = getattr(value, parent)
        if value is None:  # a section that the pipeline does without
            result[name] = None
            continue
        found = getattr(value, last)
        result[name] = result_options(found) if isinstance(found, BaseModel) else value.model_dump(mode="json").get(
            last, found)  # fmt: skip
    return result


FREE_TEXT = ("train", "model", "explain", "detect", "audit", "retrain")  # sections whose texts may be paths of files


def named_files(parameters: dict[str, Any]) -> dict[str, str]:
    """"file of OPTION" -> digest of its contents, for each option that names a file, or a folder by a path.

    `parameters`: of `chosen_options`. What `prepare` names lies in the dataset, which is looked at as a whole.
    """
    found = {}
    for option, text in _texts(parameters):
        if option.partition(".")[0] in FREE_TEXT and (is_path(text) or os.path.isfile(text)):
            found[f"file of {option}"] = contents_digest([Path(text)]) if os.path.isdir(text) else file_digest(text)
    return found


def is_path(value: Any) -> bool:
    """Whether an option's value is the path of a file or folder that is there, and no mere word that one is called."""
    if not isinstance(value, str) or not any(sign in value for sign in {"/", os.sep, "."}):
        return False
    return os.path.isfile(value) or os.path.isdir(value)


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """(option, value) of every text in nested options."""
    if isinstance(value, str):
        yield place, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from _texts(child, f"{place}.{name}" if place else str(name))


@dataclass(frozen=True)
class Seen:
    """An input as it was read for the fingerprint, handed to the work, which then does not read it again."""

    digest: str
    value: Any


@dataclass(frozen=True)
class Fingerprint:
    """What a stage depends on, kept in parts so that a change can be named.

    `files`: those that `code` is the digest of, name -> digest. `seen`: values of inputs, for the stage's work.
    """

    inputs: dict[str, str]
    parameters: dict[str, Any]
    code: str
    files: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> str:
        return digest([self.inputs, self.parameters, self.code])

    def difference(self, recorded: dict) -> str:
        """Why the recorded stage does not fit: "" when it does."""
        if recorded.get("fingerprint") == self.key:
            return ""
        changed = [f"input {name}" for name in _differing(recorded.get("inputs") or {}, self.inputs)]
        changed += [f"option {name}" for name in changed_options(recorded, self.parameters)]
        if recorded.get("code") != self.code:
            files = _differing(recorded.get("files") or {}, self.files) if recorded.get("files") else []
            changed.append(f"code ({_few(files)})" if files else "code")
        return ", ".join(changed) + " changed" if changed else "fingerprint changed"


def _differing(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Names that are new, gone, or of another value."""
    return [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]


def _few(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def changed_options(recorded: dict, parameters: dict[str, Any]) -> list[str]:
    """Names of the options that differ from those that a stage was made with."""
    return _changed(recorded.get("parameters", {}), json.loads(json.dumps(parameters, default=str)))


def _changed(old: Any, new: Any, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [name for k in keys for name in _changed(old.get(k), new.get(k), f"{prefix}.{k}" if prefix else str(k))]
    return [] if old == new else [prefix]

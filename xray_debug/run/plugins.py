"""The code that other packages bring as entry points, for fingerprints: read from its files, never imported."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from xray_debug.run.fingerprint import DATA, PACKAGE, _imported, code_state, file_digest, import_closure

BESIDE = DATA | {".onnx", ".pt", ".pth", ".npz", ".csv", ".yaml", ".yml", ".toml", ".ckpt", ".pkl", ".bin", ".th",
                 ".h5", ".data"}  # fmt: skip  # what a module may read
TOLD = {".yaml", ".json"}  # of these a run's own lie in its folder


def plugin_code(chosen: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """"plugin PACKAGE/FILE" -> sha256 (16 hex digits) of the code behind entry points.

    It is what the entry point's module imports of its own package, the data beside that, and what these modules import
    of xray_debug. `chosen`: (group, name), or (group, None) for all of a group. Built-in names bring nothing.
    """
    found: dict[str, str] = {}
    for group, name in chosen:
        for point in _points(tuple(sys.path)).get(group, ()):
            if name in (None, point.name):
                found |= _code_of(point.value.partition(":")[0].strip())
    return found


@lru_cache(maxsize=4)
def _points(path: tuple[str, ...]) -> dict[str, list[metadata.EntryPoint]]:
    """Every group of ours with its entry points, of what is installed on `path`."""
    points = metadata.entry_points()
    return {group: list(points.select(group=group)) for group in points.groups if group.startswith(PACKAGE.name)}


def factory_code(text: str) -> dict[str, str]:
    """The same for a function of the user's, "module:function" or "FILE.py:function".

    Of a file, or a module that is one: it, and what it imports, directly or not, of what lies beside it; with the data
    beside these, and files that a text in them names, below its folder, the current one, or by a whole path.
    """
    module = text.rpartition(":")[0]
    file = Path(module) if module.endswith(".py") else None
    if file is None:
        here = os.getcwd()
        if here not in sys.path:  # as the function is looked for
            sys.path.append(here)
        file = next((place for place in _places(module) if place.is_file()), None) if "." not in module else None
        if file is None or file.suffix != ".py" or {"site-packages", "dist-packages"} & set(file.parts):
            return _code_of(module)
    modules = _imported_beside(file)
    folders = {found.parent for found in modules}
    data = {path for folder in folders if folder.is_dir() for path in folder.iterdir()
            if path.suffix in BESIDE - (TOLD if (folder / ".work").is_dir() else set()) and path.is_file()}  # fmt: skip
    data |= {found for module in modules for found in _named_in(module, file.parent)}
    return _told(modules) | _told(data - modules, file.parent)


def _named_in(module: Path, folder: Path) -> set[Path]:
    """Files that a text in a module's source names."""
    try:
        tree = ast.parse(module.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return set()
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    found = set()
    for text in texts:
        if 0 < len(text) < 1024 and "\n" not in text and "." in text:
            with contextlib.suppress(OSError, ValueError):
                found |= {place for place in (folder / text, Path(text)) if place.is_file()}
    return found


def code_of_file(module: Path) -> dict[str, str]:
    """The same for a script: it, and what it imports, directly or not, of what lies beside it."""
    return _told(_imported_beside(module))


def _told(files: Iterable[Path], folder: Path | None = None) -> dict[str, str]:
    """Each by its name, or its place from `folder`; large ones are read once in each state."""
    found = {}
    for file in sorted(files):
        name = file.name if folder is None else os.path.relpath(file, folder) if file.is_relative_to(folder) else file
        try:
            facts = file.stat()
        except OSError:
            found[f"plugin {name}"] = "absent"
            continue
        found[f"plugin {name}"] = _content(file.resolve(), (facts.st_mtime_ns, facts.st_size))
    return found


@lru_cache(maxsize=1024)
def _content(file: Path, state: tuple[int, int]) -> str:
    return file_digest(file)


def _imported_beside(module: Path) -> set[Path]:
    waiting, seen = [module], set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        try:
            names = _imported(file, file.stem)
        except (OSError, SyntaxError, ValueError):  # it cannot be imported either, which is told when it is tried
            continue
        places = [module.parent.joinpath(*name.split(".")) for name in names]
        waiting += [found for place in places for found in (place.with_suffix(".py"), place / "__init__.py")
                    if found.is_file()]  # fmt: skip
    return seen


def _code_of(module: str) -> dict[str, str]:
    top = module.partition(".")[0]
    if top == PACKAGE.name:
        return code_state(module)
    for place in _places(top):
        if files := [place] if place.is_file() else _files(module, place):
            found = {f"plugin {file.relative_to(place.parent).as_posix()}": file_digest(file) for file in files}
            for name in {name for file in files for name in _ours(file)}:
                found |= code_state(name)
            return found
    return {f"plugin {module}": "absent"}


def _places(top: str) -> list[Path]:
    """The folders of a package (several for a namespace), or the file of a module that is none."""
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(top)  # of a name without a dot: imports nothing
        if spec is not None and spec.submodule_search_locations is not None:
            return [Path(place) for place in spec.submodule_search_locations]
        if spec is not None and spec.origin and Path(spec.origin).is_file():
            return [Path(spec.origin)]
    return []


def _files(module: str, root: Path) -> list[Path]:
    """The modules of the package in `root` that importing `module` can bring in, and the data beside them."""
    try:
        modules = set(import_closure(module, root))
    except (SyntaxError, ValueError):  # it cannot be imported either, which is told when it is tried
        modules = set(root.rglob("*.py"))
    inside = root.joinpath(*module.split(".")[1:])
    if inside.with_suffix(".py") not in modules and inside / "__init__.py" not in modules:
        modules |= set(inside.parent.glob(f"{inside.name}.*"))  # compiled
    folders = {file.parent for file in modules}
    folders |= {path for folder in folders for path in folder.iterdir()
                if path.is_dir() and not (path / "__init__.py").exists()}  # fmt: skip
    data = {file for folder in folders for file in folder.iterdir() if file.is_file() and file.suffix in BESIDE}
    return sorted(modules | data)


def _ours(file: Path) -> set[str]:
    """Modules of this package that a file of another imports."""
    if file.suffix != ".py":
        return set()
    try:
        return {name for name in _imported(file, file.stem) if name.startswith(f"{PACKAGE.name}.")}
    except (SyntaxError, ValueError):
        return set()

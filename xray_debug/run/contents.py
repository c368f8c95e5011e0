"""What a finished stage's folder holds: its list of files, what of them is gone, what in it is the user's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from xray_debug.data.files import write_json

RECORD, KEY, LIST = "stage.json", ".key.json", ".contents.json"
BROWSERS = {".DS_Store", "Thumbs.db", "desktop.ini"}  # which file browsers make wherever they look


def write(folder: Path) -> int:
    """Writes the list of all files below a stage's folder with their sizes; how many they are."""
    found = dict(_files(folder))
    write_json(folder / LIST, found)
    return len(found)


def difference(folder: Path, below: str = "") -> str:
    """What of the listed files is not as it was, "" where all are there in their sizes. `below`: of these only."""
    listed = _listed(folder)
    if listed is None:
        return f"{folder.name}/{LIST} is missing or damaged"
    there = dict(_files(folder))
    for name, size in listed.items():
        if name.startswith(below) and there.get(name) != size:
            what = f"has {there[name]} bytes and not {size}" if name in there else "is missing"
            return f"{folder.name}/{name} {what}"
    return ""


def keep(folder: Path, place: Path) -> list[Path]:
    """Moves what the stage has not written, or somebody has changed since, from its folder to `place`; where it is now.

    Nothing where the folder has no list: an earlier version made it.
    """
    listed, kept = _listed(folder), []
    if listed is None:
        return kept
    for name, size in list(_files(folder)):
        if listed.get(name) == size:
            continue
        target = _free(place / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, target)
        kept.append(target)
    return kept


def _free(path: Path) -> Path:
    """`path`, or with a number where that is taken."""
    free, number = path, 1
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}.{number}{path.suffix}")
    return free


def _listed(folder: Path) -> dict[str, int] | None:
    try:
        found = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _files(folder: Path, above: str = "") -> Iterator[tuple[str, int]]:
    """(name below the folder, bytes) of all files, in order; a link is a file of -1 bytes, and not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        name = above + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), f"{name}/")
        elif name not in (RECORD, KEY, LIST) and entry.name not in BROWSERS and not entry.name.startswith(".tmp-"):
            yield name, -1 if entry.is_symlink() else entry.stat(follow_symlinks=False).st_size

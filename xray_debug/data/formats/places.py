"""Image files below a folder: which there are, which one a written path means, and the name each goes by."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from xray_debug.data.dicom import is_dicom
from xray_debug.data.images import SUFFIXES

SPLITS = {"train": "train", "training": "train", "trn": "train", "val": "val", "valid": "val", "validation": "val",
          "validate": "val", "dev": "val", "test": "test", "testing": "test", "tst": "test"}  # fmt: skip
_OTHER_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".xml", ".md", ".parquet", ".html", ".pdf", ".zip", ".py", ".npy")


def split_of(name: str) -> str | None:
    """train, val or test for a word that means one of them (`Training`, `valid`), None for another word."""
    return SPLITS.get(name.strip().casefold())


def is_dicom_file(path: Path) -> bool:
    """By its first bytes; False where it cannot be read, and for a suffix of another kind of image."""
    if path.suffix.lower() in SUFFIXES and path.suffix.lower() not in (".dcm", ".dicom"):
        return False
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(132))
    except OSError:
        return False


def is_image_name(path: Path) -> bool:
    """Whether a file is taken for an image: by its suffix, or DICOM by its content, which often has none."""
    suffix = path.suffix.lower()
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR":  # an index of DICOM files
        return False
    return suffix in SUFFIXES or suffix not in _OTHER_SUFFIXES and is_dicom_file(path)


def leaves(path: Path, root: Path) -> bool:
    """Whether what `path` leads to, links followed, lies outside `root`."""
    return not os.path.realpath(path).startswith(os.path.join(os.path.realpath(root), ""))


class Walk:
    """The image files below `root`: `images` (paths below it, POSIX, sorted), and `outside`, links that lead out of it.

    Sub-folders are entered, links among them too where they stay inside, each folder once. Hidden ones are not.
    """

    def __init__(self, root: Path, below: str = ""):
        self.root, self.images, self.outside, seen = root, [], [], set()
        for folder, folders, names in os.walk(root / below, followlinks=True):
            here = os.path.realpath(folder)
            if here in seen:
                folders.clear()
                continue
            seen.add(here)
            folders[:] = sorted(name for name in folders if not name.startswith(".") and not self._out(folder, name))
            for name in sorted(names):
                path = Path(folder, name)
                if is_image_name(path) and not self._out(folder, name):
                    self.images.append(path.relative_to(root).as_posix())
        self.images.sort()

    def _out(self, folder: str, name: str) -> bool:
        path = Path(folder, name)
        if not path.is_symlink() or not leaves(path, self.root):
            return False
        self.outside.append(path.relative_to(self.root).as_posix())
        return True


def image_ids(paths: Sequence[str]) -> list[str]:
    """What each path goes by: the file's name where no other file has it, else the whole path."""
    names = Counter(PurePosixPath(path).name for path in set(paths))
    return [path if names[PurePosixPath(path).name] > 1 else PurePosixPath(path).name for path in paths]


class Finder:
    """Which file below `root` a table means by a path: as it stands, else without leading folders or by its name."""

    def __init__(self, root: Path):
        self.root = root
        self._real = os.path.realpath(root)

    def __call__(self, written: str) -> tuple[str, str]:
        """(path below root, "") or ("", problem); problems are "missing: ..." and "outside: ..."."""
        try:
            return self._find(written)
        except (OSError, ValueError) as error:  # a NUL, a name too long
            return "", f"missing: {written[:80]!r} is no file's name ({getattr(error, 'strerror', None) or error})"

    def _find(self, written: str) -> tuple[str, str]:
        if not written.strip():
            return "", "missing: no path, expected that of an image"
        for text in dict.fromkeys((written, written.strip(), written.strip().replace("\\", "/"))):
            path = Path(os.path.normpath(self.root / text))
            inside = path.is_relative_to(os.path.normpath(self.root))
            if not inside and (os.path.isabs(text) or ".." in PurePosixPath(text).parts):
                return "", f"outside: {written} leads out of {self.root}"
            if inside and os.path.isfile(path):
                found = path.relative_to(os.path.normpath(self.root)).as_posix()
                return ("", "outside: the link leaves the dataset") if self._leaves(path) else (found, "")
        return self._by_name(written.strip().replace("\\", "/"))

    def _leaves(self, path: Path) -> bool:
        return not os.path.realpath(path).startswith(os.path.join(self._real, ""))

    def _by_name(self, text: str) -> tuple[str, str]:
        name = PurePosixPath(text).name
        found = list(self._names.get(name, ())) or list(self._stems.get(name, ()))
        longest = max((_shared(path, text) for path in found), default=0)
        found = [path for path in found if _shared(path, text) == longest]
        if len(found) == 1:
            return found[0], ""
        several = f", and several fit: {', '.join(found[:3])}" if found else ""
        return "", f"missing: no file {text} in {self.root.name or self.root}/{several}"

    @cached_property
    def _walk(self) -> Walk:
        return Walk(self.root)

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return _grouped((PurePosixPath(path).name, path) for path in self._walk.images)

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        """By the name without its suffix."""
        return _grouped((PurePosixPath(path).name[: -len(PurePosixPath(path).suffix) or None], path)
                        for path in self._walk.images)  # fmt: skip


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for name, path in pairs:
        found[name].append(path)
    return found


def _shared(path: str, text: str) -> int:
    """How many of the last folders two paths have in common, without their names."""
    pairs = zip(reversed(path.split("/")[:-1]), reversed(text.split("/")[:-1]), strict=False)
    return _run(one == other for one, other in pairs)


def _run(same: Iterator[bool]) -> int:
    count = 0
    for value in same:
        if not value:
            break
        count += 1
    return count

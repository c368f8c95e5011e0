"""Image files below a folder: which there are, which one a written path means, and the name each goes by."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from math import inf
from pathlib import Path, PurePosixPath
from typing import NamedTuple

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
    """Which files below `root` a table means by its paths: as they stand, else by their last folders and names.

    Found by its end is a path whose folders end with those written, or the reverse: `c.png` and `v1/set/deep/c.png` may
    be set/deep/c.png, other/c.png never is. A file goes to one text alone: that which names it as it stands, else that
    with the most folders in common; to none where several fit as well, for then it may be another patient's.
    """

    def __init__(self, root: Path):
        self.root = root
        self._real = os.path.realpath(root)

    def __call__(self, texts: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Text -> (path below root, "") or ("", problem); problems are "missing: ..." and "outside: ..."."""
        found = {text: self._one(text) for text in texts}
        claims: dict[str, dict[float, set[str]]] = defaultdict(lambda: defaultdict(set))
        for one in found.values():
            claims[one.path][one.shared].add(one.text)
        return {text: self._settled(one, claims[one.path]) for text, one in found.items()}

    def _settled(self, one: _Found, claims: dict[float, set[str]]) -> tuple[str, str]:
        most = max(claims)
        if not one.path or one.shared == inf or one.shared == most and len(claims[most]) == 1:
            return one.path, one.problem
        return "", self._missing(one.text, f", and {one.path} is named as well by another row")

    def _one(self, written: str) -> _Found:
        try:
            return self._find(written)
        except (OSError, ValueError) as error:  # a NUL, a name too long
            why = getattr(error, "strerror", None) or error
            return _Found(problem=f"missing: {written[:80]!r} is no file's name ({why})")

    def _find(self, written: str) -> _Found:
        if not written.strip():
            return _Found(problem="missing: no path, expected that of an image")
        root = os.path.normpath(self.root)
        for text in dict.fromkeys((written, written.strip(), written.strip().replace("\\", "/"))):
            path = Path(os.path.normpath(self.root / text))
            inside = path.is_relative_to(root)
            if not inside and (os.path.isabs(text) or ".." in PurePosixPath(text).parts):
                return _Found(problem=f"outside: {written} leads out of {self.root}")
            if inside and os.path.isfile(path):
                if self._leaves(path):
                    return _Found(problem="outside: the link leaves the dataset")
                found = path.relative_to(root).as_posix()
                return _Found(found, text=found)
        return self._by_end(path.relative_to(root).as_posix() if inside else text, text)

    def _leaves(self, path: Path) -> bool:
        return not os.path.realpath(path).startswith(os.path.join(self._real, ""))

    def _by_end(self, text: str, written: str) -> _Found:
        parts = text.split("/")
        ends = (text, *("/" + "/".join(parts[count:]) for count in range(1, len(parts))))
        for known in (self._names, self._stems):
            for end in ends:
                if len(found := known.get(end, ())) == 1:
                    return _Found(found[0], end.strip("/").count("/"), text)
                if found:
                    several = f", and several fit: {', '.join(found[:3])}"
                    return _Found(problem=self._missing(written, several))
        return _Found(problem=self._missing(written))

    def _missing(self, text: str, more: str = "") -> str:
        return f"missing: no file {text} in {self.root.name or self.root}/{more}"

    @cached_property
    def _walk(self) -> Walk:
        return Walk(self.root)

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return _by_ends((path, path) for path in self._walk.images)

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        """By paths without the file's suffix."""
        return _by_ends((path[: -len(PurePosixPath(path).suffix) or None], path) for path in self._walk.images)


class _Found(NamedTuple):
    """What a text means; `shared`: folders that it has in common with a path that was found by its end."""

    path: str = ""
    shared: float = inf
    text: str = ""
    problem: str = ""


def _by_ends(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """a/b.png -> the paths called b.png, a/b.png and, for the whole, /a/b.png."""
    found = defaultdict(list)
    for name, path in pairs:
        parts = ["", *name.split("/")]
        for count in range(len(parts)):
            found["/".join(parts[count:])].append(path)
    return dict(found)

"""Where a COVIDx folder keeps its label files and images, and which file a label line means."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from xray_debug.data.formats.covidx_labels import LabelError, has_image_suffix, parse_labels

_LABEL_FOLDERS = (".", "labels", "data")
_IMAGE_FOLDERS = {"train": ("train", "data/train"), "val": ("val", "data/val"),
                  "test": ("test", "data/test", "competition_test", "data/competition_test")}


@dataclass(frozen=True)
class DatasetFiles:
    """The label file and image folder of each split; `val` only where the dataset brings its own."""

    root: Path
    splits: dict[str, tuple[Path, Path]] = field(default_factory=dict)


def label_files(root: Path, split: str) -> list[Path]:
    """Label files that fit a split: those named after COVIDx, else those named after the split alone."""
    files = [path for folder in _LABEL_FOLDERS if (root / folder).is_dir()
             for path in sorted((root / folder).iterdir()) if path.suffix.lower() == ".txt" and path.is_file()]
    named = [path for path in files if split in path.stem.casefold()]
    covidx = [path for path in named if "covidx" in path.stem.casefold()]
    plain = [path for path in named if re.fullmatch(split + r"[\W_]*\w{0,12}", path.stem.casefold())]
    return covidx or plain


def _label_file(root: Path, split: str, given: str | None) -> Path | None:
    if given:
        if ".." in Path(given).parts or not Path(os.path.abspath(root / given)).is_relative_to(os.path.abspath(root)):
            raise LabelError(f"prepare.{split}_labels: expected a file inside the dataset {root}, got {given}")
        if not (root / given).is_file():
            raise LabelError(f"prepare.{split}_labels: no label file {given} in {root}")
        return root / given
    found = label_files(root, split)
    if len(found) > 1:
        names = ", ".join(path.relative_to(root).as_posix() for path in found)
        raise LabelError(f"{root}: several label files fit {split} ({names}), expected one; "
                         f"choose with prepare.{split}_labels")
    return found[0] if found else None


def find_split(root: str | Path, split: str, given: str | None = None) -> tuple[Path, Path] | None:
    """(label file, image folder) of one split, None without a label file; LabelError where it is not clear."""
    root = Path(root)
    labels = _label_file(root, split, given)
    if labels is None:
        return None
    folders = [root / name for name in _IMAGE_FOLDERS[split] if (root / name).is_dir()]
    if not folders:
        raise LabelError(f"{root}: no image folder for {split}, expected {' or '.join(_IMAGE_FOLDERS[split])}")
    if len(folders) > 1:  # the one that holds most of the named files; the earlier at a tie
        names = {row[1] for row in parse_labels(labels).rows}
        folders.sort(key=lambda folder: -len(names.intersection(os.listdir(folder))))
    return labels, folders[0]


def find_dataset(root: str | Path, train_labels: str | None = None, test_labels: str | None = None) -> DatasetFiles:
    """The splits of a COVIDx folder: train and test, and val where a label file and a folder of that name exist.

    Label files are *train*COVIDx*.txt and *test*COVIDx*.txt (else train*.txt, test*.txt) in the folder, its labels/
    or its data/; images lie in train/, test/, data/train, data/test or competition_test. LabelError, one sentence,
    where something is missing or several label files fit one split.
    """
    root = Path(root)
    if not root.is_dir():
        raise LabelError(f"{root}: no such dataset folder")
    splits = {}
    for split, given in (("train", train_labels), ("test", test_labels)):
        found = find_split(root, split, given)
        if found is None:
            raise LabelError(f"{root}: no label file for {split}, expected *{split}*COVIDx*.txt")
        splits[split] = found
    if any((root / name).is_dir() for name in _IMAGE_FOLDERS["val"]) and (found := find_split(root, "val")):
        splits["val"] = found
    return DatasetFiles(root, splits)


# --------------------------------------------------------------------------- from a written name to a file on disk


def _stem(name: str) -> str:
    return name[:name.rindex(".")] if has_image_suffix(name) else name


def _signs(name: str) -> str:
    """Brackets, spaces and underscores as hyphens: COVID(1) and "COVID 1" become COVID-1."""
    return re.sub(r"[\s_()\[\]-]+", "-", name).strip("-")


RULES = (  # what may differ between a label line and the file it means, tried in this order
    ("the case of the suffix", lambda name: _stem(name) + name[len(_stem(name)):].lower()),
    ("the suffix", _stem),
    ("brackets, spaces, underscores and hyphens", lambda name: _signs(_stem(name)) + name[len(_stem(name)):].lower()),
    ("brackets, spaces, underscores, hyphens and the suffix", lambda name: _signs(_stem(name))),
)


class ImageFolder:
    """The image files of one folder, found by the name a label line gives."""

    def __init__(self, folder: Path, root: Path):
        self.folder, self.root = folder, root
        self.names = {entry.name: entry.is_symlink() for entry in os.scandir(folder)
                      if entry.is_symlink() or entry.is_file()}
        self._keys: dict[str, dict[str, list[str]]] = {}

    def images(self) -> list[str]:
        return sorted(name for name in self.names if has_image_suffix(name))

    def _by_rule(self, rule: str, key) -> dict[str, list[str]]:
        if rule not in self._keys:
            table = defaultdict(list)
            for name in self.images():
                table[key(name)].append(name)
            self._keys[rule] = table
        return self._keys[rule]

    def resolve(self, name: str) -> tuple[str | None, str, str]:
        """(file name on disk or None, problem, note): the exact name, else the first of RULES that finds a file."""
        if name in self.names:
            return (None, "outside: the link leaves the dataset", "") if self._leaves(name) else (name, "", "")
        for rule, key in RULES:
            found = self._by_rule(rule, key).get(key(name), [])
            if len(found) > 1:
                return None, f"missing: no file {name} in {self.folder.name}/, and several fit: {', '.join(found)}", ""
            if found and not self._leaves(found[0]):
                return found[0], "", f"{name} read from {found[0]}, which differs in {rule}"
        return None, f"missing: no file {name} in {self.folder.name}/", ""

    def _leaves(self, name: str) -> bool:
        """Whether a link points outside the dataset and outside the image folder (which may itself be a link)."""
        if not self.names[name]:
            return False
        real = Path(os.path.realpath(self.folder / name))
        homes = (os.path.realpath(self.root), os.path.realpath(self.folder))
        return not any(real.is_relative_to(home) for home in homes)

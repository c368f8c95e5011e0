"""Where the files of a cleaned dataset lie and what they are called."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from xray_debug.data.files import name_of, plain_name
from xray_debug.data.images import JPEG_SUFFIXES

LOSSLESS_SUFFIXES = (".png", ".tif", ".tiff")


def image_folder(split: str, test_set: str) -> str:
    """Where an image lies in COVIDx++: train, test, or <test_set>/test for a further test set."""
    if split in ("train", "val"):
        return "train"
    return "test" if test_set in ("", "test") else f"{test_set}/test"


def label_file(folder: str) -> str:
    """The label file of an image folder: beside it, train_COVIDx.txt or test_COVIDx.txt."""
    return (PurePosixPath(folder).parent / f"{PurePosixPath(folder).name}_COVIDx.txt").as_posix()


def target_name(image_id: str, lossy: str, taken: set[str]) -> str:
    """The file name of a changed image: its own where its format can hold it, else the same with .png.

    Formats that lose (JPEG, WEBP) or are not written (DICOM, BMP, GIF) become PNG; JPEG stays with lossy="jpeg".
    It has 255 bytes at most (name_of). A name in `taken` (other images of the dataset, in casefold: some file systems
    know no capitals) is never given out.
    """
    suffix = Path(image_id).suffix.lower()
    if suffix in LOSSLESS_SUFFIXES or (suffix in JPEG_SUFFIXES and lossy == "jpeg"):
        return image_id
    stem = image_id[: len(image_id) - len(suffix)]
    name, number = name_of(stem, ".png"), 1
    while name.casefold() in taken:
        number += 1
        name = name_of(stem, f"_{number}.png")
    return name


def check_names(image_id: str, path: str, test_set: str) -> None:
    """ValueError: names from label files may not lead out of the folders they belong in."""
    if not plain_name(image_id):
        raise ValueError(f"image_id {image_id!r}: expected a plain file name")
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(f"{image_id}: path {path!r} leads out of the dataset")
    if test_set and (test_set.casefold() == "train" or not plain_name(test_set)):
        raise ValueError(f"test set {test_set!r}: expected a plain name other than train")


def check_outputs(sources: list[str], outs: list[Path], folders: list[str]) -> None:
    """ValueError where one of `folders` in an output folder is the folder of an original."""
    originals = {parent.resolve() for parent in {Path(source).parent for source in sources}}
    for out in outs:
        for folder in folders:
            if (out / folder).resolve() in originals:
                raise ValueError(f"{out / folder}: holds the original images, expected another output folder")

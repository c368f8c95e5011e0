"""Where the files of a cleaned dataset lie and what they are called."""

from __future__ import annotations

from pathlib import Path

from xray_debug.data.files import name_of, plain_name
from xray_debug.data.images import JPEG_SUFFIXES, SUFFIXES

LOSSLESS_SUFFIXES = (".png", ".tif", ".tiff")


def target_name(name: str, lossy: str, taken: set[str], dicom: bool = False, folder: str = "") -> str:
    """The file name of an image, changed or not: its own where its format is written, else the same with .png.

    One rule for all images, so that a format does not tell which was cleaned. Formats that lose (JPEG, WEBP) or are not
    written (BMP, GIF) become PNG; JPEG stays with lossy="jpeg", and a DICOM file is one. It has 255 bytes at most
    (name_of). A `folder` + name in `taken` (other images of the dataset, in casefold: some file systems know no
    capitals) is never given out.
    """
    suffix = Path(name).suffix.lower()
    if dicom or suffix in LOSSLESS_SUFFIXES or (suffix in JPEG_SUFFIXES and lossy == "jpeg"):
        return name
    stem = name[: len(name) - len(suffix)] if suffix in SUFFIXES else name
    found, number = name_of(stem, ".png"), 1
    while (folder + found).casefold() in taken:
        number += 1
        found = name_of(stem, f"_{number}.png")
    return found


def check_names(image_id: str, path: str, test_set: str) -> None:
    """ValueError: names from labels may not lead out of the folders they belong in; an image may lie in sub-folders."""
    own = (path, path.rpartition("/")[2])  # of a file that is there: any name that this system knows
    if image_id not in own and not all(plain_name(part) for part in image_id.split("/")):
        raise ValueError(f"image_id {image_id!r}: expected a plain file name, or one in folders below the dataset")
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

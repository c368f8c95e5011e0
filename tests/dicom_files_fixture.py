"""pydicom's own test files, which of them are read, and why the others are not."""

import re
from pathlib import Path

import pydicom

FOLDER = Path(pydicom.__file__).parent / "data/test_files"
FILES = {path.relative_to(FOLDER).as_posix(): path for path in sorted(FOLDER.rglob("*"))
         if path.suffix == ".dcm" or (path.is_file() and not path.suffix and path.name != "README")}  # fmt: skip

NO_PICTURE = "not a DICOM image (it has no Columns)"
REFUSED = {  # pattern of names -> what the sentence says
    r"dicomdirtests/(TINY_ALPHA/)?DICOMDIR.*": NO_PICTURE,
    r"dicomdirtests/TINY_ALPHA/PT.*": NO_PICTURE,
    r"(rtplan(_truncated)?|rtstruct|waveform_ecg|test-SR|reportsi(_with_empty_number_tags)?)\.dcm": NO_PICTURE,
    r"(UN_sequence|empty_charset_LEI|meta_missing_tsyntax|(nested_)?priv_SQ|no_meta_group_length)\.dcm": NO_PICTURE,
    r"ExplVR_(Big|Lit)EndNoMeta\.dcm": NO_PICTURE,
    r"no_meta\.dcm": "not an image that can be read, expected PNG, JPEG, TIFF or DICOM",  # a byte too many
    r"badVR\.dcm": "not a DICOM image (invalid literal for int() with base 10: '1A')",  # its number of frames
    r"SC_rgb_rle(_16bit|_32bit|)_2frame\.dcm": "2 frames, expected one radiograph",
    r"rtdose(_expb|_rle|)\.dcm": "15 frames, expected one radiograph",
    r"examples_ybr_color\.dcm": "30 frames, expected one radiograph",
    r"SC_rgb_rle_32bit\.dcm": "32-bit colour, expected 8 or 16 bits",
    r"MR_truncated\.dcm": "(The number of bytes of pixel data is less than expected (8130 vs 8192 bytes)",
    r"JPEG2000-embedded-sequence-delimiter\.dcm": "its picture has 3722445056 x 1024 pixels",
}


def refusal(name: str) -> str | None:
    return next((words for pattern, words in REFUSED.items() if re.fullmatch(pattern, name)), None)


READ = [name for name in FILES if refusal(name) is None]

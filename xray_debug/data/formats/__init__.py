"""Dataset formats: where images and labels lie, and the same layout written back."""

from xray_debug.data.formats import covidx, dicom, folders, table  # noqa: F401  registered by being imported
from xray_debug.data.formats.base import FORMATS, Format, LayoutError
from xray_debug.data.formats.reading import (
    build_manifest,
    check_dataset,
    find_format,
    format_of,
    images_folder,
    open_format,
    read_rows,
)

__all__ = ["FORMATS", "Format", "LayoutError", "build_manifest", "check_dataset", "find_format", "format_of",
           "images_folder", "open_format", "read_rows"]  # fmt: skip

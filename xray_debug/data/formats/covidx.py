"""COVIDx: label files and folders -> manifest; the same layout written back.

The parts: covidx_labels.py (a label file), covidx_files.py (a folder), manifest.py (the table), covidx_check.py (all
faults at once). Everything other modules use is importable from here.
"""

from xray_debug.data.formats.covidx_check import Finding, check_dataset
from xray_debug.data.formats.covidx_files import DatasetFiles, find_dataset, find_split
from xray_debug.data.formats.covidx_labels import (
           LabelError,
           parse_labels,
           read_labels,
           write_labels,
)
from xray_debug.data.manifest import MANIFEST_COLUMNS, build_manifest, cut_validation, scan_image

__all__ = ["MANIFEST_COLUMNS", "DatasetFiles", "Finding", "LabelError", "build_manifest", "check_dataset",
           "cut_validation", "find_dataset", "find_split", "parse_labels", "read_labels", "scan_image",
           "write_labels"]

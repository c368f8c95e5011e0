"""A synthetic COVIDx with planted markers, whose counterfactuals are exact."""

from xray_debug.phantom.case import SOURCES, PhantomCase, make_case
from xray_debug.phantom.dataset import PhantomWorker, finish_phantom, phantom_rows, write_phantom
from xray_debug.phantom.findings import CLASSES

__all__ = ["CLASSES", "SOURCES", "PhantomCase", "PhantomWorker", "finish_phantom", "make_case", "phantom_rows",
           "write_phantom"]  # fmt: skip

"""Repairs of a classifier besides cleaning its data: one file each, in the registry REPAIRS."""

# the order of these lines is that of tables and errors
# isort: off
from xray_debug.models.repairs import dfr
from xray_debug.models.repairs import reweight
from xray_debug.models.repairs import group_dro
from xray_debug.models.repairs import paste

# isort: on
from xray_debug.models.repairs.base import REPAIRS, Grouped, LastLayer, Repair, Training, repair_of_training

__all__ = ["REPAIRS", "Grouped", "LastLayer", "Repair", "Training", "dfr", "group_dro", "paste", "repair_of_training",
           "reweight"]

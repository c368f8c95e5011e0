"""report.json agrees with the schema that is published in docs/reference, whole, empty and with parts missing."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from report_fixture import STAGES, make_run, small_config

from xray_debug.report.report import write_report
from xray_debug.run.store import Store

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/report.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def faults(report: dict) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in VALIDATOR.iter_errors(report)]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    config = small_config(seeds=[0], report={"bootstrap": 100, "max_flagged": 1})
    store = make_run(tmp_path_factory.mktemp("runs") / "fake", config)
    return json.loads(write_report(store, config, STAGES).read_text(encoding="utf-8"))


def test_a_whole_report_agrees_and_every_section_is_described(report):
    Draft202012Validator.check_schema(SCHEMA)
    assert faults(report) == []
    assert set(report) == set(SCHEMA["properties"])
    filled = ("scores", "groups", "small_groups", "calibration", "differences", "left_out_sources", "flagged")
    assert all(report[name] for name in filled)


def test_an_empty_report_agrees(tmp_path):
    path = write_report(Store(tmp_path), small_config(report={"bootstrap": 100}), STAGES)
    assert faults(json.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(("place", "value"), [
    (("scores", 0, "auroc"), 1.2), (("groups", 0, "accuracy"), "good"), (("differences", 0, "p"), -0.1),
    (("classes",), None), (("calibration", 0, "bins", 0, "images"), 1.5),
])  # fmt: skip
def test_what_does_not_agree_is_found(report, place, value):
    wrong = copy.deepcopy({name: value[:1] if isinstance(value, list) else value for name, value in report.items()})
    inside = wrong
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = value
    (fault,) = faults(wrong)
    assert fault.startswith("$." + place[0])
    del inside[place[-1]]
    assert len(faults(wrong)) == 1  # nor may it be missing

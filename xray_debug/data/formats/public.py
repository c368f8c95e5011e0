"""Tables of public collections, known by the names of their columns: what a row of each says of its image.

The layouts are those that the collections are published with; docs/how-to/your-data.md lists their columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xray_debug.config import PrepareConfig
from xray_debug.data.manifest import ATTRIBUTE
from xray_debug.data.projection import said_together

Cells = dict[str, str]
YES, NO = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}
NONE = "No Finding"

CHEXPERT = ("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
            "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other",
            "Fracture", "Support Devices")  # fmt: skip


@dataclass(frozen=True)
class Collection:
    """A published table: the columns it is known by, those with the path and the patient, and what a row says.

    `says`: (cells, config) -> keys of data.manifest.ROW and attributes. `many_rows`: it gets all rows of an image.
    `test_list`: a file beside the table with the paths of the published test, one a line.
    """

    name: str
    known_by: tuple[str, ...]
    columns: dict[str, str]
    says: Callable[..., dict]
    many_rows: bool = False
    test_list: str = ""

    def row(self, cells: Cells | Sequence[Cells], config: PrepareConfig) -> dict:
        found = {"split": "", "patient_id": "", "label": "", "problem": ""} | self.says(cells, config)
        first = cells if isinstance(cells, dict) else cells[0]
        if not found["patient_id"] and "patient" in self.columns:
            found["patient_id"] = first[self.columns["patient"]]
        return found


def collection_of(columns: Sequence[str]) -> Collection | None:
    """The collection whose table has these columns, None for another table."""
    return next((known for known in COLLECTIONS if set(known.known_by) <= set(columns)), None)


def yes_or_no(finding: str, text: str, others: dict[str, str]) -> tuple[str, dict, str]:
    """(label, other findings, problem) of a cell of 0 or 1; a problem for another value."""
    value = text.casefold()
    if value in YES or value in NO:
        return (finding if value in YES else f"no {finding}"), others, ""
    return "", others, f"label: {finding} is {text or 'empty'}, expected 1 or 0"


def age_band(text: str) -> str:
    """Ten years: 50-59 for 58, 058Y or 058y; 0-9 for months, weeks and days; "" for what is no age."""
    found = re.fullmatch(r"\s*(\d{1,4})(?:\.\d+)?\s*([YMWD]?)\s*", text, re.IGNORECASE)
    if not found:
        return ""
    years = int(found[1]) // {"M": 12, "W": 52, "D": 365}.get(found[2].upper(), 1)
    return f"{years // 10 * 10}-{years // 10 * 10 + 9}"


def _attributes(**values: str) -> dict[str, str]:
    return {ATTRIBUTE + name: value for name, value in values.items()}


def _view_problem(*texts: str) -> str:
    """Set aside: what is said to be no frontal radiograph."""
    kind = said_together(texts)
    return f"view: {kind}, expected a frontal radiograph" if kind else ""


def _named(findings: set[str], config: PrepareConfig) -> tuple[str, str]:
    """(label, problem) of an image with these findings: the one asked for, or the only one."""
    if config.finding:
        there = config.finding.casefold() in {name.casefold() for name in findings}
        return (config.finding if there else f"no {config.finding}"), ""
    if len(findings) == 1:
        return next(iter(findings)), ""
    if not findings:
        return "", "label: no finding named"
    return "", (f"label: several findings ({', '.join(sorted(findings))}); ask for one of them with "
                "--set prepare.finding=NAME")  # fmt: skip


# ---------------------------------------------------------------------------------------------------- one by one


def _cohen(cells: Cells, config: PrepareConfig) -> dict:
    """Findings are paths (Pneumonia/Viral/COVID-19); without prepare.finding they become COVIDx's three classes."""
    finding, parts = cells["finding"], [part.strip() for part in cells["finding"].split("/")]
    problem = _view_problem(cells["view"], cells["modality"])
    if config.finding:
        label, wrong = _named(set(parts), config)
    else:
        label = ("COVID-19" if "COVID-19" in parts else "pneumonia" if parts[0] == "Pneumonia"
                 else "normal" if finding == NONE else "")  # fmt: skip
        wrong = "" if label else (f"label: {finding or 'no finding'} is neither {NONE} nor a pneumonia; ask with "
                                  f"--set prepare.finding={parts[-1] or 'NAME'}")  # fmt: skip
    more = _attributes(view=cells["view"], modality=cells["modality"], sex=cells.get("sex", ""),
                       age=age_band(cells.get("age", "")), location=cells.get("location", ""))  # fmt: skip
    return {"label": label, "problem": problem or wrong, **more}


def _nih(cells: Cells, config: PrepareConfig) -> dict:
    label, problem = _named({part.strip() for part in cells["Finding Labels"].split("|") if part.strip()}, config)
    sex = cells.get("Patient Gender", cells.get("Patient Sex", ""))
    more = _attributes(view=cells["View Position"], sex=sex, age=age_band(cells["Patient Age"]))
    return {"label": label, "problem": problem, **more}


def _chexpert(cells: Cells, config: PrepareConfig) -> dict:
    """Empty is not mentioned, which counts as 0; -1 (uncertain) is set aside."""
    finding = _one_of(CHEXPERT, config, "Pleural Effusion")
    value = cells[finding] or "0"
    label, _, problem = yes_or_no(finding, value, {})
    if value in ("-1", "-1.0"):
        problem = f"label: {finding} is uncertain (-1)"
    patient = re.search(r"patient\d+", cells["Path"])
    more = _attributes(view=cells["AP/PA"] or cells["Frontal/Lateral"], sex=cells["Sex"], age=age_band(cells["Age"]),
                       **{name: cells[name] for name in CHEXPERT if name != finding})  # fmt: skip
    return {"label": label, "problem": _view_problem(cells["Frontal/Lateral"]) or problem, **more,
            "patient_id": patient[0] if patient else ""}  # fmt: skip


def _one_of(names: Sequence[str], config: PrepareConfig, example: str) -> str:
    from xray_debug.data.formats.base import LayoutError

    found = [name for name in names if config.finding and name.casefold() == config.finding.casefold()]
    if not found:
        got = f", got {config.finding!r}" if config.finding else ""
        raise LayoutError(f"prepare.finding: expected one of {', '.join(names)}{got}; for example --set "
                          f"prepare.finding={example!r}")  # fmt: skip
    return found[0]


def _by_reader(rows: Sequence[Cells], findings_of: Callable[[Cells], set[str]]) -> list[set[str]]:
    """What each of an image's readers names."""
    readers: dict[str, set[str]] = {}
    for cells in rows:
        readers.setdefault(cells.get("rad_id", ""), set()).update(findings_of(cells))
    return list(readers.values())


def _vindr(readers: list[set[str]], config: PrepareConfig) -> dict:
    """What more than half of the readers say. Without prepare.finding the classes are `No finding` and `finding`.

    `finding` is any: readers who all see something, each something else, do not make a normal film.
    """
    if config.finding:
        named = [name for found in readers for name in found]
        label, problem = _named({name for name in named if 2 * named.count(name) > len(readers)}, config)
        return {"label": label, "problem": problem}
    any_finding = sum(bool(found - {"No finding"}) for found in readers)
    if 2 * any_finding == len(readers):
        return {"problem": f"label: {any_finding} of {len(readers)} readers name a finding, expected a majority"}
    return {"label": "finding" if 2 * any_finding > len(readers) else "No finding"}


def _vindr_boxes(rows: Sequence[Cells], config: PrepareConfig) -> dict:
    return _vindr(_by_reader(rows, lambda cells: {cells["class_name"]} - {""}), config)


def _vindr_images(rows: Sequence[Cells], config: PrepareConfig) -> dict:
    named = [name for name in rows[0] if name not in ("image_id", "rad_id", "")]
    return _vindr(_by_reader(rows, lambda cells: {name for name in named if cells[name].casefold() in YES}), config)


def _rsna(rows: Sequence[Cells], config: PrepareConfig) -> dict:
    finding = _one_of(("pneumonia",), config, "pneumonia") if config.finding else "pneumonia"
    label, _, problem = yes_or_no(finding, rows[0]["Target"], {})
    return {"label": label, "problem": problem}


COLLECTIONS = (
    Collection("ieee8023/covid-chestxray-dataset", ("patientid", "finding", "view", "modality", "filename"),
               {"path": "filename", "patient": "patientid"}, _cohen),
    Collection("NIH ChestX-ray14", ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"),
               {"path": "Image Index", "patient": "Patient ID"}, _nih, test_list="test_list.txt"),
    Collection("CheXpert", ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT), {"path": "Path"}, _chexpert),
    Collection("VinDr-CXR, boxes", ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max"),
               {"path": "image_id"}, _vindr_boxes, many_rows=True),
    Collection("VinDr-CXR, images", ("image_id", "Aortic enlargement", "No finding"), {"path": "image_id"},
               _vindr_images, many_rows=True),
    Collection("RSNA Pneumonia Detection Challenge", ("patientId", "x", "y", "width", "height", "Target"),
               {"path": "patientId", "patient": "patientId"}, _rsna, many_rows=True),
)  # fmt: skip

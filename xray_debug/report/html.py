"""report.html from the report's dictionary: one file, pictures inside, nothing fetched, no scripts.

Every text is escaped by the template engine; numbers pass the functions of report/format.py. What folds is a `details`,
what opens large is an anchor; links lead into the page or to the review app on this machine.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import NormalDist
from urllib.parse import urlencode

from jinja2 import Template

from xray_debug.audit.hypotheses import MIN_CASES
from xray_debug.report.cases import HEAT
from xray_debug.report.clusters import candidate_rows, sheet_bytes
from xray_debug.report.explanations import MEASURES, SANITY
from xray_debug.report.glossary import GLOSSARY, glossary
from xray_debug.report.groups import LEAST, whole_groups, worst_groups
from xray_debug.report.repairs import shortcut_name
from xray_debug.report.strips import strip_pictures
from xray_debug.report.template import page_environment, unique
from xray_debug.report.words import AS_GIVEN, answer_of, as_told
from xray_debug.stats.intervals import LEVEL
from xray_debug.stats.scores import VERSIONS

APP = "http://localhost:8501"  # where `xray-debug review` serves the app
POWER = 0.8  # how often an effect of the size that "could have been shown" would be
STRONGEST = 3  # cases on the first screen
KIND_NOTE = ("By the shape and place of the boxes alone; images, or patients, whose visible text is all of one kind. "
             "It describes the question on text and tests nothing of its own.")  # fmt: skip


def render_html(report: dict, folder: str | Path) -> str:
    """The page; pictures are read from `folder` (where report["figures"] and the cases' figures lie)."""
    folder = Path(folder)

    @cache
    def strip(name: str, count: int) -> list[str]:
        return [data_uri(picture, "webp") for picture in strip_pictures(folder / name, count)]

    def panel_uris(case: dict) -> list[str]:
        return strip(case["figure"], len(case["panels"]))

    report = as_told(report)
    return _template().render(
        report=report, panel_uris=panel_uris, strongest=lambda: strongest(report["flagged"], panel_uris),
        picture=lambda name: data_uri((folder / name).read_bytes()),
        sheet=lambda name: data_uri(sheet_bytes(folder / name), "webp"),
    )  # fmt: skip


@cache
def _template() -> Template:
    environment = page_environment()
    environment.globals |= {"answer_of": answer_of, "app_link": app_link, "counted": counted,
                            "glossary": glossary, "verdict_rows": verdict_rows,
                            "kind_rows": kind_rows, "KIND_NOTE": KIND_NOTE, "candidate_rows": candidate_rows,
                            "model_rows": model_rows, "test_names": test_names, "spoken_for": spoken_for, "flat": flat,
                            "textless_rows": textless_rows, "shortcut_name": shortcut_name,
                            "unit_of": unit_of, "GLOSSARY": GLOSSARY,
                            "worst_groups": worst_groups, "whole_groups": whole_groups, "LEAST": LEAST,
                            "MEASURES": MEASURES, "SANITY": SANITY}  # fmt: skip
    return environment.get_template("report.html")


def data_uri(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")


def strongest(flagged: list[dict], panel_uris: Callable[[dict], list[str]], count: int = STRONGEST) -> list[dict]:
    """The first cases whose map can be shown, then the first of the others: with number, picture and its title."""
    numbered = [{**case, "number": number} for number, case in enumerate(flagged, 1)]
    chosen = sorted(numbered, key=lambda case: (_heat(case) is None, case["number"]))[:count]
    for case in chosen:
        place = _heat(case) or 0
        case["picture"] = panel_uris(case)[place] if case["figure"] else None
        case["title"] = case["panels"][place]["title"] if case["figure"] else ""
    return chosen


def _heat(case: dict) -> int | None:
    """Which of the case's pictures is the overlay."""
    return next((place for place, panel in enumerate(case["panels"]) if panel["title"] == HEAT), None)


def app_link(image_id: str) -> str:
    """The case in the review app, where that runs on this machine as `xray-debug review` starts it."""
    return f"{APP}/?{urlencode({'case': image_id})}"


def counted(rows: list[dict], key: str) -> str:
    """How many rows there are of each value, the most frequent first: "text 3, absence of text 2"."""
    return ", ".join(f"{value} {number}" for value, number in Counter(row[key] for row in rows).most_common())


def flat(config: dict, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as ("a.b", "value as JSON") lines."""
    lines = []
    for key, value in config.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else []
        lines += inner or [(f"{prefix}{key}", json.dumps(value, ensure_ascii=False))]
    return lines


def test_names(no_evidence: dict) -> list[str]:
    """Test sets for which some baseline gives an accuracy, in order of appearance, the usual one first."""
    names = dict.fromkeys(name for row in no_evidence["predictors"].values() for name in row.get("test") or {})
    return sorted(names, key=lambda name: name != "test")


def spoken_for(row: dict) -> str:
    """The class that a baseline tells best, and the category that is most its own; "" where it tells nothing."""
    found = (row.get("speaks_for") or {}) if row.get("p_adjusted", 1) <= 1 - LEVEL + 1e-12 else {}
    return found.get("label", "") + (f" ({found['category']})" if found.get("category") else "")


def model_rows(report: dict) -> list[dict]:
    """The trained models' accuracy on the original test images, to stand beside the baselines."""
    rows = [row for row in report["table4"] if row["tested_on"] == "original"]
    return [
        {"name": "the model as given" if trained == AS_GIVEN else f"model trained on {trained} images"
                 if trained in VERSIONS else f"model repaired by {trained}",
         "sets": {row["test_set"]: row for row in rows if row["trained_on"] == trained}}
        for trained in unique(rows, "trained_on")
    ]  # fmt: skip


def verdict_rows(verdict: dict | None, min_effect: float = 0.0) -> list[dict]:
    """One line per test set, class and question, with what it `could_show`; empty where the verdict has another shape.

    `min_effect`: audit.min_effect of the run."""
    rows = []
    for name, found in _sets(verdict):
        if found.get("overall"):
            rows.append({"test_set": name, "label": "all classes", "question": "text",
                         **_answer(found["overall"], "text")})  # fmt: skip
    for test_set, label, entry in _judged(verdict):
        asked = {"text": entry.get("text"), "absence of text": entry.get("absence")}
        asked |= {f"region {name}": part for name, part in (entry.get("regions") or {}).items()}
        asked |= {f"{kind}: {name}": part for kind in ("look", "laterality")
                  for name, part in (entry.get(kind) or {}).items()}
        for question, part in asked.items():
            if isinstance(part, dict) and "shown" in part:
                rows.append({"test_set": test_set, "label": label, "question": question, **_answer(part, question)})
    for name, found in _sets(verdict):
        for row in rows:
            if row["test_set"] == name:
                row["could_show"] = could_show(row, found, min_effect)
    return rows


def could_show(row: dict, verdict: dict, min_effect: float) -> float | None:
    """The difference that as many images would show in about 80 of 100 repetitions; None where none could be shown: too
    few images, also for a p that is corrected for so many questions, or nothing was changed in them.

    By the normal approximation, with the larger of the standard errors of difference and separation, taken from their
    intervals: (z(1 - alpha / questions) + z(.8)) of them, and z(.8) beyond what the verdict asks of the measured mean
    (`min_effect`, half of it for text and its absence). It errs on the small side where an effect varies more among
    images than its absence does, and for look and side, of which more is asked. `verdict`: the test set's.
    """
    asked, level, normal = verdict.get("hypotheses") or 0, verdict.get("level") or LEVEL, NormalDist()
    found = [row[name] for name in ("difference", "separation") if row[name]]
    found = [part for part in found if part.get("low") is not None and part.get("high") is not None]
    if not asked or not found or row["n"] < MIN_CASES or 0.5 ** row["n"] > (1 - level) / asked:
        return None
    error = max(part["high"] - part["low"] for part in found) / (2 * normal.inv_cdf((1 + level) / 2))
    if not math.isfinite(error) or error <= 0:
        return None
    least, power = min_effect * (0.5 if row["question"] in ("text", "absence of text") else 1.0), normal.inv_cdf(POWER)
    return max((normal.inv_cdf(1 - (1 - level) / asked) + power) * error, least + power * error)


def could_show_said(rows: list[dict]) -> str:
    """What the lines that are not shown could have shown, as the end of a sentence; "" where nothing is known of it."""
    values = [row["could_show"] for row in rows if row["could_show"] is not None]
    if not values:
        return ""
    return f"; the smallest differences that so few images could have shown: {min(values):.2f} to {max(values):.2f}"


def unit_of(rows: list[dict]) -> str:
    """What lines of the verdict count, the head of their column: images, patients, or both."""
    return " or ".join(dict.fromkeys(row.get("unit") or "images" for row in rows)) or "images"


def kind_rows(verdict: dict | None) -> list[dict]:
    """The answers on text by kind of text: a line per test set, class and kind that there are images enough of."""
    rows = []
    for test_set, found in _sets(verdict):
        parts = {"all classes": found.get("overall") or {}}
        parts |= {label: entry.get("text") or {} for label, entry in (found.get("classes") or {}).items()}
        rows += [{"test_set": test_set, "label": label, "kind": kind, "unit": part.get("unit"), **numbers}
                 for label, part in parts.items() for kind, numbers in (part.get("kinds") or {}).items()]  # fmt: skip
    return rows


def _judged(verdict: dict | None) -> list[tuple[str, str, dict]]:
    """(test set, class, what was found of it)."""
    return [(name, label, entry) for name, found in _sets(verdict)
            for label, entry in (found.get("classes") or {}).items()]  # fmt: skip


def _sets(verdict: dict | None) -> list[tuple[str, dict]]:
    """(test set, its verdict), the usual one first."""
    sets = (verdict or {}).get("test_sets") or ({"test": verdict} if verdict else {})
    return sorted(sets.items(), key=lambda pair: (pair[0] != "test", pair[0]))


def textless_rows(verdict: dict | None) -> list[dict]:
    """How often images of a class, and those of the others, show no text; empty where the verdict does not say."""
    rows = []
    for test_set, label, entry in _judged(verdict):
        absence = entry.get("absence") or {}
        if absence.get("textless_here") and absence.get("textless_elsewhere"):
            rows.append({"test_set": test_set, "label": label, "here": absence["textless_here"],
                         "elsewhere": absence["textless_elsewhere"]})  # fmt: skip
    return rows


def _answer(part: dict, question: str) -> dict:
    names = {"text": "relies on text", "absence of text": "relies on its absence"}
    keys = ("n", "unit", "effect", "control", "difference", "separation", "p_adjusted")
    found = {name: part.get(name) for name in keys}
    said = names.get(question, "relies on it") if part["shown"] else "not shown"
    return {**found, "shown": part["shown"], "words": said}

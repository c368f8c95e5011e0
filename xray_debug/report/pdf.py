"""report.pdf from the report's dictionary: what the page says, on at most six pages of paper; no browser is needed."""

from __future__ import annotations

from pathlib import Path

from xray_debug.report.clusters import candidate_rows
from xray_debug.report.explanations import MEASURES, SANITY
from xray_debug.report.format import count, decimal, duration, p_value, percent, points, rate, signed
from xray_debug.report.glossary import glossary
from xray_debug.report.groups import worst_groups
from xray_debug.report.html import (
    KIND_NOTE,
    app_link,
    could_show_said,
    counted,
    kind_rows,
    spoken_for,
    test_names,
    unit_of,
    verdict_rows,
)
from xray_debug.report.paper import BLUE, SMALL, SOFT, Paper
from xray_debug.report.template import unique
from xray_debug.report.words import answer_of, as_told, test_name

PAGES = 6
CASES = 4
CASE = 52  # mm that one takes
GROUPS = 4  # the worst
FEW = 8  # classes of which a confusion matrix can be read on paper


def render_pdf(report: dict, folder: str | Path) -> bytes:
    """The document; pictures are read from `folder`. The same report gives the same bytes."""
    report = as_told(report)
    folder, paper = Path(folder), Paper(f"xray-debug report: {report['name']}", PAGES)
    _first(paper, report, folder)
    for part in (_cases, _verdict, _no_evidence, _features, _clusters, _scores, _rankings, _classes, _cleaning,
                 _explanations, _calibration, _rest):  # fmt: skip
        part(paper, report, folder)
    return paper.write()


def _interval(row: dict | None, name: str, form=percent, start: str | None = None) -> str:
    start = f"{name}_" if start is None else start
    if not row or row.get(name) is None:
        return "–"
    return f"{form(row[name])} ({form(row[start + 'low'])} to {form(row[start + 'high'])})"


def _first(paper: Paper, report: dict, folder: Path) -> None:
    paper.paragraph(f"{report['name']}: what the classifier owes to text", 14, bold=True)
    paper.paragraph(f"Report of xray-debug. Intervals are {count(100 * report['level'])} %.", SMALL, colour=SOFT)
    answer = answer_of(report)
    paper.paragraph(answer["text"], 12, bold=True, colour=BLUE, fill=True)
    for entry in report["headline"]:
        if entry != answer:
            paper.paragraph(f"– {entry['text']}")
    if report["table4"]:
        paper.heading("Before and after cleaning", 55)
        if "table4" in report["figures"]:
            paper.picture(folder / report["figures"]["table4"], 150, 62)


def _cases(paper: Paper, report: dict, folder: Path) -> None:
    if not report["flagged"]:
        return
    paper.heading("The strongest cases", 55)
    for number, case in enumerate(report["flagged"][:CASES], 1):
        paper.room(CASE if case["figure"] else 10)  # a name is not parted from its pictures
        paper.paragraph(f"{number}. {case['image_id']}", bold=True, colour=BLUE, link=app_link(case["image_id"]))
        paper.paragraph(case["reasons"], SMALL + 0.5)
        if case["figure"]:
            paper.picture(folder / case["figure"], paper.epw, 40, lossy=True)
    left = report["flagged_counts"]["flagged"] - min(len(report["flagged"]), CASES)
    if left:
        paper.paragraph(f"{left} more in report.html and the review app (a name leads there while it runs).", SMALL,
                        colour=SOFT)  # fmt: skip


def _verdict(paper: Paper, report: dict, folder: Path) -> None:
    rows = verdict_rows(report["verdict"], report["config"]["audit"]["min_effect"])
    if not rows:
        return
    paper.heading("Verdict in numbers")
    shown, rest = [row for row in rows if row["shown"]], [row for row in rows if not row["shown"]]
    names = ("effect", "control", "difference", "separation")
    lines = [[row["test_set"], row["label"], row["question"], count(row["n"]),
              *(_interval(row[name], "value", signed, "") for name in names), p_value(row["p_adjusted"]), row["words"]]
             for row in shown or rest]  # fmt: skip
    head = ["test set", "class", "question", unit_of(shown or rest), *names, "p (Holm)", "verdict"]
    paper.table(head, lines, SMALL - 0.8)
    if rest:
        paper.paragraph(f"Not shown: {len(rest)} of {len(rows)} questions ({counted(rest, 'question')})"
                        f"{could_show_said(rest)}.", SMALL)  # fmt: skip
    if kinds := kind_rows(report["verdict"]):
        paper.table(["test set", "class", "kind of text", unit_of(kinds), *names[:3]],
                    [[row["test_set"], row["label"], row["kind"], count(row["n"]),
                      *(_interval(row[name], "value", signed, "") for name in names[:3])] for row in kinds],
                    SMALL - 0.8)  # fmt: skip
        paper.paragraph(KIND_NOTE, SMALL)


def _no_evidence(paper: Paper, report: dict, folder: Path) -> None:
    found = report["no_evidence"]
    if not found or not isinstance(found.get("predictors"), dict):
        return
    sets = test_names(found)
    paper.heading("What can be guessed without looking at the lungs")
    rows = [[name, percent(row["mean_recall"]), percent(row["chance"]),
             p_value(row.get("p_adjusted", row["p"])), spoken_for(row),
             *(_interval((row.get("test") or {}).get(s), "value", percent, "") for s in sets)]
            for name, row in found["predictors"].items()]  # fmt: skip
    paper.table(["guess from", "mean recall, %", "by chance, %", "p (Holm)", "speaks for",
                 *(f"accuracy on {s}, %" for s in sets)], rows)


def _features(paper: Paper, report: dict, folder: Path) -> None:
    found = report["features"] or {}
    if not found.get("rows"):
        return
    paper.heading("What the model's features tell besides the class (suspicions)")
    rows = [[row["name"], count(row["images"]),
             *(_interval(row[kind], "value", percent, "") for kind in ("features", "pixels", "label")),
             p_value(row["p_adjusted"])] for row in found["rows"]]  # fmt: skip
    paper.table(["what is read", "images", "features, AUROC, %", "pixels", "label alone", "p beyond the label (Holm)"],
                rows, SMALL)


def _clusters(paper: Paper, report: dict, folder: Path) -> None:
    lines = candidate_rows(report["clusters"])
    if lines:
        paper.heading("Candidates that nobody named (suspicions)")
        paper.table(["candidate", "found by", "class", "images", "share, %", "where, or how often wrong",
                     "goes along with"],
                    [[row["name"], row["by"], row["label"], row["images"], percent(row["share"]), row["where"],
                      row["with"] or "–"] for row in lines], SMALL)  # fmt: skip


def _scores(paper: Paper, report: dict, folder: Path) -> None:
    if not report["table4"]:
        return
    paper.heading("Before and after cleaning in numbers")
    metrics = ("accuracy", "f1", "precision", "recall")
    rows = [[row["test_set"], row["trained_on"], row["tested_on"], *(_interval(row, name) for name in metrics),
             count(row["seeds"]), count(row["images"])] for row in report["table4"]]  # fmt: skip
    paper.table(["test set", "trained on", "tested on", "accuracy, %", "macro F1, %", "precision, %", "recall, %",
                 "seeds", "images"], rows)  # fmt: skip
    told = [row for row in report["differences"] if row["wording"] in ("improves", "worsens")]
    if told:
        paper.table(["what changes", "test set", "accuracy, points", "p (Holm)", "reads as"],
                    [[row["what"], row["test_set"], _interval(row, "accuracy", points), p_value(row["p_holm"]),
                      row["wording"]] for row in told])  # fmt: skip
    left = len(report["differences"]) - len(told)
    if left:
        paper.paragraph(f"No difference can be shown in {left} of {len(report['differences'])} comparisons.", SMALL)


def _rankings(paper: Paper, report: dict, folder: Path) -> None:
    rows = [row for row in report["scores"] if row["tested_on"] == "original"]
    if rows:
        paper.heading("Scores on the original test images, means over classes")
        named = ("auroc", "auprc", "sensitivity_at_90", "sensitivity_at_95")
        paper.table(["test set", "trained on", "AUROC, %", "AUPRC, %", "sensitivity at specificity 90 %, %",
                     "at 95 %, %"],
                    [[row["test_set"], row["trained_on"], *(_interval(row, name) for name in named)]
                     for row in rows])  # fmt: skip
    worst = worst_groups(report, GROUPS)[:1]
    if worst:
        paper.heading(f"The worst groups, {test_name(worst[0]['test_set'])}")
        paper.table(["attribute", "group", "class", "images", "accuracy, %", "AUROC, %", "overconfidence, points"],
                    [[row["attribute"], row["value"], row["label"], count(row["images"]), _interval(row, "accuracy"),
                      _interval(row, "auroc"), _interval(row, "overconfidence", points)]
                     for row in worst[0]["rows"]])  # fmt: skip


def _classes(paper: Paper, report: dict, folder: Path) -> None:
    rows = [row for row in report["per_class"] if row["tested_on"] == "original"]
    if not rows:
        return
    trained = unique(rows, "trained_on")
    paper.heading("Sensitivity on the original test images, %")
    lines = []
    for test_set in unique(rows, "test_set"):
        for name in unique(rows, "class"):
            own = {row["trained_on"]: row for row in rows if (row["test_set"], row["class"]) == (test_set, name)}
            images = next((count(row["images"]) for row in own.values()), "–")
            lines.append([test_set, name, images, *(_interval(own.get(t), "sensitivity") for t in trained)])
    paper.table(["test set", "class", "images", *(f"trained on {name}" for name in trained)], lines)
    if "confusion" in report["figures"] and len(report["classes"]) <= FEW:
        paper.heading("Confusion matrices, % of each true class", 60)
        paper.picture(folder / report["figures"]["confusion"], paper.epw, 95)


def _cleaning(paper: Paper, report: dict, folder: Path) -> None:
    if not report["repaired"]:
        return
    paper.heading("What cleaning did")
    rows = [["class" if row["group"] == "label" else row["group"], row["name"], count(row["images"]),
             _interval(row, "share"), decimal(100 * row["area"])] for row in report["repaired"]["rows"]]  # fmt: skip
    paper.table(["of", "", "images", "cleaned, %", "mean area, %"], rows)
    if report["repaired"]["kept"]:
        paper.paragraph(report["repaired"]["kept"]["text"], SMALL)
    if report["residual"]:
        row = report["residual"]["rows"][0]
        paper.paragraph(f"A second detector ({report['residual']['detector']}) still reads text in "
                        f"{count(row['with_text'])} of {count(row['images'])} cleaned images.")  # fmt: skip
    if report["second_reader"]:
        paper.paragraph(" ".join(report["second_reader"]["says"]), SMALL)


def _explanations(paper: Paper, report: dict, folder: Path) -> None:
    found = report["explanations"]
    if not found:
        return
    paper.heading("Explanations")
    paper.paragraph(f"{count(found['cases'])} cases explained with {found['method']}; the masks of "
                    f"{count(found['hardly_moved'])} hardly moved.")  # fmt: skip
    rows = [[name, _interval(part[key], "value", decimal, ""), count(part[key]["cases"]), says]
            for part, names in ((found, MEASURES), (found["sanity"] or {}, SANITY))
            for key, (name, says) in names.items() if part.get(key)]  # fmt: skip
    paper.table(["measure", "mean", "cases", "what it says"], rows)
    if "curves" in report["figures"]:
        paper.picture(folder / report["figures"]["curves"], 80)


def _calibration(paper: Paper, report: dict, folder: Path) -> None:
    if not report["calibration"]:
        return
    paper.heading("Calibration")
    rows = [[row["test_set"], row["trained_on"], row["tested_on"], _interval(row, "ece"),
             percent(row["ece_calibrated"]), percent(row["confidence"]), percent(row["accuracy"]),
             _interval(row, "brier", decimal)] for row in report["calibration"]]  # fmt: skip
    paper.table(["test set", "trained on", "tested on", "calibration error, %", "a calibrated model stays below, %",
                 "mean confidence, %", "accuracy, %", "Brier score"], rows)  # fmt: skip


def _rest(paper: Paper, report: dict, folder: Path) -> None:
    """Faults, time and memory, what is not shown, the glossary."""
    if report["faults"]:
        paper.heading("Faults set aside", 6)
        found = report["faults"]
        paper.paragraph(f"{count(found['set_aside'])} of {count(found['images'])} listed images were set aside"
                        + "".join(f"; {row['problem']}: {count(row['images'])}" for row in found["kinds"]) + ".")
    if report["timings"]:
        paper.heading("Time and memory")
        paper.table(["stage", "seconds", "images", "images per second", "peak memory, MB"],
                    [[row["stage"], duration(row["seconds"]), count(row["images"]), rate(row["images_per_second"]),
                      count(row["peak_memory_mb"])] for row in report["timings"]])  # fmt: skip
    if report["not_shown"]:
        paper.heading("Not shown", 6)
        for entry in report["not_shown"]:
            paper.paragraph(f"– {entry['what']}: {entry['why']}", SMALL)
    paper.heading("Glossary")
    for word, line in glossary(report):
        paper.paragraph(f"{word}: {line}.", SMALL)
    tests = ", ".join(f"{name}: {test_name(name)}" for name in unique(report["table4"], "test_set"))
    if tests:
        paper.paragraph(f"Test sets. {tests}.", SMALL)

"""report.md: the report's main tables for a pull request or a notebook; every text is escaped."""

from __future__ import annotations

from xray_debug.report.clusters import candidate_rows
from xray_debug.report.explanations import MEASURES, SANITY
from xray_debug.report.format import count, decimal, duration, p_value, percent, points, rate, signed
from xray_debug.report.groups import LEAST, worst_groups
from xray_debug.report.html import (
    KIND_NOTE,
    could_show_said,
    counted,
    kind_rows,
    spoken_for,
    test_names,
    unit_of,
    verdict_rows,
)
from xray_debug.report.marks import interval as _interval
from xray_debug.report.marks import table as _table
from xray_debug.report.marks import text as _text
from xray_debug.report.repairs import shortcut_name
from xray_debug.report.words import as_told, test_name
from xray_debug.run.store import OUTPUTS

SHOWN_CASES = 6
SHOWN_GROUPS = 3


def render_markdown(report: dict) -> str:
    """The report in GitHub's Markdown; pictures are links into figures/."""
    report = as_told(report)
    parts = [f"# {_text(report['name'])}: what the classifier owes to text", *_headline(report), *_no_evidence(report),
             *_features(report), *_clusters(report),
             *_verdict(report), *_table4(report), *_differences(report), *_scores(report), *_left_out(report),
             *_repairs(report),
             *_repaired(report), *_explanations(report), *_flagged(report), *_cost(report),
             *_not_shown(report)]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _headline(report: dict) -> list[str]:
    return ["\n".join(f"- {_text(entry['text'])}" for entry in report["headline"])]


def _no_evidence(report: dict) -> list[str]:
    found = report["no_evidence"]
    if not found or not isinstance(found.get("predictors"), dict):
        return []
    sets = test_names(found)
    rows = []
    for name, row in found["predictors"].items():
        tests = [_interval((row.get("test") or {}).get(s) or {}, "value", percent, "") for s in sets]
        rows.append([_text(name), percent(row["mean_recall"]), percent(row["chance"]),
                     p_value(row.get("p_adjusted", row["p"])), _text(spoken_for(row)), *tests])  # fmt: skip
    head = ["guess from", "mean recall, %", "by chance, %", "p (Holm)", "speaks for",
            *(f"accuracy on {_text(s)}, %" for s in sets)]
    return ["## What can be guessed without looking at the lungs", _table(head, rows)]


def _features(report: dict) -> list[str]:
    found = report["features"] or {}
    if not found.get("rows"):
        return []
    rows = [[_text(row["name"]), count(row["images"]),
             *(_interval(row[kind], "value", percent, "") for kind in ("features", "pixels", "label")),
             p_value(row["p_adjusted"])] for row in found["rows"]]  # fmt: skip
    head = ["what is read", "images", "features, AUROC, %", "pixels", "label alone", "p beyond the label (Holm)"]
    told = "Suspicions: a network that knows these could go by them; whether it does, the verdict says."
    return ["## What the model's features tell besides the class", told, _table(head, rows)]


def _clusters(report: dict) -> list[str]:
    found, lines = report["clusters"], candidate_rows(report["clusters"])
    if not found or not lines:
        return []
    rows = [[_text(row["name"]), row["by"], _text(row["label"]), row["images"], percent(row["share"]), row["where"],
             _text(row["with"] or "–")] for row in lines]  # fmt: skip
    head = ["candidate", "found by", "class", "images", "share, %", "where, or how often wrong", "goes along with"]
    return ["## Candidates that nobody named (suspicions)", found["note"], _table(head, rows)]


def _verdict(report: dict) -> list[str]:
    found, rows = verdict_rows(report["verdict"], report["config"]["audit"]["min_effect"]), []
    rest = [row for row in found if not row["shown"]]
    told = [row for row in found if row["shown"]] or rest
    for row in told:
        shown = [_interval(row[name] or {}, "value", lambda v: f"{v:+.2f}", "") for name in ("effect", "control")]
        rows.append([_text(row["test_set"]), _text(row["label"]), _text(row["question"]), count(row["n"]), *shown,
                     p_value(row["p_adjusted"]), signed(row["could_show"]), _text(row["words"])])  # fmt: skip
    head = ["test set", "class", "question", unit_of(told), "effect", "controls", "p (adjusted)", "could have shown",
            "verdict"]  # fmt: skip
    folded = (f"Not shown: {len(rest)} of {len(found)} questions ({_text(counted(rest, 'question'))})"
              f"{could_show_said(rest)}.")  # fmt: skip
    parts = ["## Verdict", _table(head, rows)] if rows else []
    return [*parts, *([folded] if 0 < len(rest) < len(found) else []), *_kinds(report)]


def _kinds(report: dict) -> list[str]:
    found = kind_rows(report["verdict"])
    rows = [[_text(row["test_set"]), _text(row["label"]), _text(row["kind"]), count(row["n"]),
             *(_interval(row[name], "value", signed, "") for name in ("effect", "control", "difference"))]
            for row in found]  # fmt: skip
    head = ["test set", "class", "kind of text", unit_of(found), "effect", "controls", "difference"]
    return [_table(head, rows), KIND_NOTE] if rows else []


def _table4(report: dict) -> list[str]:
    if not report["table4"]:
        return []
    metrics = ("accuracy", "f1", "precision", "recall")
    rows = [
        [_text(row["test_set"]), _text(row["trained_on"]), _text(row["tested_on"]),
         *(_interval(row, name) for name in metrics), percent(row["accuracy_spread"]), count(row["seeds"]),
         count(row["images"])]
        for row in report["table4"]
    ]  # fmt: skip
    rows += [["the paper", _text(row["dataset"]), "", *(f"{100 * row[name]:.2f}" for name in metrics), "", "", ""]
             for row in report["reference"]]  # fmt: skip
    head = ["test set", "trained on", "tested on", "accuracy, %", "macro F1, %", "precision, %", "recall, %",
            "spread over seeds, points", "seeds", "images"]  # fmt: skip
    parts = ["## Before and after cleaning", _table(head, rows)]
    if "table4" in report["figures"]:
        parts.append(f"![accuracy with intervals]({report['figures']['table4']})")
    return parts


def _differences(report: dict) -> list[str]:
    rows = [
        [_text(row["what"]), _text(row["test_set"]), _interval(row, "accuracy", points), _interval(row, "f1", points),
         p_value(row["p_holm"]), _text(row["wording"])]
        for row in report["differences"] if row["wording"] in ("improves", "worsens")
    ]  # fmt: skip
    head = ["what changes", "test set", "accuracy, points", "macro F1, points", "p (Holm)", "reads as"]
    total = len(report["differences"])
    parts = ["### Differences, on the same images", *([_table(head, rows)] if rows else [])]
    parts += [f"No difference can be shown in {total - len(rows)} of {total} comparisons."] if len(rows) < total else []
    return parts if total else []


def _scores(report: dict) -> list[str]:
    named = ("auroc", "auprc", "sensitivity_at_90", "sensitivity_at_95")
    first = next(((row["trained_on"], row["tested_on"]) for row in report["scores"]), ("", ""))
    rows = [[_text(row["test_set"]), _text(row["trained_on"]), _text(row["tested_on"]), name, count(line["images"]),
             *(_interval(line, measure) for measure in named)]
            for row in report["scores"] for name, line in _ranked(row, first)]  # fmt: skip
    head = ["test set", "trained on", "tested on", "class", "images", "AUROC, %", "AUPRC, %",
            "sensitivity at specificity 90 %, %", "at 95 %, %"]  # fmt: skip
    return [*(["## Scores", _table(head, rows)] if rows else []), *_worst(report)]


def _ranked(row: dict, first: tuple[str, str]) -> list[tuple[str, dict]]:
    """The means over classes of a model, and its classes where it is the first there is."""
    each = row["classes"] if (row["trained_on"], row["tested_on"]) == first else []
    return [("mean over classes", row), *((_text(line["class"]), line) for line in each)]


def _worst(report: dict) -> list[str]:
    worst = worst_groups(report)
    rows = [[_text(found["test_set"]), _text(found["trained_on"]), _text(row["attribute"]), _text(row["value"]),
             _text(row["label"]), count(row["images"]), _interval(row, "accuracy"), _interval(row, "auroc"),
             _interval(row, "overconfidence", points)]
            for found in worst for row in found["rows"][:SHOWN_GROUPS]]  # fmt: skip
    head = ["test set", "trained on", "attribute", "group", "class", "images", "accuracy, %", "AUROC, %",
            "overconfidence, points"]  # fmt: skip
    said = (f"The {SHOWN_GROUPS} with the lowest accuracy of each model and test set, of those with at least "
            f"{count(LEAST)} patients; chosen as the worst, they look worse than they are.")
    return ["### The worst groups", _table(head, rows), said] if rows else []


def _left_out(report: dict) -> list[str]:
    rows = [
        [_text(row["source"]), _text(row["test_set"]), _text(row["trained_on"]), _text(row["tested_on"]),
         percent(row["with"]), percent(row["without"]), _interval(row, "accuracy", points), p_value(row["p_holm"]),
         count(row["images"])]
        for row in report["left_out_sources"]
    ]  # fmt: skip
    head = ["source", "test set", "trained on", "tested on", "with the source, %", "without it, %",
            "difference, points", "p (Holm)", "images"]  # fmt: skip
    return ["### Leave one source out", _table(head, rows)] if rows else []


def _repairs(report: dict) -> list[str]:
    found = report["repairs"]
    if not found:
        return []
    names = [shortcut_name(entry) for entry in found["rows"][0]["effects"]]
    rows = []
    for row in found["rows"]:
        worst = row["worst"] or {}
        effects = [f"{_interval(entry['difference'], 'value', signed, '')}{', shown' * entry['shown']}"
                   for entry in row["effects"]] or ["not audited"] * len(names)  # fmt: skip
        rows.append([_text(row["model"]), _interval(row, "accuracy"), _interval(worst, "accuracy"),
                     _text(worst.get("group", "–")), *effects, _text(", ".join(row["further"]) or "–")])  # fmt: skip
    head = ["model", "accuracy, %", "worst group, %", "which", *map(_text, names), "shown of it alone"]
    said = (f"On the original images of {test_name(found['test_set'])}; effects beyond controls in "
            f"{count(found['cases'])} audited cases. {found['rule']}")  # fmt: skip
    return ["## What each repair did", _text(found["text"]), _table(head, rows), _text(said)]


def _repaired(report: dict) -> list[str]:
    if not report["repaired"]:
        return []
    rows = [["class" if row["group"] == "label" else row["group"], _text(row["name"]), count(row["images"]),
             _interval(row, "share"), decimal(100 * row["area"])] for row in report["repaired"]["rows"]]  # fmt: skip
    return ["## What cleaning did", _table(["of", "", "images", "cleaned, %", "mean area, %"], rows),
            *([_text(report["repaired"]["kept"]["text"])] if report["repaired"]["kept"] else []),
            *_second(report)]  # fmt: skip


def _second(report: dict) -> list[str]:
    """Text left by the second reader's word, and what its word is worth."""
    parts, left = [], report["residual"]
    if left:
        row = left["rows"][0]
        parts = [f"A second detector ({_text(left['detector'])}) still reads text in {count(row['with_text'])} of "
                 f"{count(row['images'])} cleaned images."]  # fmt: skip
    return [*parts, *(_text(sentence) for sentence in (report["second_reader"] or {}).get("says", []))]


def _explanations(report: dict) -> list[str]:
    found = report["explanations"]
    if not found:
        return []
    rows = [[name, _interval(part[key], "value", decimal, ""), count(part[key]["cases"]), says]
            for part, names in ((found, MEASURES), (found["sanity"] or {}, SANITY))
            for key, (name, says) in names.items() if part.get(key)]  # fmt: skip
    said = (f"{count(found['cases'])} cases explained with {_text(found['method'])}; the masks of "
            f"{count(found['hardly_moved'])} hardly moved.")  # fmt: skip
    return ["## Explanations", said, _table(["measure", "mean", "cases", "what it says"], rows)]


def _flagged(report: dict) -> list[str]:
    if not report["flagged"]:
        return []
    parts = ["## Flagged cases"]
    for case in report["flagged"][:SHOWN_CASES]:
        parts.append(f"**{_text(case['image_id'])}**: {_text(case['reasons'])}")
        if case["figure"]:
            parts.append(f"![pictures of the case]({case['figure']})")
    left = report["flagged_counts"]["flagged"] - min(len(report["flagged"]), SHOWN_CASES)
    return [*parts, f"{left} more in {OUTPUTS['cases'].where}."] if left else parts


def _cost(report: dict) -> list[str]:
    rows = [[_text(row["stage"]), duration(row["seconds"]), count(row["images"]), rate(row["images_per_second"]),
             count(row["peak_memory_mb"])] for row in report["timings"]]  # fmt: skip
    head = ["stage", "seconds", "images", "images per second", "peak memory, MB"]
    return ["## Time and memory", _table(head, rows)] if rows else []


def _not_shown(report: dict) -> list[str]:
    lines = "\n".join(f"- **{_text(entry['what'])}**: {_text(entry['why'])}" for entry in report["not_shown"])
    return ["## Not shown", lines] if lines else []

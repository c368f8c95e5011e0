"""The report's first sentences: what was found, in plain words with the numbers that carry it."""

from __future__ import annotations

from xray_debug.report_format import p_value, percent, points


def headline(report: dict) -> list[dict[str, str]]:
    """Sentences in the order of their weight, each with what it is about."""
    parts = (_verdict, _gaps, _scores, _control, _flags, _repairs)
    entries = [entry for part in parts for entry in part(report)]
    if not entries:
        entries = [("nothing", "The run holds no predictions, audit or cleaning yet: there is nothing to conclude.")]
    return [{"about": about, "text": text} for about, text in entries]


def _verdict(report: dict) -> list[tuple[str, str]]:
    """The audit's own words, then its sentences."""
    verdict = report["verdict"]
    if verdict is None:
        return []
    said = verdict.get("verdict")
    if not isinstance(said, str) or not said.strip():
        return [("verdict", "The audit ran; its figures are below.")]
    if said == "not shown":
        said = "reliance of any class on text, on its absence or on another region was not shown"
    sentences = [str(sentence) for sentence in verdict.get("sentences") or []]
    return [("verdict", _stopped(said)), *(("evidence", _stopped(sentence)) for sentence in sentences)]


def _stopped(text: str) -> str:
    """A sentence with its full stop, and a capital unless a class name opens it."""
    text = text.strip()
    text = text[:1].upper() + text[1:] if text.startswith("reliance") else text
    return text + ("" if text.endswith((".", "!", "?")) else ".")


def _row(report: dict, start: str, end: str, test_set: str) -> dict | None:
    found = [r for r in report["differences"] if (r["from"], r["to"], r["test_set"]) == (start, end, test_set)]
    return found[0] if found else None


def _accuracy(report: dict, cell: str, test_set: str) -> float | None:
    for row in report["table4"]:
        if (f"{row['trained_on']}/{row['tested_on']}", row["test_set"]) == (cell, test_set):
            return row["accuracy"]
    return None


def _test_sets(report: dict) -> list[str]:
    return list(dict.fromkeys(row["test_set"] for row in report["table4"]))


def _scores(report: dict) -> list[tuple[str, str]]:
    """What training on cleaned images changes, tested on the original images of every test set."""
    entries = []
    for test_set in _test_sets(report):
        row = _row(report, "original/original", "cleaned/original", test_set)
        if row is not None:
            entries.append(("cleaning", f"Training on cleaned images, test set {test_set}: {_told(report, row)}"))
    return entries


def _told(report: dict, row: dict) -> str:
    before, after = (_accuracy(report, row[end], row["test_set"]) for end in ("from", "to"))
    ends = f"{points(row['accuracy_low'])} to {points(row['accuracy_high'])}"
    numbers = (f"accuracy {percent(before)} % before and {percent(after)} % after, difference "
               f"{points(row['accuracy'])} points ({ends}), p = {p_value(row['p_holm'])}")
    numbers = numbers.replace("p = <", "p < ")
    return f"{row['wording']}: {numbers}." if row["wording"].startswith("no ") else f"{row['wording']} it; {numbers}."


def _control(report: dict) -> list[tuple[str, str]]:
    entries = []
    for test_set in _test_sets(report):
        row = _row(report, "original/original", "control/original", test_set)
        if row is not None:
            told = f"The same inpainting away from text, test set {test_set}: {_told(report, row)}"
            entries.append(("control", told))
    return entries


def _gaps(report: dict) -> list[tuple[str, str]]:
    """A fall on another test set, for the model trained on the original images."""
    entries = []
    for row in report["gaps"]:
        if row["trained_on"] == row["tested_on"] == "original":
            shown = row["accuracy_high"] < 0 or row["accuracy_low"] > 0
            verb = "falls" if row["accuracy"] < 0 else "rises"
            end = f"{points(row['accuracy'])} points ({points(row['accuracy_low'])} to {points(row['accuracy_high'])})"
            text = (f"Trained on the original images, accuracy is {percent(row['usual'])} % on the usual test and "
                    f"{percent(row['there'])} % on {row['test_set']}")
            entries.append(("gap", f"{text}: it {verb} by {end}." if shown else f"{text}; not told apart ({end})."))
    return entries


def _flags(report: dict) -> list[tuple[str, str]]:
    counts = report["flagged_counts"]
    if counts is None:
        return []
    return [("flagged", f"{counts['flagged']} of {counts['cases']} audited cases are flagged.")]


def _repairs(report: dict) -> list[tuple[str, str]]:
    found = (report["repaired"] or {}).get("predicts_label") or []
    if not found:
        return []
    row, total = found[0], report["repaired"]["rows"][0]
    tells = "repaired gives the class away" if row["p"] < 0.05 else "repaired was not shown to give the class away"
    return [("repaired", f"{percent(total['share'])} % of the images were repaired. Whether an image was {tells}: "
             f"balanced accuracy {percent(row['balanced_accuracy'])} %, by chance {percent(row['by_chance'])} % "
             f"(permutation p {p_value(row['p'])}).")]  # fmt: skip

"""The report's first sentences: what was found, in plain words with the numbers that carry it."""

from __future__ import annotations

from xray_debug.report.format import p_value, percent, points

AS_GIVEN = "as given"  # what a model was trained on that was not trained here


def headline(report: dict) -> list[dict[str, str]]:
    """Sentences in the order of their weight, each with what it is about."""
    parts = (_given, _verdict, _gaps, _scores, _control, _take, _flags, _repairs)
    entries = [entry for part in parts for entry in part(report)]
    if not entries:
        entries = [("nothing", "The run holds no predictions, audit or cleaning yet: there is nothing to conclude.")]
    return [{"about": about, "text": text} for about, text in entries]


def answer_of(report: dict) -> dict[str, str]:
    """The one sentence that answers what was asked: the verdict's, or the first there is."""
    return next((entry for entry in report["headline"] if entry["about"] == "verdict"), report["headline"][0])


def as_told(report: dict) -> dict:
    """The report as it is shown: a model that was given was not trained on the original images that it is tested on."""
    if report.get("given_model") is None:
        return report
    return {key: [_as_given(row) for row in value] if isinstance(value, list) else value
            for key, value in report.items()}  # fmt: skip


def _as_given(row: object) -> object:
    if not isinstance(row, dict):
        return row
    told = {"trained_on": AS_GIVEN} if row.get("trained_on") == "original" else {}
    if isinstance(row.get("what"), str):
        told["what"] = row["what"].replace("trained on original", f"the model {AS_GIVEN}")
    return row | told


def _given(report: dict) -> list[tuple[str, str]]:
    """Which model was audited, where it was not trained here, and how well it does."""
    given = report.get("given_model")
    if given is None:
        return []
    asked = f", asked for {given['finding']}" if given["finding"] else ""
    mark = f" (sha256 {given['sha256'][:12]})" if given["sha256"] else ""
    told = [f"The audited model was given{asked}: {given['name']}{mark}; {given['score'] or 'it was not scored'}."]
    told += [f"Another way to ask it does better {way}; the audit speaks of the way that was said."
             for way in given["better_ways"]]  # fmt: skip
    return [("model", sentence) for sentence in told]


def _verdict(report: dict) -> list[tuple[str, str]]:
    """The audit's own words, then its sentences."""
    verdict = report["verdict"]
    if verdict is None:
        return []
    said = verdict.get("verdict")
    if not isinstance(said, str) or not said.strip():
        return [("verdict", "The audit ran; its figures are below.")]
    if said == "not shown":
        said = nothing_shown(verdict)
    sentences = [str(sentence) for sentence in verdict.get("sentences") or []]
    return [("verdict", _stopped(said)), *(("evidence", _stopped(sentence)) for sentence in sentences)]


SIDES = "left and right (which way round the film is, on which side its marker lies)"


def nothing_shown(verdict: dict) -> str:
    """That no class relies on anything that the audit asked after; the film's look and sides only where they were."""
    parts = ["text", "the absence of text", "another region"]
    for kind, said in (("look", "the look of the film"), ("laterality", SIDES)):
        parts += [said] if any(entry.get(kind) for entry in (verdict.get("classes") or {}).values()) else []
    return f"No class was shown to rely on {', '.join(parts[:-1])} or {parts[-1]}"


def test_name(test_set: str) -> str:
    """A test set as the reader is told of it."""
    return "the dataset's own test set" if test_set == "test" else f"test set {test_set}"


def _stopped(text: str) -> str:
    """A sentence with its full stop."""
    text = text.strip()
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
    rows = [_row(report, "original/original", "cleaned/original", name) for name in _test_sets(report)]
    return [("cleaning", _told(report, row, "training on cleaned images")) for row in rows if row is not None]


def _control(report: dict) -> list[tuple[str, str]]:
    rows = [_row(report, "original/original", "control/original", name) for name in _test_sets(report)]
    return [("control", _told(report, row, "the same inpainting away from text")) for row in rows if row is not None]


def _take(report: dict) -> list[tuple[str, str]]:
    """Which repaired model to take, where other repairs than cleaning were asked for."""
    found = report.get("repairs")
    return [("repairs", found["text"])] if found else []


def _told(report: dict, row: dict, what: str) -> str:
    before, after = (_accuracy(report, row[end], row["test_set"]) for end in ("from", "to"))
    ends = f"{points(row['accuracy_low'])} to {points(row['accuracy_high'])}"
    numbers = (f"{percent(before)} % before, {percent(after)} % after, difference {points(row['accuracy'])} points "
               f"({ends}), adjusted p {p_value(row['p_holm'])}")
    told = f"{what} {row['wording']} accuracy: {numbers}"
    if row["wording"].startswith("no "):
        told = f"{what}: {row['wording']}; accuracy {numbers}"
    return f"On {test_name(row['test_set'])}, {told}."


def _gaps(report: dict) -> list[tuple[str, str]]:
    """How another test set differs from the usual one, for the model trained on the original images."""
    entries = []
    for row in report["gaps"]:
        if row["trained_on"] == row["tested_on"] == "original":
            shown = row["accuracy_high"] < 0 or row["accuracy_low"] > 0
            ends = f"{points(row['accuracy_low'])} to {points(row['accuracy_high'])}"
            there = f"{percent(row['there'])} % on {test_name(row['test_set'])}"
            told = (f"Trained on the original images, accuracy is {percent(row['usual'])} % on {test_name('test')} and "
                    f"{there}: difference {points(row['accuracy'])} points ({ends})")  # fmt: skip
            told += "." if shown else ", which shows no difference."
            entries.append(("gap", told))
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
    tells = "cleaned gives the class away" if row["p"] < 0.05 else "cleaned was not shown to give the class away"
    return [("repaired", f"{percent(total['share'])} % of the images were cleaned. Whether an image was {tells}: "
             f"balanced accuracy {percent(row['balanced_accuracy'])} %, by chance {percent(row['by_chance'])} % "
             f"(permutation p {p_value(row['p'])}).")]  # fmt: skip

"""What changed from run A to run B, in sentences with the numbers that carry them."""

from __future__ import annotations

from xray_debug.report.format import count, p_value, percent, points, signed
from xray_debug.report.words import AS_GIVEN, test_name
from xray_debug.stats.scores import VERSIONS

UNSHARED = {
    "only_a": "that only A has predicted", "only_b": "that only B has predicted",
    "another_label": "with another label in B", "another_file": "whose files differ",
}  # fmt: skip


def sentences(report: dict) -> list[str]:
    """The cases, then accuracy and what else differs of each model, then the verdicts."""
    return [_cases(report), *_scores(report), *_verdicts(report)]


def _cases(report: dict) -> str:
    images, runs = report["images"], report["runs"]
    of = "" if images["patients"] is None else f" of {count(images['patients'])} patients"
    told = [f"A is {runs['a']['name']} ({runs['a']['folder']}), B is {runs['b']['name']} ({runs['b']['folder']}), held "
            f"against each other on {count(images['shared'])} images{of} that both have predicted"]  # fmt: skip
    left = [f"{count(images[name])} {said}" for name, said in UNSHARED.items() if images[name]]
    told += [f"left out: {', '.join(left)}"] if left else []
    if images["contents_not_known"]:
        told.append(f"of {count(images['contents_not_known'])} the names alone say that they are the same files")
    return "; ".join(told) + "."


def _scores(report: dict) -> list[str]:
    told = []
    for row in report["scores"]:
        model = f"{_model(row['trained_on'])}, on {test_name(row['test_set'])}"
        if row["what"] == "accuracy":
            ends = f"{points(row['difference_low'])} to {points(row['difference_high'])}"
            told.append(f"{model}, accuracy is {percent(row['a'])} % in A and {percent(row['b'])} % in B, on "
                        f"{count(row['images'])} images: {row['reads']}, difference {points(row['difference'])} points "
                        f"({ends}), adjusted p {p_value(row['p_holm'])}.")  # fmt: skip
        elif row["reads"] in ("A is better", "B is better"):
            told.append(f"{model}, {row['reads']} by the {row['what']} of {row['class']}: {percent(row['a'])} % and "
                        f"{percent(row['b'])} %, adjusted p {p_value(row['p_holm'])}.")  # fmt: skip
    return told


def _model(trained: str) -> str:
    if trained == AS_GIVEN:
        return "The models as given"
    kind, _, given = trained.partition(", ")
    told = model_name(kind)
    return told[:1].upper() + told[1:] + (f" ({given})" if given else "")


def model_name(trained: str) -> str:
    """What became of the models of a row of the 2x2: "trained on cleaned images", "repaired by dfr"."""
    return f"trained on {trained} images" if trained in VERSIONS else f"repaired by {trained}"


def _verdicts(report: dict) -> list[str]:
    told = []
    for row in report["verdicts"]:
        if not any(side and side["shown"] for side in (row["a"], row["b"])):
            continue
        asked = f"{row['label']}, {row['question']} ({test_name(row['test_set'])}): {row['reads']}"
        if row["change"] is not None:
            asked += (f"; effect beyond the controls {signed(row['change'])} ({signed(row['change_low'])} to "
                      f"{signed(row['change_high'])}) in B against A, on {count(row['cases'])} cases")  # fmt: skip
        told.append(f"{asked}.")
    if report["verdicts"] and not told:
        told.append("Neither verdict shows reliance on anything that was asked.")
    return told

"""The table of the audit's benchmark: for every check hits, false alarms, error of the effect, flags.

A judgement is one kind of question on one dataset. It is true where the exact effect of what was planted is at least
TAKEN for a class: the network took the shortcut, and the audit should name it. It is false where the effect is below
LEFT, or where nothing of the kind was planted: naming it is a false alarm. Between the two it counts for neither, and
a kind whose truth is not known on a dataset (`Plant.open`) is not judged there.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from audit_plants import AMOUNTS, PLANTS
from audit_saliency import RULE

from xray_debug.audit.hypotheses import MIN_CASES
from xray_debug.stats.intervals import bootstrap, wilson

TAKEN, LEFT = 0.15, 0.05  # mean loss of a class's probability: a shortcut was taken, and was not
KINDS = ("text", "absence", "devices", "border", "field", "regions", "look", "laterality:film", "laterality:marker")
SUSPECTED = 0.05  # corrected p up to which a suspicion is raised
SUSPICIONS = {"source": ("source",), "attributes": ("attribute sex",), "properties": (
    "file type", "presence of text", "amount of text", "place of text")}  # fmt: skip
CUTS = (1.0, 2.0)  # enrichment from which the rule of thumb accuses
SEEN = ("text", "devices", "border", "field", "regions")  # kinds of which a saliency map can speak
QUESTION = {"text": "text", "absence": "absence", "devices": "region:devices", "border": "region:border",
            "field": "region:outside centre", "regions": "region:disc", "laterality:film": "laterality:film",
            "laterality:marker": "laterality:marker"}  # fmt: skip


def kind_of(row: dict) -> str:
    """The row of the table that a question belongs to: its check; the two questions of laterality apart."""
    return row["question"] if row["check"] == "laterality" else row["check"]


def exact_effect(record: dict, factor: str) -> float:
    """The largest effect on a class of which enough films have the factor; 0 where none has."""
    return max((entry["effect"] for entry in record["effects"].get(factor, {}).values() if entry["n"] >= MIN_CASES),
               default=0.0)


def factor_of(record: dict, kind: str) -> str | None:
    """The factor whose effect says whether `kind` is true of the network; None where nothing of the kind is planted."""
    return PLANTS[record["name"]].right.get(kind) or ("text" if kind == "text" else None)


def truth_of(record: dict, kind: str) -> str:
    """"taken", "between", "left" or "open"."""
    factor = factor_of(record, kind)
    if factor is None:
        return "open" if kind in PLANTS[record["name"]].open else "left"
    effect = exact_effect(record, factor)
    return "taken" if effect >= TAKEN else "left" if effect < LEFT else "between"


def judgements(records: Iterable[dict]) -> list[dict]:
    """{"name", "seed", "kind", "truth", "named", "nothing"} of every kind on every dataset on which it was asked or
    planted; "nothing": the network of the dataset took nothing at all."""
    found = []
    for record in records:
        named: dict[str, bool] = dict.fromkeys(PLANTS[record["name"]].right, False)
        for row in record["questions"]:
            if row["tested"]:
                kind = kind_of(row)
                named[kind] = named.get(kind, False) or row["shown"]
        nothing = dataset_truth(record) == "left"
        found += [{"name": record["name"], "seed": record["seed"], "kind": kind, "truth": truth_of(record, kind),
                   "named": own, "nothing": nothing} for kind, own in named.items()]  # fmt: skip
    return found


def class_table(records: Iterable[dict]) -> dict[str, dict]:
    """Class by class, and of a look the property that was planted: of the classes with an exact effect of at least
    TAKEN over enough films how many are named by that very question; and of those below LEFT."""
    rows: dict[str, list] = {kind: [] for kind in KINDS}
    for record in records:
        prop = PLANTS[record["name"]].prop
        for kind in KINDS:
            question = f"look:{prop}" if kind == "look" and prop in AMOUNTS else QUESTION.get(kind)
            exact = record["effects"].get(factor_of(record, kind) or "", {})
            shown = {row["label"]: row["shown"] for row in record["questions"] if row["question"] == question}
            for label, entry in exact.items():
                if entry["n"] >= MIN_CASES:
                    effect = entry["effect"]
                    truth = "taken" if effect >= TAKEN else "left" if effect < LEFT else "between"
                    rows[kind].append({"truth": truth, "named": bool(shown.get(label, False))})
    rows["all"] = [row for own in rows.values() for row in own]
    return {kind: {truth: share(own, truth) for truth in ("taken", "left")} for kind, own in rows.items()}


def told_one_way(records: Iterable[dict]) -> dict[str, dict]:
    """Of the datasets on which no look was named: how many verdicts tell of one that is seen one way, where the network
    took a look, and where it took none."""
    rows = []
    for record in records:
        (own,) = [row for row in judgements([record]) if row["kind"] == "look"] or [None]
        if own is not None and not own["named"] and "one_way" in record:  # older records do not know
            rows.append({"truth": own["truth"], "named": bool(record["one_way"])})
    return {truth: share(rows, truth) for truth in ("taken", "left")}


def told_beside_a_look(records: Iterable[dict]) -> dict[str, dict]:
    """Of the borders and fields that were named: how many with the sentence that they may be no more than where the
    look is seen, on every class that they are shown of."""
    rows = []
    for record in records:
        shown = [(kind_of(row), row["label"]) for row in record["questions"] if row["shown"]]
        looks = {label for kind, label in shown if kind == "look"}
        for row in judgements([record]):
            if row["named"] and row["kind"] in ("border", "field"):
                of = {label for kind, label in shown if kind == row["kind"]}
                rows.append({"truth": row["truth"], "named": of <= looks})
    return {truth: share(rows, truth) for truth in ("taken", "left")}


def share(rows: list[dict], truth: str) -> dict:
    """{"k", "n", "value", "low", "high"}: of the judgements of one truth those that were named, Wilson's interval."""
    own = [row["named"] for row in rows if row["truth"] == truth]
    return share_of(sum(own), len(own))


def share_of(k: int, n: int) -> dict:
    found = wilson(k, n)
    return {"k": int(k), "n": int(n), "value": float(found.value) if n else None, "low": float(found.low),
            "high": float(found.high)}


def effect_errors(records: Iterable[dict], kind: str) -> list[tuple[float, float]]:
    """(measured, exact) effect of each class of each dataset whose network took what is planted, where the class has
    enough films with it."""
    found = []
    for record in records:
        prop = PLANTS[record["name"]].prop
        question = f"look:{prop}" if kind == "look" and prop in AMOUNTS else QUESTION.get(kind)
        if truth_of(record, kind) != "taken" or (kind == "field" and prop == "border"):
            continue  # a border is not all that lies outside the centre
        exact = record["effects"][factor_of(record, kind)]
        known = {label: entry["effect"] for label, entry in exact.items() if entry["n"] >= MIN_CASES}
        found += [(row["effect"], known[row["label"]]) for row in record["questions"]
                  if row["question"] == question and row["label"] in known and row["tested"]]
    return found


def error_of(pairs: list[tuple[float, float]], seed: int = 0) -> dict:
    """Mean absolute error with its bootstrap interval over classes of datasets, and the mean signed one."""
    if not pairs:
        return {"n": 0, "value": None, "low": None, "high": None, "signed": None}
    measured, exact = np.array(pairs).T
    found = bootstrap(np.mean, [np.abs(measured - exact)], seed=seed)
    return {"n": len(pairs), "value": float(found.value), "low": float(found.low), "high": float(found.high),
            "signed": float((measured - exact).mean())}


def flag_shares(records: Iterable[dict]) -> dict:
    """Precision, recall, and recall of the changes that move the probability by min_effect, counts of all cases."""
    flags = [record["flags"] for record in records]
    def total(key):
        return sum(row[key] for row in flags)
    return {"precision": share_of(total("both"), total("flagged")), "recall": share_of(total("both"), total("changed")),
            "recall_large": share_of(total("large_both"), total("large"))}


def check_table(records: list[dict]) -> dict[str, dict]:
    """A row for every kind, and "all": hits of what was taken, named between, false alarms, those of them on datasets
    where nothing was taken, error of the effect."""
    rows, table = judgements(records), {}
    for kind in (*KINDS, "all"):
        own = [row for row in rows if kind in (row["kind"], "all")]
        pairs = [pair for k in (KINDS if kind == "all" else (kind,)) for pair in effect_errors(records, k)]
        table[kind] = {**{truth: share(own, truth) for truth in ("taken", "between", "left")},
                       "nothing": share([row for row in own if row["nothing"]], "left"), "error": error_of(pairs)}
    return table


def suspicion_table(records: list[dict]) -> dict[str, dict]:
    """For each check that raises suspicions: what really goes with the label and was suspected, and what does not and
    was; and of the features: what a network that takes it tells, and what goes with nothing."""
    rows: dict[str, list] = {name: [] for name in (*SUSPICIONS, "features")}
    for record in records:
        plant = PLANTS[record["name"]]
        for row in record["suspicions"]:
            planted = row["question"] in plant.suspected
            raised = row["p_adjusted"] is not None and row["p_adjusted"] <= SUSPECTED
            if row["check"] == "features" and row["question"] in ("source", "attribute sex"):
                taken = exact_effect(record, "prop")
                truth = ("taken" if taken >= TAKEN else "between") if planted else "left"
                rows["features"].append({"truth": truth, "named": raised})
            elif row["question"] in SUSPICIONS.get(row["check"], ()):
                rows[row["check"]].append({"truth": "taken" if planted else "left", "named": raised})
    return {name: {"taken": share(own, "taken"), "left": share(own, "left")} for name, own in rows.items()}


def rule_table(records: list[dict]) -> dict[str, dict]:
    """The rule of thumb by each method and cut, and the audit, on the regions of which saliency can speak."""
    audit = [row for row in judgements(records) if row["kind"] in SEEN]
    table = {"audit": {"taken": share(audit, "taken"), "left": share(audit, "left")}}
    for method in RULE:
        for cut in CUTS:
            rows = [{"truth": truth_of(record, kind), "named": value > cut} for record in records
                    for kind, value in record["saliency"][method].items() if value is not None]
            table[f"{method} > {cut:g}"] = {"taken": share(rows, "taken"), "left": share(rows, "left")}
    return table


def dataset_truth(record: dict) -> str:
    """Of a dataset as a whole: whether the network took what was planted; "left" where it did not, or nothing was."""
    factors = {*PLANTS[record["name"]].right.values(), *(["prop"] if PLANTS[record["name"]].prop else [])}
    effect = max((exact_effect(record, factor) for factor in (*factors, "text")), default=0.0)
    return "taken" if effect >= TAKEN else "left" if effect < LEFT else "between"


def rival_table(records: list[dict], flags: dict[str, dict[str, bool]]) -> dict[str, dict]:
    """Detectors of embeddings (dataset -> method -> flagged), and the audit, on whole datasets."""
    known = [record for record in records if key_of(record) in flags]
    methods = sorted({method for record in known for method in flags[key_of(record)]})
    accused = [{"truth": dataset_truth(record), "named": record["verdict"] != "not shown"} for record in known]
    table = {"audit": {"taken": share(accused, "taken"), "left": share(accused, "left")}} if known else {}
    for method in methods:
        rows = [{"truth": dataset_truth(record), "named": flags[key_of(record)][method]} for record in known
                if flags[key_of(record)].get(method) is not None]
        table[method] = {"taken": share(rows, "taken"), "left": share(rows, "left")}
    return table


def key_of(record: dict) -> str:
    """The name under which a dataset's result is kept."""
    return f"{record['name']} {record['correlation']:g} {record['seed']}"

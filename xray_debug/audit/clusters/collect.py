"""From maps and features to named candidates: how many, where they look, what they go along with. Suspicions only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd

from xray_debug.audit.checks.attributes import PREFIX
from xray_debug.audit.checks.text import COLUMNS, ROWS
from xray_debug.audit.clusters.maps import LEAST, MOST, map_kinds, small_maps
from xray_debug.audit.clusters.slices import find_slices
from xray_debug.stats.groups import UNKNOWN, named_groups
from xray_debug.stats.seeds import seed_of
from xray_debug.stats.tests import holm

SHOWN = 6  # typical cases of a candidate
FEWEST = 5  # images of a candidate, and of a group that it may go along with
LEVEL, MOST_TOLD = 0.05, 3  # of what it goes along with: corrected p, and how many are told
FINE = 80  # side at which shares of the border (5 %), corners (20 %) and outside of the field (12.5 %) are whole pixels


def find_candidates(maps: Iterable[Mapping[str, Any]], explained: pd.DataFrame, cases: pd.DataFrame,
                    frame: pd.DataFrame, features: np.ndarray | None, rows: np.ndarray, classes: list[str],
                    seed: int = 0) -> dict:  # fmt: skip
    """{"candidates", "maps", "slices", "notes"}.

    Args:
        maps: {"image_id", "saliency"} of each explained case.
        explained: image_id, target (the predicted class) and hardly_moved.
        cases: those that the audit measured, with label, predicted, p_<class>, text_visible, text_kind.
        frame: the manifest. `features`: (n, D) of its images at `rows`, of different patients; None: not to be had.
        classes: the model's, in the order of its probabilities.

    A candidate: name, by ("maps" or "features"), label (the class it speaks for), images, of, share, with (what it goes
    along with: what, inside, outside, p_adjusted), cases (typical image_ids) and text; of maps also peak, centre (x, y
    in [0, 1]), border, corners, outside (shares of the saliency); of features errors, errors_elsewhere, p, p_adjusted.
    """
    facts = facts_of(frame, cases)
    patients = dict(zip(frame["image_id"], frame.get("patient_id", frame["image_id"]), strict=True))
    candidates, found_maps, notes = _of_maps(maps, explained, facts, patients, seed)
    more, slices = _of_slices(cases, frame, features, rows, classes, facts, seed)
    candidates += more
    told = [entry for candidate in candidates for entry in candidate["with"]]
    for entry, p in zip(told, holm([entry.pop("p") for entry in told]) if told else (), strict=True):
        entry["p_adjusted"] = float(p)
    for candidate in candidates:
        own = [entry for entry in candidate["with"] if entry["p_adjusted"] <= LEVEL]
        candidate["with"] = sorted(own, key=lambda entry: entry["outside"] - entry["inside"])[:MOST_TOLD]
        candidate["text"] = sentence(candidate)
    return {"candidates": candidates, "maps": found_maps, "slices": slices, "notes": notes}


def facts_of(frame: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """What is known of each image, by image_id: source, attributes, text, label; "" or "not known" where nothing is."""
    known = frame.drop_duplicates("image_id").set_index("image_id")
    facts = {"source": named_groups(known["source"].tolist())} if "source" in known else {}
    facts |= {name.removeprefix(PREFIX): named_groups(known[name].tolist()) for name in known
              if name.startswith(PREFIX)}  # fmt: skip
    table = pd.DataFrame(facts, index=known.index)
    table["class"] = known["label"]
    measured = cases.drop_duplicates("image_id").set_index("image_id")
    for name, values in (("text", np.where(measured["text_visible"] > 0, "visible", "none")),
                         ("kind of text", measured.get("text_kind", ""))):  # fmt: skip
        table[name] = pd.Series(values, measured.index, object).reindex(table.index).fillna("")
    return table


def goes_along(facts: pd.DataFrame, inside: np.ndarray) -> list[dict]:
    """Each value of a fact: what, inside and outside (its shares among the rows `inside`, bool, and the others, where
    the fact is known), p that it is more frequent inside (Fisher's exact test, one-sided). Rarer ones too: they count
    in the correction."""
    from scipy.stats import fisher_exact

    found = []
    for name in facts:
        values = facts[name].to_numpy(str)
        known = ~np.isin(values, ["", UNKNOWN])
        n, m = int((known & inside).sum()), int((known & ~inside).sum())
        for value in sorted(set(values[known])) if n and m else ():
            own = values == value
            a, b = int((own & inside).sum()), int((own & ~inside).sum())
            if a + b >= FEWEST:
                p = fisher_exact([[a, n - a], [b, m - b]], alternative="greater").pvalue
                found.append({"what": f"{name}: {value}", "inside": a / n, "outside": b / m, "p": float(p)})
    return found


def region_of(maps) -> dict:
    """Where maps (m, m) look on average, each of the same weight: peak (the ninth of the view with the most), centre of
    mass (x, y) in [0, 1], and the shares at the border (5 %), in the corners (20 %), outside the field (12.5 %)."""
    fine = [_fine(np.asarray(one, np.float32)) for one in maps]
    mean = np.mean([one / one.sum() for one in fine], axis=0)
    places = (np.arange(FINE) + 0.5) / FINE
    coarse = cv2.resize(mean, (3, 3), interpolation=cv2.INTER_AREA)
    row, column = np.unravel_index(int(coarse.argmax()), coarse.shape)
    edge = np.minimum(places, 1 - places)
    nearer, farther = np.minimum.outer(edge, edge), np.maximum.outer(edge, edge)
    return {"peak": f"{ROWS[row]} {COLUMNS[column]}",
            "centre": [float(mean.sum(0) @ places), float(mean.sum(1) @ places)],
            "border": float(mean[nearer < 0.05].sum()), "corners": float(mean[farther < 0.2].sum()),
            "outside": float(mean[nearer < 0.125].sum())}  # fmt: skip


def _fine(saliency: np.ndarray) -> np.ndarray:
    by = cv2.INTER_AREA if len(saliency) > FINE else cv2.INTER_NEAREST
    return cv2.resize(saliency, (FINE, FINE), interpolation=by)


def _of_maps(maps, explained: pd.DataFrame, facts: pd.DataFrame, patients: Mapping[str, str],
             seed: int) -> tuple[list[dict], dict, list[str]]:  # fmt: skip
    moved = explained[~explained["hardly_moved"].eq(True)] if "hardly_moved" in explained else explained
    target = moved.drop_duplicates("image_id").set_index("image_id")["target"]
    found: dict[str, list] = {}
    for row in maps:
        saliency = row.get("saliency")
        if row["image_id"] in target.index and saliency is not None and np.sum(saliency) > 0:
            found.setdefault(target[row["image_id"]], []).append((row["image_id"], np.asarray(saliency)))
    candidates, told, notes = [], {}, []
    for label, own in sorted(found.items()):
        own = own[:: -(-len(own) // MOST)]
        if len(own) < LEAST:
            notes.append(f"{label}: {len(own)} explained cases whose maps moved, at least {LEAST} are needed")
            continue
        kinds = map_kinds([one for _, one in own], seed_of(seed, "kinds of maps", label))
        count = int((np.bincount(kinds.codes) >= FEWEST).sum())  # the largest come first
        apart = int((kinds.codes >= count).sum())
        told[label] = {"images": len(own), "kinds": count, "apart": apart, "eigenvalues": kinds.eigenvalues}
        if count < 2:
            but = f", but for {apart} that lie apart" * (apart > 0)
            notes.append(f"{label}: the maps of {len(own)} explained cases are of one kind{but}")
            continue
        first = ~pd.Series([patients.get(name, name) for name, _ in own]).duplicated().to_numpy()
        mine = [_kind(label, own, kinds.codes == code, f"{label}, kind {code + 1} of {count}", facts, first)
                for code in range(count)]  # fmt: skip
        candidates += sorted(mine, key=lambda candidate: -candidate["outside"])
    if not found:
        notes.append("no case was explained")
    return candidates, told, notes


def _kind(label: str, own: list, inside: np.ndarray, called: str, facts: pd.DataFrame, first: np.ndarray) -> dict:
    """`first`: the cases, bool, that what it goes along with is counted on, one of a patient."""
    names = [name for name, _ in own]
    members = [one for (_, one), mine in zip(own, inside, strict=True) if mine]
    small = small_maps(members)
    order = np.argsort(((small - small.mean(0)) ** 2).sum(1), kind="stable")
    mine = np.array(names, object)[inside]
    return {"name": called, "by": "maps", "label": label,
            "images": len(members), "of": len(own), "share": len(members) / len(own), **region_of(members),
            "with": goes_along(facts.reindex(np.array(names, object)[first]).fillna(""), inside[first]),
            "cases": mine[order[:SHOWN]].tolist()}  # fmt: skip


def _of_slices(cases: pd.DataFrame, frame: pd.DataFrame, features, rows: np.ndarray, classes: list[str],
               facts: pd.DataFrame, seed: int) -> tuple[list[dict], dict]:  # fmt: skip
    from scipy.stats import fisher_exact

    if features is None:
        return [], {"problem": "the model's features cannot be had"}
    columns = [f"p_{name}" for name in classes]
    names = frame["image_id"].to_numpy(object)[rows]
    measured = cases.drop_duplicates("image_id").set_index("image_id")
    measured = measured[measured[columns].notna().all(axis=1) & measured["label"].isin(classes)]
    asked = np.isin(names, measured.index)
    names, chosen = names[asked], measured.loc[names[asked]]
    labels, answers = chosen["label"].map(classes.index).to_numpy(int), chosen[columns].to_numpy(float)
    found = find_slices(features[asked], labels, answers, seed_of(seed, "slices"))
    if "problem" in found:
        return [], {"problem": found["problem"]}
    second, codes = found["codes"] >= 0, found["codes"]
    wrong, candidates = answers.argmax(1) != labels, []
    for code in np.unique(codes[second]):
        own = codes == code
        a, n, b, m = (int(v) for v in ((own & wrong).sum(), own.sum(), (second & ~own & wrong).sum(),
                                       (second & ~own).sum()))  # fmt: skip
        if n < FEWEST or not m:
            continue
        p = float(fisher_exact([[a, n - a], [b, m - b]], alternative="greater").pvalue)
        said = np.bincount(answers.argmax(1)[own & wrong] if a else answers.argmax(1)[own], minlength=len(classes))
        far = ((found["points"][own] - found["centres"][code]) ** 2).sum(1)
        order = np.lexsort((far, ~wrong[own]))  # the errors first, the most typical first
        candidates.append({
            "name": f"slice {code + 1}", "by": "features", "label": classes[int(said.argmax())], "images": n,
            "of": int(second.sum()), "share": n / int(second.sum()), "errors": a / n, "errors_elsewhere": b / m, "p": p,
            "with": goes_along(facts.reindex(names[second]).fillna(""), own[second]),
            "cases": names[own][order[:SHOWN]].tolist(),
        })  # fmt: skip
    for candidate, p in zip(candidates, holm([c["p"] for c in candidates]) if candidates else (), strict=True):
        candidate["p_adjusted"] = float(p)
    told = {"images": len(names), "counted_on": int(second.sum()), "slices": len(found["centres"])}
    return [c for c in candidates if c["p_adjusted"] <= LEVEL], told


def sentence(candidate: Mapping[str, Any]) -> str:
    """A candidate in words."""
    of = f"{candidate['images']} of {candidate['of']}"
    if candidate["by"] == "maps":
        said = (f"{candidate['name']}: {of} maps ({100 * candidate['share']:.0f} %) look most at the "
                f"{candidate['peak']}, {100 * candidate['outside']:.0f} % of their saliency outside the central field "
                f"and {100 * candidate['corners']:.0f} % in the corners")  # fmt: skip
    else:
        said = (f"{candidate['name']}: {of} images that look alike to the model, of which it gets "
                f"{100 * candidate['errors']:.0f} % wrong, mostly as {candidate['label']} (elsewhere "
                f"{100 * candidate['errors_elsewhere']:.0f} %, corrected p = {candidate['p_adjusted']:.3f})")
    along = ", ".join(f"{entry['what']} ({100 * entry['inside']:.0f} %, elsewhere {100 * entry['outside']:.0f} %)"
                      for entry in candidate["with"])  # fmt: skip
    return f"{said}; goes along with {along}." if along else f"{said}."

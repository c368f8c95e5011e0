"""Who is on which side: patients in train and test, and validation cut from train by patient."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from hashlib import sha256

import numpy as np
import pandas as pd


def shared_patients(frame: pd.DataFrame) -> np.ndarray:
    """bool (N,): usable rows (problem "") whose patient also has usable images on the other side of train and test."""
    good = frame["problem"] == ""
    is_test = frame["split"] == "test"
    both = set(frame.loc[good & is_test, "patient_id"]) & set(frame.loc[good & ~is_test, "patient_id"])
    return (good & frame["patient_id"].isin(both)).to_numpy()


def linked_patients(patients: Iterable[str], digests: Iterable[str]) -> dict[str, str]:
    """patient -> the name of its group: patients who share a digest (the same file) are in one group, transitively."""
    parent: dict[str, str] = {}

    def find(patient: str) -> str:
        while parent[patient] != patient:
            parent[patient] = patient = parent[parent[patient]]
        return patient

    first: dict[str, str] = {}
    for patient, digest in zip(patients, digests, strict=True):
        parent.setdefault(patient, patient)
        low, high = sorted((find(first.setdefault(digest, patient)), find(patient)))
        parent[high] = low
    return {patient: find(patient) for patient in parent}


def cut_validation(train: pd.DataFrame, fraction: float, seed: int, split: str = "val") -> np.ndarray:
    """bool (N,): the rows of `train` (patient_id, label, sha256) that become val, or the `split` of another name.

    Whole patients are taken, class by class (a patient counts for its most frequent class), in an order that follows
    from (seed, patient) alone, until `fraction` of the class's images is reached; a patient that would overshoot is
    left out. A class with at least two patients gets at least one, and keeps at least one in train. Patients with
    byte-identical images stay together.
    """
    group = train["patient_id"].map(linked_patients(train["patient_id"], train["sha256"]))
    tally: dict[str, Counter] = defaultdict(Counter)
    for name, label in zip(group, train["label"], strict=True):
        tally[name][label] += 1
    by_class = defaultdict(list)
    for name, counts in tally.items():
        by_class[min(counts, key=lambda label: (-counts[label], label))].append(name)
    chosen: set[str] = set()
    for names in by_class.values():
        names.sort(key=lambda name: sha256(repr((seed, split, name)).encode()).digest())
        chosen.update(_taken({name: tally[name].total() for name in names}, fraction))
    return group.isin(chosen).to_numpy()


def _taken(sizes: dict[str, int], fraction: float) -> list[str]:
    """The groups of one class (name -> images, in order) that go to val; never the last."""
    target, taken, total = fraction * sum(sizes.values()), [], 0
    for name in list(sizes)[:-1]:
        if total + sizes[name] <= target + 0.5:
            taken.append(name)
            total += sizes[name]
    if not taken and len(sizes) > 1:
        taken = [min(sizes, key=sizes.__getitem__)]
    return taken

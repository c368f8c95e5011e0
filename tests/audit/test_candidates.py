"""From maps and features to candidates: what is described, what they go along with, and that they stay suspicions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from xray_debug.audit.checks_table import checks_table
from xray_debug.audit.clusters.collect import facts_of, find_candidates, goes_along, region_of
from xray_debug.config import AuditConfig
from xray_debug.report.clusters import candidate_rows

ROWS, COLUMNS = np.mgrid[:28, :28]
CLASSES = ["normal", "COVID-19"]


def spot(rng, x: float, y: float) -> np.ndarray:
    x, y = x + rng.normal(0, 1.5), y + rng.normal(0, 1.5)
    return (np.exp(-((COLUMNS - x) ** 2 + (ROWS - y) ** 2) / 18) + 0.05 * rng.random((28, 28))).astype(np.float32)


def planted(count=60, seed=0):
    """COVID-19's maps of every third image look at the upper left corner, and these are from the south and show text;
    the model errs on a group that lies apart in its features and is of one view."""
    rng = np.random.default_rng(seed)
    names = [f"i{i}" for i in range(4 * count)]
    corner, group = np.arange(count) % 3 == 0, rng.random(4 * count) < 0.25
    labels = rng.integers(0, 2, 4 * count)
    wrong = rng.random(4 * count) < np.where(group, 0.8, 0.06)
    guess = np.where(wrong, 1 - labels, labels)
    answers = np.where(np.eye(2)[guess] > 0, 0.9, 0.1)
    features = rng.normal(size=(4 * count, 6))
    features[group, 0] += 5
    maps = [{"image_id": name, "saliency": spot(rng, 3, 3) if at else spot(rng, 14, 14)}
            for name, at in zip(names, corner, strict=False)]  # fmt: skip
    explained = pd.DataFrame({"image_id": names[:count], "target": "COVID-19", "hardly_moved": False})
    there = np.concatenate([corner, np.zeros(3 * count, bool)])
    frame = pd.DataFrame({"image_id": names, "label": [CLASSES[i] for i in labels],
                          "source": np.where(there, "south", "north"), "attr_view": np.where(group, "AP", "PA")})
    cases = pd.DataFrame({"image_id": names, "label": frame["label"], "predicted": [CLASSES[i] for i in guess],
                          "text_visible": there.astype(int), "text_kind": np.where(there, "word", ""),
                          "p_normal": answers[:, 0], "p_COVID-19": answers[:, 1]})  # fmt: skip
    return maps, explained, cases, frame, features, np.arange(4 * count), CLASSES


def test_a_planted_kind_and_a_planted_slice_are_described():
    found = find_candidates(*planted(), seed=1)
    kinds = [c for c in found["candidates"] if c["by"] == "maps"]
    assert found["maps"]["COVID-19"]["kinds"] == 2 and len(kinds) == 2
    first = kinds[0]  # the one that looks outside the field
    assert (first["label"], first["images"], first["of"], first["peak"]) == ("COVID-19", 20, 60, "top left")
    assert first["corners"] > 0.3 > 0.2 > kinds[1]["corners"] and kinds[1]["peak"] == "middle centre"
    # of the films with text all have a word, inside and outside: their kind tells nothing beyond that there is text
    assert {entry["what"] for entry in first["with"]} == {"source: south", "text: visible"}
    assert all((entry["inside"], entry["outside"]) == (1, 0) for entry in first["with"])
    assert set(first["cases"]) <= {f"i{i}" for i in range(0, 60, 3)} and len(first["cases"]) == 6
    slices = [c for c in found["candidates"] if c["by"] == "features"]
    assert slices and slices[0]["errors"] > 0.5 > slices[0]["errors_elsewhere"]
    assert "view: AP" in [entry["what"] for entry in slices[0]["with"]]
    assert "wrong" in slices[0]["text"] and "goes along with" in first["text"]
    assert find_candidates(*planted(), seed=1) == found


def test_candidates_are_suspicions_in_the_table_and_never_shown():
    found = find_candidates(*planted(), seed=1)
    table = checks_table({}, clusters=found)
    assert len(table) == len(found["candidates"]) and set(table["kind"]) == {"suspicion"} and not table["shown"].any()
    assert table["effect"][0] == pytest.approx(1 / 3) and np.isnan(table["p"][0])
    drawn = {**found, "candidates": [{**candidate, "figure": None} for candidate in found["candidates"]]}
    assert len(candidate_rows(drawn)) == len(table)


def test_too_little_is_said_and_nothing_is_grouped():
    maps, explained, cases, frame, _, rows, classes = planted()
    found = find_candidates(maps[:12], explained.head(12), cases, frame, None, rows, classes)
    assert found["candidates"] == [] and found["slices"] == {"problem": "the model's features cannot be had"}
    assert found["notes"] == ["COVID-19: 12 explained cases whose maps moved, at least 30 are needed"]
    still = explained.assign(hardly_moved=True)
    assert find_candidates(maps, still, cases, frame, None, rows, classes)["notes"] == ["no case was explained"]
    centre = [{**row, "saliency": spot(np.random.default_rng(i), 14, 14)} for i, row in enumerate(maps)]
    found = find_candidates(centre, explained, cases, frame, None, rows, classes)
    assert found["candidates"] == [] and "of 60 explained cases are of one kind" in found["notes"][0]
    assert found["maps"]["COVID-19"]["kinds"] == 1


def test_noise_makes_no_slice():
    *rest, features, rows, classes = planted()
    noise = np.random.default_rng(5).normal(size=features.shape)
    cases = rest[2].assign(**{"p_normal": 0.9, "p_COVID-19": 0.1})
    cases.loc[:, "label"] = np.where(np.random.default_rng(6).random(len(cases)) < 0.1, "COVID-19", "normal")
    found = find_candidates([], rest[1], cases, rest[3], noise, rows, classes)
    assert found["candidates"] == [] and found["slices"]["counted_on"] > 100


@given(st.integers(0, 500), st.sampled_from([7, 14, 28, 90]))
@settings(deadline=None, max_examples=25)
def test_shares_of_the_region(seed, side):
    rng = np.random.default_rng(seed)
    even = region_of([np.ones((side, side))] * 2)
    assert even["border"] == pytest.approx(1 - 0.9**2, abs=1e-5) and even["corners"] == pytest.approx(0.16, abs=1e-5)
    assert even["outside"] == pytest.approx(1 - 0.75**2, abs=1e-5) and even["centre"] == pytest.approx([0.5, 0.5])
    found = region_of(rng.random((3, side, side)))
    assert 0 <= found["border"] <= found["outside"] <= 1 + 1e-6 and 0 <= found["corners"] <= 1
    one = np.zeros((side, side))
    one[0, -1] = 1
    corner = region_of([one])
    assert corner["peak"] == "top right" and corner["centre"][0] > 0.9 > 0.1 > corner["centre"][1]


def test_what_goes_along_is_fishers_test():
    facts = pd.DataFrame({"source": ["a"] * 8 + ["b"] * 12, "sex": ["not known"] * 20})
    inside = np.arange(20) < 6
    found, rarer = goes_along(facts, inside)
    assert (rarer["what"], rarer["inside"], rarer["p"]) == ("source: b", 0, 1)  # it is asked after, and corrected for
    assert found["what"] == "source: a" and found["inside"] == 1 and found["outside"] == pytest.approx(2 / 14)
    assert found["p"] == pytest.approx(hypergeom.sf(5, 20, 8, 6))  # six of six drawn from eight among twenty
    assert goes_along(facts, np.zeros(20, bool)) == []
    facts.loc[facts.index[[5, 19]], "source"] = ""  # not known: in no share and in no test
    found, _ = goes_along(facts, inside)
    assert found["inside"] == 1 and found["outside"] == pytest.approx(2 / 13)
    assert found["p"] == pytest.approx(hypergeom.sf(4, 18, 7, 5))


def test_what_goes_along_with_maps_is_counted_once_a_patient():
    """Eleven of the twenty corner maps are of one patient, from the south, as four patients of the forty others are."""
    maps, explained, cases, frame, *_ = planted()
    corner, names = np.flatnonzero(frame["source"] == "south"), frame["image_id"]
    south = np.isin(np.arange(len(frame)), [*corner[9:], 1, 2, 4, 5])
    table = frame.assign(source=np.where(south, "south", "north"), patient_id=names)
    table.loc[corner[9:], "patient_id"] = "one"
    alone = table.assign(patient_id=names)
    for listed, told in ((table, False), (alone, True), (alone.drop(columns="patient_id"), True)):
        found = find_candidates(maps, explained, cases, listed, None, np.arange(len(listed)), CLASSES, seed=1)
        assert found["candidates"][0]["images"] == 20
        assert ("source: south" in [entry["what"] for entry in found["candidates"][0]["with"]]) == told


def test_facts_of_images_that_were_not_audited_are_empty():
    _, _, cases, frame, *_ = planted()
    facts = facts_of(frame, cases.iloc[1:])
    assert facts.loc["i0", "text"] == "" and facts.loc["i3", "text"] == "visible"
    assert list(facts) == ["source", "view", "class", "text", "kind of text"]
    assert AuditConfig().clusters

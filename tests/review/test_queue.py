"""The order of the cases, filters and their counts, and the next case that is open."""

import numpy as np
import pandas as pd
import pytest

from xray_debug.review.queue import (
    AGREED,
    DISAGREED,
    FIELDS,
    NOT_DECIDED,
    Decided,
    Filter,
    counts,
    make_queue,
    neighbour,
    next_open,
    select,
)


def tables(count: int = 60, seed: int = 0):
    rng = np.random.default_rng(seed)
    names = np.array([f"{i:03d}.png" for i in rng.permutation(count)])
    manifest = pd.DataFrame({
        "label": rng.choice(["normal", "COVID-19"], count), "source": rng.choice(["a", "b", None], count),
        "split": np.where(np.arange(count) < count // 2, "train", "test"), "test_set": ""}, index=names)  # fmt: skip
    tests = names[count // 2 :]
    kind = rng.choice(["decision", "probability", ""], len(tests))
    cases = pd.DataFrame({"flagged": kind != "", "kind": kind, "effect": rng.random(len(tests)).round(2),
                          "predicted": "normal"}, index=tests)  # fmt: skip
    found = rng.choice(names, 100)
    regions = pd.DataFrame({"image_id": found, "kind": rng.choice(["text", "device"], 100), "score": rng.random(100)})
    return manifest, cases, regions


def test_flagged_first_by_effect_then_the_least_sure_boxes_training_images_too():
    manifest, cases, regions = tables()
    queue = make_queue(manifest, cases, regions)
    flagged = set(cases.index[cases["flagged"]])
    wanted = sorted(flagged, key=lambda name: (-cases["effect"][name], name))
    least = regions.groupby("image_id")["score"].min()
    rest = (set(regions["image_id"]) | set(cases.index)) - flagged
    wanted += sorted(rest, key=lambda name: (least.get(name, 2.0), name))
    assert queue.names.tolist() == wanted
    assert any(name in rest for name in manifest.index[manifest["split"] == "train"])
    assert [queue.facts["show"][i] for i in range(len(queue))] == ["flagged"] * len(flagged) + ["others"] * len(rest)


def test_scores_of_boxes_that_are_not_erased_do_not_count():
    manifest = pd.DataFrame({"label": "x", "split": "train"}, index=list("abc"))
    regions = pd.DataFrame({"image_id": list("aabc"), "kind": ["text", "device", "text", "device"],
                            "score": [0.95, 0.5, 0.7, 0.6]})  # fmt: skip
    queue = make_queue(manifest, pd.DataFrame(), regions, erased=["text"])
    assert queue.names.tolist() == ["b", "a", "c"]
    assert list(queue.facts["score"]) == ["0.7 to 0.9", "0.9 and above", "no box"]
    assert list(queue.facts["kind"]) == ["text", "device, text", "device"]
    assert make_queue(manifest, pd.DataFrame(), regions).names.tolist() == ["a", "c", "b"]


def test_only_images_of_the_manifest_come_into_it():
    manifest, cases, regions = tables()
    queue = make_queue(manifest.drop(cases.index[:3]), cases, regions, ["not known.png"])
    assert not set(queue.names) & {*cases.index[:3], "not known.png"}


def test_without_audit_all_with_boxes_and_those_named_besides():
    manifest, _, regions = tables()
    bare = next(name for name in manifest.index if name not in set(regions["image_id"]))
    queue = make_queue(manifest, pd.DataFrame(), regions, [bare])
    assert set(queue.names) == set(regions["image_id"]) | {bare} and queue.names[-1] == bare
    assert len(make_queue(manifest, pd.DataFrame(), pd.DataFrame())) == 0


def random_filter(rng, queue, decided) -> Filter:
    values = {}
    for name in FIELDS:
        column = getattr(decided, name) if name in ("decided", "by", "disagreement") else np.asarray(queue.facts[name])
        if rng.random() < 0.25:
            values[name] = tuple(rng.choice(np.unique(column), rng.integers(1, 3)))
    return Filter.of(values, rng.choice(["", "", "1", "01"]))


@pytest.mark.parametrize("seed", range(8))
def test_filters_and_counts_against_the_slow_way(seed):
    rng = np.random.default_rng(seed)
    queue = make_queue(*tables(seed=seed))
    rows = [{"image_id": name, "decision": rng.choice(["approve", "reject"]), "reviewer": rng.choice(["ann", ""])}
            for name in rng.choice(queue.names, 20, replace=False)]  # fmt: skip
    decided = Decided(queue, len(rows), rows, [row["image_id"] for row in rows[:4]])
    table = pd.DataFrame({name: np.asarray(column) for name, column in queue.facts.items()}, index=queue.names)
    table = table.assign(decided=NOT_DECIDED, by="nobody", disagreement=AGREED)
    for at, row in enumerate(rows):
        table.loc[row["image_id"], ["decided", "by"]] = row["decision"], row["reviewer"] or "without a name"
        table.loc[row["image_id"], "disagreement"] = DISAGREED if at < 4 else AGREED
    for _ in range(20):
        asked = random_filter(rng, queue, decided)

        def left(but: str = "", asked=asked) -> pd.DataFrame:
            kept = table[[asked.search in name for name in table.index]]
            for name, values in asked.values.items():
                kept = kept if name == but else kept[kept[name].isin(values)]
            return kept

        assert queue.names[select(queue, decided, asked)].tolist() == left().index.tolist()
        for name in FIELDS:
            wanted = left(name)[name].value_counts().to_dict()
            assert {k: n for k, n in counts(queue, decided, asked, name).items() if n} == wanted


def test_the_next_open_case_comes_round_and_ends():
    queue = make_queue(*tables())
    decided, chosen = Decided(queue, 0), np.array([2, 5, 9])
    assert [next_open(chosen, decided, at) for at in (-1, 2, 4, 9, 30)] == [2, 5, 5, 2, 2]
    decided.put(queue.names[5], {"decision": "reject", "reviewer": "ann"}, False)
    assert next_open(chosen, decided, 2) == 9 and decided.by[5] == "ann"
    for at in (2, 9):
        decided.put(queue.names[at], {"decision": "approve", "reviewer": ""}, False)
    assert next_open(chosen, decided, 2) is None
    decided.put(queue.names[9], None, False)
    assert next_open(chosen, decided, 9) == 9 and decided.decided[9] == NOT_DECIDED


def test_neighbours_of_a_case_that_the_filter_leaves_out():
    chosen = np.array([2, 5, 9])
    assert [neighbour(chosen, at, -1) for at in (2, 3, 5, 9, 12)] == [None, 2, 2, 5, 9]
    assert [neighbour(chosen, at, 1) for at in (0, 2, 3, 9, 12)] == [2, 5, 5, None, None]
    assert neighbour(np.array([], int), 3, 1) is None


def test_a_search_is_for_a_part_of_the_name_whatever_its_case():
    manifest = pd.DataFrame({"label": "x", "split": "train"}, index=["Anna.PNG", "Straße.png", "b.png"])
    regions = pd.DataFrame({"image_id": manifest.index, "kind": "text", "score": 0.5})
    queue = make_queue(manifest, pd.DataFrame(), regions)
    decided = Decided(queue, 0)
    wanted = {"anna": ["Anna.PNG"], "STRASSE": ["Straße.png"], ".png": sorted(manifest.index), "[": []}
    for text, names in wanted.items():
        assert sorted(queue.names[select(queue, decided, Filter.of({}, text))]) == names


def test_bands_of_scores():
    manifest = pd.DataFrame({"label": "x", "split": "train"}, index=list("abcde"))
    regions = pd.DataFrame({"image_id": list("abcd"), "kind": "text", "score": [0.2, 0.5, 0.89, 0.9]})
    queue = make_queue(manifest, pd.DataFrame(), regions, ["e"])
    assert dict(zip(queue.names, queue.facts["score"], strict=True)) == {
        "a": "below 0.5", "b": "0.5 to 0.7", "c": "0.7 to 0.9", "d": "0.9 and above", "e": "no box"}  # fmt: skip

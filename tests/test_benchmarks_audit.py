"""The audit's benchmark: what it plants is exact, what it counts is counted right, what is done is not done again."""

import gzip
import importlib.util
import json
import sys
from statistics import mean
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks_fixture import FOLDER
from scipy import stats

from xray_debug.audit.hypotheses import Hypothesis
from xray_debug.data.view import ModelView

PARTS = ("audit_plants", "audit_tables", "audit_power", "audit_rival", "audit_saliency", "audit_dataset")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in PARTS:
        __import__(name)
    spec = importlib.util.spec_from_file_location("audit_benchmark", FOLDER / "audit.py")  # tests/audit has the name
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return SimpleNamespace(program=program, **{name.removeprefix("audit_"): sys.modules[name] for name in PARTS})


# ------------------------------------------------------------------------------------------- what is planted


def test_films_without_what_is_planted_differ_in_nothing_else(bench):
    """The same film of every plant, its text and its property gone, is the film of the dataset with nothing planted."""
    plants = bench.plants
    bare = {plants.EASY: plants.films_of("clean", 0.95, "test", 9, 3)[2].drawn(marker=None).image,
            plants.HARD: plants.films_of("marker-bright", 0.95, "test", 9, 3)[2].drawn(marker=None).image}
    for name, plant in plants.PLANTS.items():
        film = plants.films_of(name, 0.95, "test", 9, 3)[2]
        without = film.drawn(marker=None, device=None, has=False).image
        if plant.prop == "jpeg" or plant.difficulty not in bare:
            continue
        if plant.prop != "body":  # a body has no film without one
            np.testing.assert_array_equal(without, bare[plant.difficulty], err_msg=name)
        for factor, (before, after) in film.pairs().items():
            assert (before != after).any(), (name, factor)
    plants.forget()


def test_what_each_plant_changes(bench):
    """A frame only the rim, a strip only between 5 and 12.5 %, a disc its box, a mirror the side and nothing else."""
    plants, size = bench.plants, bench.plants.SIZE
    rows = np.arange(size) / size
    inside = np.minimum(np.minimum(rows, 1 - rows)[:, None], np.minimum(rows, 1 - rows)[None])
    for name, low, high in (("border", 0.0, 0.05), ("field", 0.05, 0.125)):
        film = plants.films_of(name, 1.0, "test", 3, 1)[2]
        own, other = (film.drawn(marker=None, has=has).image for has in (True, False))
        where = np.argwhere(own != other)
        distance = inside[tuple(where.T)] if name == "border" else np.minimum(rows, 1 - rows)[where[:, 1]]
        assert len(where) and distance.max() <= high
        assert distance.min() >= low
    film = plants.films_of("region", 1.0, "test", 3, 1)[2]
    drawn, other = film.drawn(marker=None), film.drawn(marker=None, has=False)
    x0, y0, x1, y1 = drawn.regions[0]
    changed = drawn.image != other.image
    assert changed[y0:y1, x0:x1].any() and changed.sum() == changed[y0:y1, x0:x1].sum()
    film = plants.films_of("mirror", 1.0, "test", 3, 1)[2]
    np.testing.assert_array_equal(film.drawn(marker=None).image[:, ::-1], film.drawn(marker=None, has=False).image)
    film = plants.films_of("side", 1.0, "test", 3, 1)[2]
    (here,), (there,) = (film.drawn(has=has).boxes[:1] for has in (True, False))
    assert here["text"] == there["text"] and here["box"][1::2] == there["box"][1::2]
    assert here["box"][0] > size / 2 > there["box"][2]
    plants.forget()


@pytest.mark.parametrize("correlation", [0.95, 0.8, 0.6])
def test_shares_are_exact(bench, correlation):
    marked = bench.plants.films_of("two", correlation, "train", 120, 4)
    weak = bench.plants.films_of("weak", correlation, "train", 120, 4)
    for label in bench.plants.CLASSES:
        own = [film for film in marked if film.label == label]
        assert len(own) == 40
        assert sum(film.marker == label for film in own) == round(correlation * 40)
        assert sum(film.typical for film in own) == round(correlation * 40)
        assert sum(film.marker == label for film in weak if film.label == label) == 24  # its own correlation
    both = [(film.marker == film.label, film.typical) for film in marked]
    assert {(True, False), (False, True)} <= set(both)  # the exceptions of one are not those of the other


def test_the_group_is_what_is_planted(bench):
    for name in bench.plants.PLANTS:
        films = bench.plants.films_of(name, 0.95, "train", 60, 2)
        share = {label: mean(float(film.group) for film in films if film.label == label)
                 for label in bench.plants.CLASSES}
        if name in ("clean", "clean-bare"):
            assert all(0 < own < 0.8 for own in share.values())
        else:  # of COVID-19, and seldom of others
            assert share["COVID-19"] == pytest.approx(0.6 if name == "weak" else 0.95)
            assert max(share["normal"], share["pneumonia"]) < share["COVID-19"] / 2


def test_every_kind_of_question_has_a_plant_and_every_plant_a_question(bench):
    right = {kind for plant in bench.plants.PLANTS.values() for kind in plant.right}
    assert right == set(bench.tables.KINDS)
    assert all(factor in ("text", "absence", "device", "prop") for plant in bench.plants.PLANTS.values()
               for factor in plant.right.values())  # fmt: skip


# ------------------------------------------------------------------------------------------- what is counted


def row(check, question, label="COVID-19", effect=0.5, shown=True, tested=True):
    return {"check": check, "question": question, "label": label, "n": 24, "effect": effect, "control": 0.0,
            "difference": effect, "p_adjusted": 0.01, "tested": tested, "shown": shown}


def record(name, effects, questions, seed=101, **more):
    return {"name": name, "seed": seed, "correlation": 0.95, "questions": questions, "suspicions": [], "verdict": "",
            "effects": {factor: {"COVID-19": {"n": 24, "effect": value}} for factor, value in effects.items()},
            "flags": {"flagged": 4, "changed": 5, "both": 3, "large": 2, "large_both": 2}, **more}


@pytest.fixture
def records():
    return [
        record("marker-bright", {"text": 0.4}, [row("text", "text", effect=0.5), row("look", "look:noise", shown=False),
                                                row("laterality", "laterality:marker")]),
        record("marker-bright", {"text": 0.2}, [row("text", "text", effect=0.1, shown=False)], seed=102),
        record("weak", {"text": 0.1}, [row("text", "text", effect=0.1)]),
        record("clean", {"text": -0.02}, [row("text", "text", shown=False), row("border", "region:border")]),
        record("brightness", {"text": 0.0, "prop": 0.15}, [row("look", "look:brightness", effect=0.35),
                                                           row("look", "look:gamma", effect=0.9),
                                                           row("field", "region:outside centre", tested=False)]),
        record("border", {"prop": 0.3}, [row("look", "look:contrast")]),
    ]  # fmt: skip


def test_hits_and_false_alarms_of_each_check(bench, records):
    table = bench.tables.check_table(records)
    counts = {kind: tuple((row[truth]["k"], row[truth]["n"]) for truth in ("taken", "between", "left"))
              for kind, row in table.items() if any(row[t]["n"] for t in ("taken", "between", "left"))}
    assert counts == {
        "text": ((1, 2), (1, 1), (0, 1)),
        "border": ((0, 1), (0, 0), (1, 1)),  # what was planted and not even asked is a miss
        "field": ((0, 1), (0, 0), (0, 0)),  # a question that was not tested is no silence
        "look": ((1, 1), (0, 0), (0, 1)),  # of the border's dataset it is not known
        "all": ((2, 5), (1, 1), (1, 3)),
    }  # fmt: skip
    assert [(table[kind]["nothing"]["k"], table[kind]["nothing"]["n"]) for kind in ("text", "border", "look")] == [
        (0, 1), (1, 1), (0, 0)]  # fmt: skip
    found = table["all"]["taken"]
    wilson = stats.binomtest(2, 5).proportion_ci(method="wilson")
    assert (found["low"], found["high"]) == pytest.approx((wilson.low, wilson.high))


def test_what_is_told_one_way_is_counted_where_no_look_was_named(bench, records):
    missed = row("look", "look:noise", shown=False)
    told = [record("sharpness", {"prop": 0.5}, [missed], one_way={"COVID-19": ["noise"]}),
            record("sharpness", {"prop": 0.5}, [missed], one_way={}),
            record("sharpness", {"prop": 0.5}, [missed]),  # of an older form, which did not look
            record("clean", {}, [missed], one_way={})]
    found = bench.tables.told_one_way([*records, *told])  # brightness was named; no look was planted on marker-bright
    assert {truth: (own["k"], own["n"]) for truth, own in found.items()} == {"taken": (1, 2), "left": (0, 1)}


def test_class_by_class_the_very_property_must_be_named(bench):
    """Another look, another class and a class with few films are no hits; what is below LEFT is a false alarm."""
    def one(questions, **effects):
        own = record("brightness", {}, questions)
        own["effects"] = {"prop": {label: {"n": n, "effect": value} for label, (n, value) in effects.items()}}
        return own

    found = bench.tables.class_table([
        one([row("look", "look:brightness", "normal"), row("look", "look:gamma", "pneumonia")],
            normal=(24, 0.3), pneumonia=(24, 0.3)),
        one([row("look", "look:brightness", "normal")], normal=(24, 0.01), pneumonia=(3, 0.5))])  # fmt: skip
    assert {truth: (own["k"], own["n"]) for truth, own in found["look"].items()} == {"taken": (1, 2), "left": (1, 1)}
    assert found["all"] == found["look"] and found["border"]["taken"]["n"] == 0


def test_a_region_all_round_is_doubted_where_a_look_is_shown_of_every_class_that_shows_it(bench):
    border, look = row("border", "region:border"), row("look", "look:brightness")
    other = row("border", "region:border", "normal")
    told = [record("brightness", {"prop": 0.5}, [border, look]),
            record("brightness", {"prop": 0.5}, [border, other, look]), record("brightness", {"prop": 0.5}, [look]),
            record("border", {"prop": 0.5}, [border]), record("border", {"prop": 0.5}, [border, look])]  # fmt: skip
    found = bench.tables.told_beside_a_look(told)
    assert {truth: (own["k"], own["n"]) for truth, own in found.items()} == {"taken": (1, 2), "left": (1, 2)}


def test_the_error_of_the_effect_is_against_the_exact_one_of_the_class(bench, records):
    assert bench.tables.effect_errors(records, "text") == [(0.5, 0.4), (0.1, 0.2)]
    assert bench.tables.effect_errors(records, "look") == [(0.35, 0.15)]  # gamma was not planted
    found = bench.tables.error_of([(0.5, 0.4), (0.1, 0.2), (0.35, 0.15)])
    assert found["value"] == pytest.approx(mean((0.1, 0.1, 0.2))) and found["signed"] == pytest.approx(0.2 / 3)
    assert found["low"] <= found["value"] <= found["high"]
    assert bench.tables.error_of([])["value"] is None


def test_a_class_with_few_films_that_have_it_says_nothing(bench, records):
    """The frame on a single film of another class is not what the audit measured on all of them."""
    own = records[5]
    own["effects"]["prop"]["normal"] = {"n": 1, "effect": 0.9}
    own["questions"] = [row("border", "region:border", label, 0.2) for label in ("normal", "COVID-19")]
    assert bench.tables.effect_errors([own], "border") == [(0.2, 0.3)]
    assert bench.tables.exact_effect(own, "prop") == 0.3


def test_flags_are_pooled_over_cases(bench, records):
    found = bench.tables.flag_shares(records)
    assert [(found[name]["k"], found[name]["n"]) for name in ("precision", "recall", "recall_large")] == [
        (18, 24), (18, 30), (12, 12)]  # fmt: skip


def test_flags_of_cases(bench):
    import pandas as pd

    before = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    without = np.array([[0.1, 0.9], [0.45, 0.55], [np.nan, np.nan], [0.55, 0.45]])
    cases = pd.DataFrame({"kind": ["decision", "", "decision", "probability"]})
    assert bench.dataset.flags_of(cases, before, without, 0.2) == {
        "flagged": 2, "changed": 2, "both": 1, "large": 1, "large_both": 1}  # fmt: skip
    assert not any(bench.dataset.flags_of(cases, before, None, 0.2).values())


def test_suspicions(bench):
    def suspicion(check, question, p):
        return {"check": check, "question": question, "effect": 0.5, "control": 0.3, "p_adjusted": p}

    rows = [suspicion("source", "source", 0.01), suspicion("properties", "file type", 1.0),
            suspicion("features", "source", 0.01), suspicion("features", "attribute sex", 0.9),
            suspicion("look", "noise of the film", 0.01)]  # fmt: skip
    table = bench.tables.suspicion_table([record("noise", {"prop": 0.4}, [], suspicions=rows),
                                          record("clean", {}, [], suspicions=rows)])
    counts = {name: ((own["taken"]["k"], own["taken"]["n"]), (own["left"]["k"], own["left"]["n"]))
              for name, own in table.items()}
    assert counts == {"source": ((1, 1), (1, 1)), "attributes": ((0, 0), (0, 0)), "properties": ((0, 0), (0, 2)),
                      "features": ((1, 1), (1, 3))}  # fmt: skip


def test_the_rule_of_thumb_and_the_rival_are_judged_by_the_same_truth(bench, records):
    for own in records:
        own["saliency"] = {method: {"text": 1.5, "border": 0.5} for method in bench.saliency.RULE}
        own["verdict"] = "COVID-19 relies on text" if own["questions"][0]["shown"] else "not shown"
    table = bench.tables.rule_table(records)
    assert (table["igos_pp > 1"]["taken"]["k"], table["igos_pp > 1"]["taken"]["n"]) == (2, 3)
    assert (table["igos_pp > 1"]["left"]["k"], table["igos_pp > 1"]["left"]["n"]) == (3, 8)
    assert table["igos_pp > 2"]["taken"]["k"] == table["igos_pp > 2"]["left"]["k"] == 0
    flags = {bench.tables.key_of(own): {"probe": own["name"] != "clean", "hbac": None} for own in records[:4]}
    table = bench.tables.rival_table(records, flags)
    assert (table["probe"]["taken"]["k"], table["probe"]["taken"]["n"], table["probe"]["left"]["k"]) == (2, 2, 0)
    assert table["hbac"]["taken"]["n"] == 0 and table["audit"]["taken"]["k"] == 1


def test_saliency_scores(bench):
    map_, mask = np.zeros((4, 4)), np.zeros((4, 4))
    map_[0, 0], map_[3, 3], mask[0, :2] = 3.0, 1.0, 1
    assert bench.saliency.scores(map_, mask) == (1.0, 0.75, 6.0)
    film = SimpleNamespace(image=np.zeros((40, 40)), devices=[], regions=[[0, 0, 20, 20]])
    masks = bench.saliency.region_masks(film, np.zeros((0, 4)), ModelView(40))
    assert set(masks) == {"regions", "border", "field"} and masks["regions"].mean() == 0.25
    assert masks["border"].mean() == pytest.approx(1 - 0.9**2)


# ------------------------------------------------------------------------------------------- power


def question(name="region:border", n=40, size=0.6):
    rng = np.random.default_rng(5)
    control = rng.normal(0, 0.01, n)
    effect = size + control + rng.normal(0, 0.05, n)
    beyond = np.concatenate([effect - control, rng.normal(0, 0.01, 2 * n)])
    return Hypothesis("COVID-19", name, effect, control, beyond=beyond, own=np.arange(3 * n) < n)


def test_resampled_cases_have_the_effect_on_average(bench):
    found = [bench.power.resampled(question(), 0.2, 50, np.random.default_rng(seed)) for seed in range(60)]
    assert all(len(h.effect) == 50 and len(h.beyond) == 150 and h.own.sum() == 50 for h in found)
    means = [float((h.effect - h.control).mean()) for h in found]
    assert mean(means) == pytest.approx(0.2, abs=0.02)
    assert mean(float((h.effect > 0.3).mean()) for h in found) == pytest.approx(0.2 / 0.6, abs=0.03)  # some answer
    assert bench.power.resampled(question(), 0.9, 50, np.random.default_rng(0)) is None  # more than all of them


def test_a_question_that_is_put_to_the_class_alone(bench):
    from dataclasses import replace

    h = replace(question("absence"), beyond=None, own=None)
    found = bench.power.resampled(h, 0.2, 80, np.random.default_rng(0))
    assert found.beyond is None and len(found.effect) == 80
    assert bench.power.power([(h, 30)], 0.2, 120, draws=2) == 1.0


def test_more_images_show_more(bench):
    asked = [(question(), 30)]
    few, many = (bench.power.power(asked, 0.2, count, draws=4) for count in (10, 120))
    assert few < many == 1.0
    assert bench.power.power(asked, 0.9, 10) is None


def test_the_fewest_images_that_will_do(bench):
    assert bench.power.fewest({"10": 0.2, "20": 0.85, "30": 0.7, "50": 0.9, "80": 1.0}) == 50
    assert bench.power.fewest({"10": 0.2, "200": 0.7}) is None


# ------------------------------------------------------------------------------------------- the command


@pytest.fixture
def measured(bench, monkeypatch):
    """What is measured, in place of the minute that a dataset takes."""
    done = []

    def run_dataset(folder, name, correlation, seed, methods, detector):
        folder.mkdir(parents=True)
        (folder / "film.png").write_bytes(b"x")
        (folder / "cases.parquet").write_bytes(b"x")
        done.append((name, correlation, seed))
        maps = {method: {} for method in bench.saliency.RULE}
        return {**record(name, {"text": 0.0}, [row("text", "text", shown=False)], seed), "correlation": correlation,
                "verdict": "not shown", "saliency": maps, "seconds": {"train": 1.0}}

    monkeypatch.setattr(bench.program.audit_dataset, "run_dataset", run_dataset)
    return done


def test_a_run_that_was_stopped_goes_on_and_parts_add_up(bench, measured, tmp_path, capsys):
    line = ["--json", str(tmp_path / "audit.json"), "--work", str(tmp_path / "work"), "--only", "clean", "mirror"]
    bench.program.main([*line, "--seeds", "101"])
    bench.program.main([*line, "--seeds", "101", "102", "--correlations", "0.95", "0.6"])
    assert measured == [("clean", 0.95, 101), ("mirror", 0.95, 101), ("mirror", 0.6, 101), ("clean", 0.95, 102),
                        ("mirror", 0.95, 102), ("mirror", 0.6, 102)]  # fmt: skip
    assert [p.name for p in sorted((tmp_path / "work" / "clean-0.95-101").iterdir())] == ["cases.parquet"]
    saved = json.loads((tmp_path / "audit.json").read_text())
    assert list(saved["datasets"])[:2] == ["clean 0.95 101", "mirror 0.95 101"]
    said = capsys.readouterr().out
    assert "6 datasets, seeds 101, 102" in said
    bench.program.main([*line, "--seeds", "103", "--table"])
    assert len(measured) == 6 and "0 datasets" in capsys.readouterr().out


def test_seeds_of_both_kinds_are_no_table(bench, capsys):
    with pytest.raises(SystemExit):
        bench.program.main(["--seeds", "3", "101"])
    assert "expected seeds below 101" in capsys.readouterr().err


def test_the_rival_is_left_out_with_a_sentence_where_it_is_absent(bench, measured, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "shortcut_detect", None)
    bench.program.main(["--json", str(tmp_path / "a.json"), "--work", str(tmp_path), "--only", "clean", "--rival"])
    assert "ShortKit-ML is not installed" in capsys.readouterr().out


def test_compressed_results_are_read_as_they_were_written_and_are_the_same_bytes_each_time(bench, tmp_path):
    program, results = bench.program, {"datasets": {"a": {"seed": 101, "value": 0.5}}, "rival": {}, "power": {"b": {}}}
    for name in ("one.json.gz", "two.json.gz", "plain.json"):
        program.write_results(tmp_path / name, results)
        assert program.read_results(tmp_path / name) == results
    one, two, plain = ((tmp_path / name).read_bytes() for name in ("one.json.gz", "two.json.gz", "plain.json"))
    assert one == two and gzip.decompress(one) == plain
    assert program.read_results(tmp_path / "none.json.gz") == {"datasets": {}, "rival": {}, "power": {}}

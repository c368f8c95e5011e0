"""detect, clean and explain of a folder of images, without a run."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from xray_debug.cleaning.erase import clean_image
from xray_debug.config import ConfigError, PhantomConfig, PipelineConfig
from xray_debug.data.boxes import as_boxes
from xray_debug.data.images import read_image, write_image
from xray_debug.data.view import ModelView
from xray_debug.models import build_model, save_checkpoint
from xray_debug.models.explainer import ExplainWorker
from xray_debug.phantom.dataset import PhantomWorker, phantom_rows
from xray_debug.run.engine import Engine
from xray_debug.stages.loose import BOXES, Job, clean_images, detect_images, explain_loose
from xray_debug.text import laterality, load_detector


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder of six drawn films with markers, two of them in a sub-folder, and a file that is no image."""
    drawn, folder = tmp_path_factory.mktemp("drawn"), tmp_path_factory.mktemp("films")
    config = PhantomConfig(train=12, test=6, size=160, correlation=1)
    rows = phantom_rows(config, 0)[:6]
    worker = PhantomWorker(str(drawn), config, 0)
    getattr(worker, "open", lambda: None)()
    worker(rows)
    (folder / "deep").mkdir()
    for number, file in enumerate(sorted(drawn.rglob("*.png"))[:6]):
        write_image(folder / ("deep" if number > 3 else "") / f"{number}.png", read_image(file))
    (folder / "notes.png").write_text("no image")
    return folder


def job(films, out, **changes) -> tuple[Job, list[str]]:
    said = []
    engine = Engine(PipelineConfig().engine.model_copy(update={"workers": 1}), say=said.append)
    return Job(films, out, PipelineConfig(**changes), engine, said.append), said


NAMES = ["0.png", "1.png", "2.png", "3.png", "deep/4.png", "deep/5.png"]


def test_boxes_are_the_detectors_and_the_cleaned_images_the_inpainted_ones(films, tmp_path):
    work, said = job(films, tmp_path / "boxes.csv")
    detect_images(work)
    table = pd.read_csv(tmp_path / "boxes.csv")
    assert list(table) == BOXES and any("notes.png" in text for text in said)
    detector, found = load_detector("craft-lite"), {}
    for name in NAMES:
        boxes = detector.detect([read_image(films / name)])[0]
        found[name] = [box.box for box in boxes if box.kind == "text"]  # what is erased
        own = table[table["image_id"] == name]
        assert own[BOXES[1:6]].to_numpy().tolist() == [[box.kind, *box.box] for box in boxes]
    assert sum(map(len, found.values())) > 3
    for out, boxes in (("with", tmp_path / "boxes.csv"), ("without", None)):
        clean_images(job(films, tmp_path / out)[0], boxes)
        for name in NAMES:
            image = read_image(films / name)
            wanted = clean_image(image, as_boxes(found[name]), PipelineConfig().clean)[0] if found[name] else image
            np.testing.assert_array_equal(read_image(tmp_path / out / name), wanted)
    log = pd.read_csv(tmp_path / "with" / "changes.csv")
    assert log["image_id"].tolist() == log["file"].tolist() == [name for name in NAMES if found[name]]
    assert not list(tmp_path.glob(".*")), "parts are gone once all is done"


def test_letters_stay_where_they_are_asked_for(films, tmp_path, monkeypatch):
    monkeypatch.setattr(laterality, "LetterReader", lambda: SimpleNamespace(side=lambda image, box: "R"))
    rows = [("0.png", 60, 50, 72, 64), ("0.png", 40, 100, 90, 114)]  # the second is too long for a letter
    pd.DataFrame(rows, columns=["image_id", "x0", "y0", "x1", "y1"]).to_csv(tmp_path / "boxes.csv", index=False)
    clean_images(job(films, tmp_path / "out", clean={"keep": "laterality"})[0], tmp_path / "boxes.csv")
    image, erased = read_image(films / "0.png"), as_boxes([rows[1][1:]])
    wanted = clean_image(image, erased, PipelineConfig().clean)[0]
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "0.png"), wanted)
    assert not np.array_equal(wanted, image)
    assert pd.read_csv(tmp_path / "out" / "changes.csv")["boxes"].tolist() == ["[[40, 100, 90, 114]]"]


def test_a_device_is_no_letter_and_makes_none_beside_it_a_word(films, tmp_path, monkeypatch):
    """As in a run: where devices are erased, too, their boxes are not read, and a letter near one still stays."""
    monkeypatch.setattr(laterality, "LetterReader", lambda: SimpleNamespace(side=lambda image, box: "R"))
    rows = [("0.png", "text", 60, 50, 72, 64), ("0.png", "device", 74, 50, 86, 64), ("1.png", "device", 9, 9, 20, 20)]
    table = pd.DataFrame(rows, columns=["image_id", "kind", "x0", "y0", "x1", "y1"])
    table.to_csv(tmp_path / "boxes.csv", index=False)
    wanted = {"keep": "laterality", "kinds": ["text", "device"]}
    clean_images(job(films, tmp_path / "out", clean=wanted)[0], tmp_path / "boxes.csv")
    log = pd.read_csv(tmp_path / "out" / "changes.csv").set_index("image_id")["boxes"]
    assert log.to_dict() == {"0.png": "[[74, 50, 86, 64]]", "1.png": "[[9, 9, 20, 20]]"}


def test_explanations_are_the_stages_own(films, tmp_path):
    model = save_checkpoint(build_model("covidnet", ["normal", "COVID-19"], ModelView(32), seed=1), tmp_path / "model")
    changes = {"explain": {"mask_size": 8}}
    explain_loose(job(films, tmp_path / "out", **changes)[0], model, "igos_pp", "quick", "normal")
    table = pd.read_csv(tmp_path / "out" / "explanations.csv")
    assert table["image_id"].tolist() == NAMES and (table["target"] == "normal").all()
    worker = ExplainWorker(str(model), "igos_pp", {"preset": "quick"}, 8)
    worker.open()
    view = worker.model.view.apply(read_image(films / "deep/4.png"))
    row = worker([{"image_id": "deep/4.png", "view": view, "target": "normal"}])[0]
    assert table.set_index("image_id").loc["deep/4.png", "deletion"] == pytest.approx(row["deletion"], abs=1e-6)
    assert all((tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG") for name in table["picture"])
    with pytest.raises(ConfigError, match="--target covid: expected one of normal, COVID-19"):
        explain_loose(job(films, tmp_path / "other")[0], model, "igos_pp", None, "covid")


def test_a_stopped_command_goes_on(films, tmp_path, monkeypatch):
    from xray_debug.text.worker import DetectWorker

    real, asked = DetectWorker.__call__, []

    def once(self, rows):
        asked.append([row["image_id"] for row in rows])
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(self, rows)

    monkeypatch.setattr(DetectWorker, "__call__", once)
    monkeypatch.setattr(DetectWorker, "batch", 2, raising=False)
    monkeypatch.setattr("xray_debug.stages.loose.MOST", 2)
    with pytest.raises(KeyboardInterrupt):
        detect_images(job(films, tmp_path / "boxes.csv")[0])
    assert not (tmp_path / "boxes.csv").exists()
    begun = {*asked[0], *asked[1]}
    asked[:] = [["one more"], ["and another"], ["and a third"]]
    detect_images(job(films, tmp_path / "boxes.csv")[0])
    again = {name for names in asked[3:] for name in names}
    assert {*NAMES, "notes.png"} - begun <= again and begun - again, "a part that was whole is not done again"
    monkeypatch.setattr(DetectWorker, "__call__", real)
    detect_images(job(films, tmp_path / "other.csv")[0])
    assert (tmp_path / "other.csv").read_bytes() == (tmp_path / "boxes.csv").read_bytes()


def test_nothing_of_the_users_is_replaced_or_written_among(films, tmp_path):
    (tmp_path / "mine.csv").write_text("a,b\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("x")
    for act, out, words in (
        (detect_images, tmp_path / "mine.csv", "is there already; choose"),
        (detect_images, films / "b.csv", "in or around"),
        (detect_images, tmp_path / "b.txt", r"ending in \.csv"),
        (lambda work: clean_images(work, None), tmp_path / "mine", "is there already"),
        (lambda work: clean_images(work, None), films, "in or around"),
        (lambda work: clean_images(work, None), films.parent, "in or around"),
    ):
        with pytest.raises(ConfigError, match=words):
            act(job(films, out)[0])
    (tmp_path / "strange.csv").write_text("image_id,x0,y0,x1,y1\nelsewhere.png,1,2,3,4\n")
    with pytest.raises(ConfigError, match="elsewhere.png is no image there"):
        clean_images(job(films, tmp_path / "new")[0], tmp_path / "strange.csv")
    with pytest.raises(ConfigError, match="expected a folder of images, found none in it"):
        detect_images(job(tmp_path / "mine", tmp_path / "b.csv")[0])
    assert (tmp_path / "mine.csv").read_text() == "a,b\n"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.doc"]


def test_a_folder_that_is_taken_away_while_the_command_is_stopped(films, tmp_path, monkeypatch):
    """Nothing is left out: what was written and is gone is written again, or the command says so."""
    from xray_debug.cleaning.worker import CleanWorker

    real, asked = CleanWorker.__call__, []

    def thrice(self, rows):
        asked.append(rows)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(self, rows)

    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image_id,x0,y0,x1,y1\n0.png,5,5,30,30\n")
    monkeypatch.setattr(CleanWorker, "batch", 1, raising=False)
    monkeypatch.setattr("xray_debug.stages.loose.MOST", 1)
    monkeypatch.setattr(CleanWorker, "__call__", thrice)
    with pytest.raises(KeyboardInterrupt):
        clean_images(job(films, tmp_path / "out")[0], boxes)
    monkeypatch.setattr(CleanWorker, "__call__", real)
    (tmp_path / "out").rename(tmp_path / "away")
    clean_images(job(films, tmp_path / "out")[0], boxes)
    assert all((tmp_path / "out" / name).is_file() for name in NAMES)

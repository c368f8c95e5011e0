"""A detector that tells devices from text: what detect keeps, clean erases, and the audit says of them."""

import importlib.metadata
import json
import textwrap
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import xray_debug
from xray_debug.cli import app
from xray_debug.config import ConfigError, PipelineConfig, parse_config
from xray_debug.data.images import read_image, write_image
from xray_debug.run.engine import Engine
from xray_debug.run.store import Store
from xray_debug.stages.detect import found_words
from xray_debug.stages.loose import Job, clean_images, detect_images
from xray_debug.text import DETECTORS, laterality

SIZE, DEVICE, TEXT = 64, (40, 40, 52, 52), (6, 8, 20, 16)
TELLER = textwrap.dedent(f"""
    from xray_debug.data.boxes import TextBox

    class Teller:
        name = "teller"
        def __init__(self, weights=None):
            pass
        def detect(self, images):
            found = []
            for image in images:
                boxes = [TextBox(*{TEXT}, 0.9)] if image[{TEXT[1]} + 1, {TEXT[0]} + 1] > 200 else []
                bright = image[{DEVICE[1]}:{DEVICE[3]}, {DEVICE[0]}:{DEVICE[2]}].mean() > 200
                found.append(boxes + ([TextBox(*{DEVICE}, 0.8, "device")] if bright else []))
            return found
""")


class SeesDevices(torch.nn.Module):
    """Logits of "normal" and "ill" from the brightness of one place."""

    def forward(self, images):
        x0, y0, x1, y1 = DEVICE
        ill = 8 * (images[:, 0, y0:y1, x0:x1].mean((1, 2)) - 0.7)
        return torch.stack([-ill, ill], dim=1)


@pytest.fixture
def teller(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "teller_detector.py").write_text(TELLER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "code")
    point, real = importlib.metadata.EntryPoint("teller", "teller_detector:Teller", DETECTORS.group), \
        importlib.metadata.entry_points
    monkeypatch.setattr(importlib.metadata, "entry_points",
                        lambda **named: [point] if named.get("group") == DETECTORS.group else real(**named))


def films(folder, count):
    """Films with a device on the ill ones and a marker on every third; the folder and a table of them."""
    folder.mkdir()
    rows, rng = [], np.random.default_rng(0)
    for i in range(count):
        image, label = rng.integers(60, 110, (SIZE, SIZE)).astype(np.uint8), ("normal", "ill")[i % 2]
        if label == "ill":
            image[DEVICE[1]:DEVICE[3], DEVICE[0]:DEVICE[2]] = 240
        if i % 3 == 0:
            image[TEXT[1]:TEXT[3], TEXT[0]:TEXT[2]] = 250
        write_image(folder / f"{i:02d}.png", image)
        rows.append({"path": f"{i:02d}.png", "label": label, "split": "test", "patient_id": f"p{i}"})
    return folder, pd.DataFrame(rows)


def test_the_audit_takes_devices_for_a_region_and_names_them(teller, tmp_path):
    folder, table = films(tmp_path / "films", 40)
    table.to_csv(tmp_path / "films.csv", index=False)
    result = xray_debug.audit_model(
        SeesDevices(), tmp_path / "films.csv", classes=["normal", "ill"], size=SIZE, channels=1, normalise="unit",
        images=folder, out=tmp_path / "run", options={
            "detect.detector": "teller", "detect.second": None, "explain.method": "gradient", "explain.max_cases": 2,
            "explain.sanity_cases": 0, "audit.controls": 1, "audit.swaps": 0, "audit.shares": [0.06],
            "audit.permutations": 50, "report.bootstrap": 100, "engine.workers": 1,
        },
    )  # fmt: skip
    store = Store(tmp_path / "run")
    assert len(store.boxes("device")) == 20 and len(store.boxes()) == 14 and len(store.boxes("text", "device")) == 27
    verdict = store.json("verdict")
    assert verdict["classes"]["ill"]["verdict"] == "relies on region devices"
    assert verdict["classes"]["ill"]["regions"]["devices"]["shown"] and not verdict["classes"]["ill"]["text"]["shown"]
    assert "ill relies on region 'devices'" in str(verdict["sentences"])
    assert "ill relies on region devices" in result.verdict
    cases = store.table("cases").set_index("image_id")
    area = (DEVICE[2] - DEVICE[0] + 2) * (DEVICE[3] - DEVICE[1] + 2) / SIZE**2  # one pixel wider
    found = cases["region_devices_area"]
    assert found.notna().sum() == 20 and found.max() == pytest.approx(area, rel=1e-3)
    for kinds, changed in (("[text]", 14), ("[text, device]", 27)):
        options = [part for option in (f"clean.kinds={kinds}", "clean.control=false") for part in ("--set", option)]
        app(["clean", "--run", str(tmp_path / "run"), *options], standalone_mode=False)
        changes = store.table("changes").set_index("image_id")
        assert len(changes) == changed
        assert len(json.loads(changes.loc["03.png", "boxes"])) == (2 if "device" in kinds else 1)


def job(source, out, **changes):
    said = []
    config = parse_config({"detect": {"detector": "teller", "second": None}, **changes})
    engine = Engine(PipelineConfig().engine.model_copy(update={"workers": 1}), say=said.append)
    return Job(source, out, config, engine, said.append), said


@pytest.mark.parametrize(("kinds", "gone"), [(["text"], {"text"}), (["text", "device"], {"text", "device"}),
                                             (["device"], {"device"})])  # fmt: skip
def test_cleaning_erases_the_kinds_that_it_is_asked_for(teller, tmp_path, kinds, gone):
    folder, _ = films(tmp_path / "films", 6)
    work, said = job(folder, tmp_path / "boxes.csv")
    detect_images(work)
    counted = [text.rpartition(": ")[2] for text in said]
    assert counted == ["2 text boxes in 2 of 6 images", "3 device boxes in 3 of 6 images"]
    for out, boxes in (("with", tmp_path / "boxes.csv"), ("without", None)):
        clean_images(job(folder, tmp_path / out, clean={"kinds": kinds})[0], boxes)
        image = read_image(tmp_path / out / "03.png")  # has both
        left = {kind for kind, (x0, y0, x1, y1) in (("text", TEXT), ("device", DEVICE))
                if image[y0:y1, x0:x1].mean() > 200}  # fmt: skip
        assert left == {"text", "device"} - gone


@pytest.mark.parametrize("given", [True, False])
def test_a_kind_of_which_there_is_no_box_is_said(teller, tmp_path, given):
    folder, _ = films(tmp_path / "films", 4)
    detect_images(job(folder, tmp_path / "boxes.csv")[0])
    work, said = job(folder, tmp_path / "out", clean={"kinds": ["text", "devices"]})
    clean_images(work, tmp_path / "boxes.csv" if given else None)
    assert "clean.kinds: no box of kind devices was found, only of device, text" in said
    assert any("2 of 4 images changed" in text for text in said)


def test_boxes_without_a_kind_are_all_erased_and_nothing_is_said_of_kinds(teller, tmp_path):
    folder, _ = films(tmp_path / "films", 2)
    (tmp_path / "boxes.csv").write_text("image_id,x0,y0,x1,y1\n01.png,40,40,52,52\n", encoding="utf-8")
    work, said = job(folder, tmp_path / "out", clean={"kinds": ["device"]})
    clean_images(work, tmp_path / "boxes.csv")
    assert not [text for text in said if "clean.kinds" in text]
    assert read_image(tmp_path / "out" / "01.png")[40:52, 40:52].mean() < 200


def test_a_device_is_no_letter_and_a_letter_beside_one_stays(teller, tmp_path, monkeypatch):
    monkeypatch.setattr(laterality, "LetterReader", lambda: SimpleNamespace(side=lambda image, box: "R"))
    folder, _ = films(tmp_path / "films", 1)
    beside = (24, 8, 34, 16)
    rows = [("00.png", kind, *box) for kind, box in (("text", TEXT), ("device", beside), ("device", DEVICE))]
    names = ["image_id", "kind", "x0", "y0", "x1", "y1"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "boxes.csv", index=False)
    work, said = job(folder, tmp_path / "out", clean={"kinds": ["text", "device"], "keep": "laterality"})
    clean_images(work, tmp_path / "boxes.csv")
    assert "1 laterality letters in 1 images stay (clean.keep)" in said
    log = pd.read_csv(tmp_path / "out" / "changes.csv")
    assert json.loads(log["boxes"][0]) == [[*beside], [*DEVICE]]


def test_what_could_not_be_read_is_not_counted_as_looked_at(teller, tmp_path):
    folder, _ = films(tmp_path / "films", 4)
    (folder / "empty.png").write_bytes(b"")
    work, said = job(folder, tmp_path / "boxes.csv")
    detect_images(work)
    assert f"{tmp_path / 'boxes.csv'}: 2 text boxes in 2 of 4 images" in said
    assert f"{tmp_path / 'boxes.csv'}: 1 of 5 images could not be read; no row is about them" in said
    work, said = job(folder, tmp_path / "out")
    clean_images(work, tmp_path / "boxes.csv")
    assert said[-1] == f"{tmp_path / 'out'}: 1 of 5 images could not be cleaned, cleaning.json says why"


def test_no_kind_at_all_is_refused():
    with pytest.raises(ConfigError, match="clean.kinds"):
        parse_config({"clean": {"kinds": []}})


def test_what_was_found_is_counted_by_kind():
    nothing = pd.DataFrame(columns=["image_id", "kind"])
    assert found_words(nothing, 4) == ["0 text boxes in 0 of 4 images"]
    some = pd.DataFrame({"image_id": ["a", "a", "b"], "kind": ["device", "text", "device"]})
    assert found_words(some, 4) == ["1 text boxes in 1 of 4 images", "2 device boxes in 2 of 4 images"]

"""Detectors as stages use them: decided once for all workers."""

import hashlib
from types import SimpleNamespace

import pytest

from xray_debug.config import ConfigError, parse_config
from xray_debug.data.files import write_json
from xray_debug.run.fingerprint import chosen_options
from xray_debug.run.folder import RunError
from xray_debug.run.store import Store
from xray_debug.stages import clean, detect, readers, registry
from xray_debug.stages.readers import PACKAGES, decided_options, packages_of, second_for, second_of
from xray_debug.text import DETECTORS
from xray_debug.text.detectors import craft, craft_lite


def context(folder, second: str, **options):
    config = parse_config({"phantom": {}, "detect": {"detector": "ppocr", "second": second, **options}})
    return SimpleNamespace(config=config, scratch=folder / "scratch", store=Store(folder), say=print)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_second_readers_precision_is_decided_once(tmp_path, monkeypatch, precision):
    """Workers on other machines, and a resume, read as the first did, whatever they would measure."""
    monkeypatch.setattr(craft_lite, "measured_precision", lambda: precision)
    assert clean.second_reader(context(tmp_path, "craft-lite")).keywords == {"precision": precision}
    monkeypatch.setattr(craft_lite, "measured_precision", lambda: "fp32" if precision == "bf16" else "bf16")
    again = clean.second_reader(context(tmp_path, "craft-lite"))
    assert again.keywords == {"precision": precision}
    assert str(again().dtype) == {"fp32": "torch.float32", "bf16": "torch.bfloat16"}[precision]


def test_options_that_were_asked_for_are_kept(tmp_path):
    asked = {"precision": "bf16", "look": None}
    assert decided_options(tmp_path / "a" / "options.json", "craft-lite", asked) == asked
    assert decided_options(tmp_path / "a" / "options.json", "craft-lite", {}) == asked  # of the first to begin


def test_every_detector_that_needs_a_package_says_which():
    assert set(PACKAGES) <= set(DETECTORS)
    assert packages_of("craft-lite") == "" and packages_of("somebody's") == ""
    for name in PACKAGES:
        assert packages_of(name)


@pytest.mark.parametrize(("first", "weights", "missing", "chosen"), [
    ("craft-lite", True, "", "craft"), ("craft-lite", False, "", "ppocr"), ("craft-lite", False, "rapidocr", ""),
    ("craft", True, "", "craft-lite"), ("ppocr", True, "", "craft"), ("ppocr", False, "", "craft-lite"),
])  # fmt: skip
def test_auto_is_the_best_reader_at_hand_and_never_the_detector_itself(monkeypatch, first, weights, missing, chosen):
    monkeypatch.setattr(craft, "at_hand", lambda: weights)
    monkeypatch.setattr(readers, "packages_of", lambda name: f"not installed: {missing}" if missing else "there 1.0")
    found = second_for(first)
    assert found["name"] == chosen != first and found["why"] and (missing in found["why"])


@pytest.mark.parametrize(("content", "there"), [(b"official", True), (b"another", False), (None, False)])
def test_weights_are_at_hand_only_where_they_are_the_official_ones(tmp_path, monkeypatch, content, there):
    file = tmp_path / "craft.pth"
    if content:
        file.write_bytes(content)
    monkeypatch.setattr(craft, "WEIGHTS", {"craft": ("craft.pth", hashlib.sha256(b"official").hexdigest())})
    monkeypatch.setattr(craft, "carried_place", lambda kind: None)
    monkeypatch.setattr(craft, "known_place", lambda kind: file)
    assert craft.at_hand() == there
    monkeypatch.setattr(craft, "known_place", lambda kind: tmp_path / "nowhere")
    monkeypatch.setattr(craft, "carried_place", lambda kind: file if content else None)
    assert craft.at_hand() == there


class Settled(Store):
    """A run whose stage detect has settled this."""

    def __init__(self, folder, name, why="so it is"):
        super().__init__(folder, {"detect": folder / "detect"})
        self.stage_folder("detect").mkdir(parents=True, exist_ok=True)
        write_json(self.path("second reader"), {"name": name, "why": why})


def test_what_auto_became_is_part_of_the_fingerprint_and_no_resume_changes_it(tmp_path, monkeypatch):
    work = context(tmp_path, "auto")
    assert second_of(work.store, work.config)[0] is None  # not settled yet
    work.store = Settled(tmp_path, "craft-lite")
    before = clean.inputs(work.store, work.config)["second reader"]
    assert before == "craft-lite: " and clean.second_reader(work).args == ("craft-lite",)
    monkeypatch.setattr(craft, "at_hand", lambda: True)  # the weights are put there later
    assert clean.inputs(work.store, work.config)["second reader"] == before
    assert clean.second_reader(work).args == ("craft-lite",)
    work.store = Settled(tmp_path, "craft")
    assert clean.inputs(work.store, work.config)["second reader"].startswith("craft: ")
    named = context(tmp_path, "craft-lite")
    assert clean.inputs(named.store, named.config)["second reader"] == packages_of("craft-lite")


def test_a_reader_that_auto_has_settled_and_that_is_gone_is_one_sentence(tmp_path, monkeypatch):
    work = context(tmp_path, "auto")
    work.store = Settled(tmp_path, "craft")
    monkeypatch.setattr(craft, "known_place", lambda kind: tmp_path / "nowhere.pth")
    monkeypatch.setattr(craft, "carried_place", lambda kind: None)
    with pytest.raises(RunError, match="detect.second: stage detect has settled auto as craft, which cannot be loaded"):
        clean.second_reader(work)


def test_no_reader_at_hand_is_said_and_the_repair_goes_on(tmp_path):
    work, said = context(tmp_path, "auto"), []
    work.store, work.say = Settled(tmp_path, "", "nothing is installed"), said.append
    assert clean.second_reader(work) is None
    assert said == ["cleaned images are not read again: detect.second is auto, and nothing is installed"]


@pytest.mark.parametrize(("second", "name", "asked", "most"), [
    ("auto", "craft", None, 40), ("auto", "craft", 300, 40), ("auto", "craft", 7, 7), ("auto", "ppocr", None, None),
    ("auto", "ppocr", 300, 300), ("craft", "craft", None, None), ("craft", "craft", 300, 300),
])  # fmt: skip
def test_a_slow_reader_that_nobody_named_reads_few_and_that_is_said(tmp_path, second, name, asked, most):
    work, said = context(tmp_path, second, second_images=asked), []
    work.store, work.say = Settled(tmp_path, name), said.append
    assert clean.most_read(work, name) == most
    assert len(said) == (second == "auto")
    if said:
        assert said[0].startswith(f"cleaned images are read again by {name} (detect.second is auto: so it is)")
        assert ("at most" in said[0]) == (most is not None)


@pytest.mark.parametrize("detector", ["craft-lite", "craft", "ppocr"])
def test_auto_goes_with_every_detector(detector):
    config = parse_config({"phantom": {}, "detect": {"detector": detector}})
    assert config.detect.second == "auto"
    clean.check(config)
    detect.check(config)


def test_missing_weights_are_told_before_anything_is_done(tmp_path, monkeypatch):
    """A run would train for hours, and then find that its detector cannot be loaded."""
    config = parse_config({"phantom": {}, "detect": {"detector": "craft"}})
    monkeypatch.setattr(craft, "known_place", lambda kind: tmp_path / kind)
    monkeypatch.setattr(craft, "carried_place", lambda kind: None)
    with pytest.raises(ConfigError, match=r"detect\.detector: craft: .*no CRAFT weights here.*extra craft-weights"):
        registry.check_options(config)
    with pytest.raises(ConfigError, match="no CRAFT weights here"):
        registry.check_options(config, "detect", Store(tmp_path / "run"))
    registry.check_options(config, "clean")  # which reads what was found
    fetched = {"detector": "craft", "options": {"download": True}}
    registry.check_options(parse_config({"phantom": {}, "detect": fetched}))
    record = tmp_path / "run" / "detect" / "stage.json"
    record.parent.mkdir(parents=True)
    (record.parent / "regions.parquet").write_bytes(b"")
    for asked, told in ((config, False), (parse_config({"phantom": {}}), True)):
        parameters = chosen_options(asked, ("seed", *detect.STAGE.options))
        write_json(record, {"stage": "detect", "parameters": parameters})
        if told:  # boxes of another detector do not help
            with pytest.raises(ConfigError, match="no CRAFT weights here"):
                registry.check_options(config, None, Store(tmp_path / "run"))
        else:  # detect is done: the weights are not needed to go on
            registry.check_options(config, None, Store(tmp_path / "run"))
    refined = {"detector": "craft", "weights": str(tmp_path / "craft.pth"), "options": {"refine": True}}
    (tmp_path / "craft.pth").write_bytes(b"x")
    with pytest.raises(ConfigError, match="no CRAFT weights here.*CTW1500"):
        registry.check_options(parse_config({"phantom": {}, "detect": refined}))


def test_a_named_second_reader_without_weights_is_told_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(craft, "known_place", lambda kind: tmp_path / kind)
    monkeypatch.setattr(craft, "carried_place", lambda kind: None)
    config = parse_config({"phantom": {}, "detect": {"second": "craft"}})
    for only in (None, "clean"):
        with pytest.raises(ConfigError, match=r"detect\.second: craft: .*no CRAFT weights here"):
            registry.check_options(config, only)
    registry.check_options(config, "detect")
    registry.check_options(config, None, SimpleNamespace(folder=tmp_path, has=lambda name: name == "changes"))
    registry.check_options(parse_config({"phantom": {}, "detect": {"second": "auto"}}))


def test_a_detector_whose_package_is_missing_is_told_before_anything_is_done(monkeypatch):
    config = parse_config({"phantom": {}, "detect": {"detector": "ppocr"}})
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(ConfigError, match=r"detector ppocr needs the extra ppocr.*missing: onnxruntime, rapidocr"):
        registry.check_options(config)

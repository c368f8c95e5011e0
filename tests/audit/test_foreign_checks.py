"""A check of another package that does what it must not: one sentence with its name, its package and the line."""

import re
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xray_debug.audit.auditor import audit_dataset
from xray_debug.audit.checks import CHECKS, Check, CheckError, all_checks, foreign_checks, per_class
from xray_debug.audit.checks.region import RegionCheck
from xray_debug.audit.hypotheses import class_hypothesis
from xray_debug.audit.no_evidence import no_evidence
from xray_debug.config import AuditConfig, CleanConfig, ConfigError, parse_config
from xray_debug.data.images import write_image
from xray_debug.data.view import ModelView
from xray_debug.stages.registry import check_options

CLASSES, CONFIG = ["a", "b"], AuditConfig(swaps=0, look="off", laterality=False, shares=[0.1], controls=1)


class Whole(Check):
    """Darkens the film; all is well."""

    def most_frames(self):
        return 1

    def frames(self, case, frames):
        frames.add("whole", case.view * 0.5)

    def columns(self, case, out, kept):
        change = out.vector("image") - out.vector("whole")
        return per_class(out.classes, whole_effect=change, whole_control_effect=0 * change)

    def hypotheses(self, cases, label):
        return [class_hypothesis(cases, label, "region:whole", "whole", "relies on grey", "relies on grey: it lowers")]


class BadShape(Whole):
    def frames(self, case, frames):
        frames.add("whole", case.view[:-1])


class BadKey(Whole):
    def frames(self, case, frames):
        return {}["nothing"]


class TakenColumn(Whole):
    def columns(self, case, out, kept):
        return {"predicted": "a"}


class ColumnOfTheCase(Whole):
    def columns(self, case, out, kept):
        return {"label": "a"}


class TakenQuestion(Whole):
    def hypotheses(self, cases, label):
        return [class_hypothesis(cases, label, "text", "whole", "", "")]


class BadQuestion(Whole):
    def hypotheses(self, cases, label):
        return cases["no such column"]


class BadDetail(Whole):
    def detail(self, h, entry, cases, seed):
        return entry["nothing"]


class BadSentence(Whole):
    def hypotheses(self, cases, label):
        return [class_hypothesis(cases, label, "region:whole", "whole", "", "")] if label == "a" else []

    def detail(self, h, entry, cases, seed):
        return {**entry, "shown": True}

    def sentence(self, h, entry):
        raise TypeError("no words")


class ShortPredictor(Whole):
    def predictors(self, manifest, boxes):
        return {"luck": [0, 1]}


class NotMade(Whole):
    def __init__(self, config):
        super().__init__(config)
        self.mask = config.no_such_option


class NoMasks(RegionCheck):
    regions = ("none",)


def function(config):
    return Whole(config)


class Grey(nn.Module):
    def __init__(self):
        super().__init__()
        self.view, self.classes, self.weight = ModelView(24), CLASSES, nn.Parameter(torch.tensor(40.0))

    def forward(self, images):
        bright = images.mean((1, 2, 3)) - 0.5
        return self.weight * torch.stack([bright, -bright], dim=1)


@pytest.fixture
def bring(monkeypatch):
    """Makes one thing of this module the entry point "mine"; other groups are as they are, torch has some."""
    found = metadata.entry_points

    def as_entry(thing, name="mine"):
        mine = [metadata.EntryPoint(name, f"{__name__}:{thing}", CHECKS.group)]
        monkeypatch.setattr(metadata, "entry_points",
                            lambda **asked: mine if asked == {"group": CHECKS.group} else found(**asked))

    return as_entry


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("films"), []
    for index in range(16):
        image = np.random.default_rng(index).integers(100, 130, (40, 40)).astype(np.uint8) + 60 * (index % 2)
        write_image(folder / f"f{index}.png", image.astype(np.uint8))
        rows.append((f"f{index}.png", CLASSES[1 - index % 2], "s", "test", str(folder / f"f{index}.png")))
    return pd.DataFrame(rows, columns=["image_id", "label", "source", "test_set", "file"])


def test_one_that_is_as_it_should_be_takes_part(bring, films):
    bring("Whole")
    assert foreign_checks(CONFIG) == {"mine": f"{__name__}:Whole"} and CHECKS.foreign() == foreign_checks(CONFIG)
    found = audit_dataset(Grey(), films, {}, {}, CONFIG, CleanConfig())
    assert found.verdict["classes"]["a"]["regions"]["whole"]["n"] == 8 and found.verdict["problems"] == 0


@pytest.mark.parametrize(("thing", "said"), [
    ("BadShape", r"frames: frame 'whole': expected shape \(24, 24\), as the model takes it, got \(23, 24\)"),
    ("BadKey", "frames: KeyError: 'nothing'"),
    ("TakenColumn", "columns: expected columns of its own, 'predicted' is taken"),
    ("ColumnOfTheCase", "columns: expected columns of its own, 'label' is taken"),
])  # fmt: skip
def test_what_it_does_wrong_with_a_film_is_told_of_the_film(bring, films, thing, said):
    bring(thing)
    with pytest.raises(ValueError, match=rf"^no image could be audited: check 'mine' \({__name__}:{thing}\): {said}"):
        audit_dataset(Grey(), films.head(3), {}, {}, CONFIG, CleanConfig())


@pytest.mark.parametrize(("thing", "said"), [
    ("TakenQuestion", "hypotheses: expected a question of a name of its own, 'text' is asked of a already"),
    ("BadQuestion", r"hypotheses: KeyError: 'no such column' \(test_foreign_checks.py, line \d+\)"),
    ("BadDetail", r"detail: KeyError: 'nothing' \(test_foreign_checks.py, line \d+\)"),
    ("BadSentence", r"sentence: TypeError: no words \(test_foreign_checks.py, line \d+\)"),
])  # fmt: skip
def test_what_it_does_wrong_with_the_verdict(bring, films, thing, said):
    bring(thing)
    with pytest.raises(CheckError, match=rf"^check 'mine' \({__name__}:{thing}\): {said}$"):
        audit_dataset(Grey(), films, {}, {}, CONFIG, CleanConfig())


def test_the_line_is_the_one_of_the_check(bring, films):
    bring("BadDetail")
    with pytest.raises(CheckError) as caught:
        audit_dataset(Grey(), films, {}, {}, CONFIG, CleanConfig())
    line = int(re.search(r"line (\d+)\)$", str(caught.value))[1])
    with open(__file__, encoding="utf-8") as file:
        assert file.readlines()[line - 1].strip() == 'return entry["nothing"]'


def test_one_with_the_name_of_a_built_in_check_is_not_dropped_in_silence(bring):
    bring("Whole", "text")
    said = rf"^check 'text' \({__name__}:Whole\): the name is that of a built-in check; give it another"
    with pytest.raises(CheckError, match=said):
        foreign_checks(CONFIG)
    with pytest.raises(ConfigError, match=said.lstrip("^")):
        check_options(parse_config({"phantom": {}, "detect": {"second": None}}))


@pytest.mark.parametrize(("thing", "said"), [
    ("NotMade", r"\): cannot be made: AttributeError: .*no_such_option"),
    ("NoMasks", r"\): cannot be made: TypeError: .*masks"),
    ("function", r"\): expected a subclass of xray_debug.audit.checks.Check, got <function function"),
    ("nothing_of_this_name", r"\) cannot be loaded: .*nothing_of_this_name.*; mend its package, or uninstall it$"),
])  # fmt: skip
def test_one_that_cannot_be_made_is_told_before_anything_runs(bring, thing, said):
    bring(thing)
    with pytest.raises((ValueError, ImportError), match=rf"^check 'mine' \({__name__}:{thing}{said}"):
        all_checks(CONFIG)
    with pytest.raises(ConfigError, match=rf"check 'mine' \({__name__}:{thing}{said}"):
        check_options(parse_config({"phantom": {}, "detect": {"second": None}}))


def test_a_predictor_of_too_few_images(bring):
    bring("ShortPredictor")
    frame = pd.DataFrame({"image_id": [f"i{i}.png" for i in range(8)], "label": CLASSES * 4, "source": "s",
                          "patient_id": range(8), "width": 90, "height": 90, "bit_depth": 8, "split": "test",
                          "test_set": "test"})
    with pytest.raises(CheckError, match="predictors: luck: expected a category of each of 8 images, got 2"):
        no_evidence(frame, {}, permutations=50)

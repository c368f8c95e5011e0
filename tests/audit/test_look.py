"""Whether the check of the look names models that read it, and none that read something else."""

import dataclasses
import json
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
import torch
from look_fixture import film
from torch import nn

from xray_debug.audit.auditor import audit_dataset
from xray_debug.audit.checks.look import FAR, Look, Step
from xray_debug.audit.frames import Frames, prepare_case
from xray_debug.audit.hypotheses import Hypothesis
from xray_debug.audit.look.families import FAMILIES
from xray_debug.audit.look.measures import MEASURES, brightness
from xray_debug.audit.look.moves import rms
from xray_debug.audit.look.typical import Looks, looks_of
from xray_debug.audit.measures import Outcomes
from xray_debug.audit.verdict import judge_all
from xray_debug.audit.worker import AuditWorker, check_cost
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.images import write_image
from xray_debug.data.view import ModelView
from xray_debug.models.predict import probabilities

CLASSES, SIDE, N = ["sound", "ill"], 48, 36
VIEW = ModelView(SIDE)
CONFIG = AuditConfig(controls=1, swaps=0, shares=[0.1], laterality=False, permutations=50)
PLANTED = {"brightness": 0.35, "contrast": -0.12, "gamma": 0.25, "sharpness": -0.4, "noise": 0.3, "jpeg": 0.9,
           "resolution": -0.4}  # fmt: skip


def finding(strength):
    """A soft spot in the lower left, (SIDE, SIDE)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return (strength * np.exp(-((y - 32) ** 2 + (x - 14) ** 2) / 50)).astype(np.float32)


def planted(name, share=1.0):
    """uint8 (N, SIDE, SIDE), sound and ill in turn. The ill have a spot, and `share` of them have the property, as
    has the rest of the sound."""
    views = []
    for index in range(N):
        ill = index % 2
        image = (0.85 * film(index, SIDE) + finding(0.3 * ill)).clip(0, 1)
        if name and (index // 2 % 10 < round(10 * share)) == bool(ill):
            image = FAMILIES[name](image, PLANTED[name], index)
        views.append(np.round(image * 255).astype(np.uint8))
    return np.stack(views)


class Reader(nn.Module):
    """Ill above the middle of two values of `number`, (N, S, S) -> (N,)."""

    def __init__(self, number, sound, ill):
        super().__init__()
        self.view, self.classes, self.number = VIEW, CLASSES, number
        self.middle, self.weight = (sound + ill) / 2, nn.Parameter(torch.tensor(8.0 / (ill - sound)))

    def forward(self, images):
        score = self.weight * (self.number(images[:, 0]) - self.middle)
        return torch.stack([-score, score], dim=1)


def reader(number, views):
    values = number(torch.from_numpy(views).float() / 255).numpy()
    return Reader(number, float(np.median(values[::2])), float(np.median(values[1::2])))


def steps(x, axis):
    return x.diff(dim=axis).abs()


def grid(x):
    """Mean step across the lines of the 8 x 8 grid less the mean of all steps."""
    across, down = steps(x, 2).mean(1), steps(x, 1).mean(2)
    return (across[:, 7::8].mean(1) - across.mean(1)) + (down[:, 7::8].mean(1) - down.mean(1))


def fine(x):
    """Share of the highest frequencies in all of the spectrum but its mean."""
    energy = torch.fft.rfft2(x - x.mean((1, 2), keepdim=True)).abs() ** 2
    rows = torch.fft.fftfreq(x.shape[1]).abs()[:, None].expand(-1, energy.shape[2])
    return (energy * (rows > 0.3)).sum((1, 2)) / energy.sum((1, 2))


# how a network might read each property: by formulas of their own
READ = {
    "brightness": lambda x: x.mean((1, 2)),
    "contrast": lambda x: x.flatten(1).std(1),
    "gamma": lambda x: -((x - x.mean((1, 2), keepdim=True)) ** 3).mean((1, 2)) / x.flatten(1).std(1) ** 3,
    "sharpness": lambda x: steps(x, 2)[:, :, ::2].mean((1, 2)) / x.flatten(1).std(1),
    "noise": lambda x: (x[:, 1:-1, 1:-1] * 2 - x[:, 1:-1, 2:] - x[:, 1:-1, :-2]).abs().flatten(1).median(1).values,
    "jpeg": grid,
    "resolution": fine,
}


def spot(x):
    """The finding against its surroundings, whatever the scale of grey: what a good model reads."""
    inside, ring = x[:, 28:37, 10:19].mean((1, 2)), x[:, 20:45, 4:28].mean((1, 2))
    return (inside - ring) / x.flatten(1).std(1)


def as_films(views):
    return [(CLASSES[index % 2], view.astype(np.float32) / 255) for index, view in enumerate(views)]


@lru_cache
def moved_all(content):
    """(case, image_id, frames, kept) of each of N views, given as bytes, with all properties moved: of no model."""
    config, found = CONFIG.model_copy(update={"look": "all"}), []
    views = np.frombuffer(content, np.uint8).reshape(-1, SIDE, SIDE)
    check, looks = Look(config), looks_of(as_films(views), config)
    for index, view in enumerate(views):
        frames = Frames()
        one = prepare_case(f"{index}.png", CLASSES[index % 2], view, (), VIEW, config, CleanConfig(), 3, looks=looks)
        frames.add("image", one.view)
        kept = check.frames(one, frames)
        found.append((one, frames, kept))
    return found


def judged(views, model, look="screened"):
    """property -> class -> entry of the verdict, by this check alone; and what is typical.

    A property is moved alike whichever others are: all are moved once, and those that the option leaves are judged.
    """
    config = CONFIG.model_copy(update={"look": look})
    check, looks, rows = Look(config), looks_of(as_films(views), config), []
    for one, frames, kept in moved_all(views.tobytes()):
        left = [place for place, name in enumerate(frames.names)
                if name == "image" or name.split("/")[1] in looks.differ]  # fmt: skip
        names = [frames.names[place] for place in left]
        out = Outcomes(names, probabilities(model, frames.stack()[left]), CLASSES)
        case = dataclasses.replace(one, looks=looks)
        rows.append({"image_id": one.image_id, "label": one.label, **check.columns(case, out, kept)})
    found = {}
    for j in judge_all(pd.DataFrame(rows), CLASSES, config, 3, [check]):
        found.setdefault(j.hypothesis.name.removeprefix("look:"), {})[j.hypothesis.label] = j.entry
    return found, looks


def shown(found):
    return {(name, label) for name, entries in found.items() for label, entry in entries.items() if entry["shown"]}


@pytest.fixture(scope="module")
def films():
    return lru_cache(planted)


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_model_that_reads_the_property_is_named_for_both_classes(films, name):
    found, looks = judged(films(name), reader(READ[name], films(name)))
    assert name in looks.differ and {(name, "sound"), (name, "ill")} <= shown(found)
    for entry in found[name].values():
        assert entry["effect"]["value"] > 0.2 and entry["gain_elsewhere"]["value"] > 0.1
        assert entry["control"]["value"] < entry["effect"]["value"] / 2


@pytest.mark.parametrize("name", [name for name in PLANTED if name != "contrast"])
def test_a_model_that_reads_the_finding_is_not_accused(films, name):
    found, looks = judged(films(name), reader(spot, films(name)), "all")
    assert name in looks.differ and not shown(found)
    assert all(entry["n"] > 8 for entry in found[name].values())  # not for want of images


class Unsure(Reader):
    """Reads the finding, and the less surely the more a film differs from all films that it knows."""

    def __init__(self, views, rate):
        super().__init__(spot, *(float(np.median(spot(torch.from_numpy(views[i::2]).float() / 255))) for i in (0, 1)))
        self.known, self.rate = torch.from_numpy(views).float()[None] / 255, rate

    def forward(self, images):
        far = ((images - self.known) ** 2).mean((2, 3)).sqrt().min(1).values
        return super().forward(images) * torch.exp(-self.rate * far)[:, None]


@pytest.mark.parametrize("name", ["brightness", "noise", "sharpness"])
@pytest.mark.parametrize("rate", [20.0, 400.0])
def test_a_model_that_any_manipulation_makes_unsure_is_not_accused(films, name, rate):
    """Its probability of ill falls on the ill and rises on the others; the control that changes as much does it too."""
    found, _ = judged(films(name), Unsure(films(name), rate))
    assert name in found and not shown(found)
    assert rate < 100 or found[name]["ill"]["effect"]["value"] > 0.2


def test_a_finding_that_blur_hides_is_no_reliance_on_sharpness():
    """Specks that only sharp films show: the ill lose when blurred, but sharpening the sound shows no specks."""
    rng, views = np.random.default_rng(0), []
    for index in range(N):
        image = film(index, SIDE, 0.002)
        if index % 2:
            image[rng.integers(4, 44, 40), rng.integers(4, 44, 40)] += 0.3
        else:
            image = FAMILIES["sharpness"](image, -0.35, 0)
        views.append(np.round(image.clip(0, 1) * 255).astype(np.uint8))

    def specks(x):
        peak = x[:, 1:-1, 1:-1] - torch.maximum(x[:, 1:-1, 2:], x[:, 1:-1, :-2])
        return peak.flatten(1).topk(20).values.mean(1)

    found, _ = judged(np.stack(views), reader(specks, np.stack(views)), "all")
    entry = found["sharpness"]["ill"]
    assert entry["difference"]["low"] > 0.1 and entry["p_adjusted"] < 0.05  # it does lose, beyond its controls
    assert entry["gain_elsewhere"]["high"] < 0.1 and not entry["shown"] and not entry["one_way"]
    entry = found["sharpness"]["sound"]  # the ill, blurred, are taken for sound: said, and said to be no proof
    assert entry["one_way"] and not entry["shown"]
    said = Look(CONFIG).hint(Hypothesis("sound", "look:sharpness", np.zeros(0), np.zeros(0)), entry)
    assert said.startswith(f"sound: sharpness not shown, but seen one way: {entry['gain_elsewhere']['n']} images")
    assert Look(CONFIG).hint(Hypothesis("ill", "look:sharpness", np.zeros(0), np.zeros(0)),
                             found["sharpness"]["ill"]) == ""  # fmt: skip


@pytest.mark.parametrize("way", [-0.1, 0.1])
def test_one_way_is_told_only_of_the_way_on_which_details_are_lost(way):
    """Contrast can be moved both ways, and films that are sharpened lose nothing."""
    rng, told = np.random.default_rng(0), {}
    for name in MEASURES:
        rows = [{"label": "ill", f"look_{name}_effect_ill": 0.0, f"look_{name}_control_effect_ill": 0.0}] * 12
        rows += [{"label": "sound", f"look_{name}_gain_effect_ill": 0.4, f"look_{name}_gain_control_effect_ill": 0.0,
                  f"look_{name}": 0.5, f"look_{name}_moved": 0.5 + way}] * 12  # fmt: skip
        cases = pd.DataFrame(rows).assign(text_visible=0, text_place="")
        noise = [column for column in cases if "effect" in column]
        cases[noise] += rng.normal(0, 1e-3, (len(cases), len(noise)))
        twice = pd.concat([cases, cases], ignore_index=True).assign(patient_id=[*range(24)] * 2)
        for table in (cases, twice):
            (j,) = [j for j in judge_all(table, ["ill"], CONFIG, 0, [Look(CONFIG)]) if j.hypothesis.label == "ill"]
            told.setdefault(name, set()).add((j.entry["one_way"], bool(j.hint)))
    lost = ("sharpness", "noise", "resolution") if way < 0 else ("jpeg",)
    assert told == {name: {(name in lost,) * 2} for name in MEASURES}


def test_the_whole_audit_names_the_property(films, tmp_path):
    views, rows = films("brightness"), []
    for index, view in enumerate(views):
        write_image(tmp_path / f"{index}.png", view)
        rows.append((f"{index}.png", CLASSES[index % 2], "s", "test", str(tmp_path / f"{index}.png")))
    cases = pd.DataFrame(rows, columns=["image_id", "label", "source", "test_set", "file"])
    model = reader(READ["brightness"], views)
    found = audit_dataset(model, cases, {}, {}, CONFIG, CleanConfig(), 3)
    assert found.verdict["shown"]["look"] == ["brightness"] and not found.verdict["shown"]["regions"]
    assert found.verdict["classes"]["ill"]["verdict"] == "relies on brightness"
    sentence = next(s for s in found.verdict["sentences"] if s.startswith("ill relies on brightness: moving it to"))
    assert "of other classes gain it by 1.00" in sentence and sentence.endswith("beyond their controls.")
    asked = found.checks[found.checks["question"] == "look:brightness"].set_index("label")
    assert asked.loc["ill", "shown"] and asked.loc["ill", "kind"] == "intervention"
    assert found.verdict["looks"]["images"] == N and json.dumps(found.verdict["looks"])
    without = audit_dataset(model, cases, {}, {}, CONFIG.model_copy(update={"look": "off"}), CleanConfig(), 3)
    moved = found.cases["look_brightness_to"].ne("").sum()
    assert found.passes >= without.passes + 2 * moved and "looks" not in without.verdict
    assert not without.checks["question"].str.startswith("look").any()


def test_classes_that_look_alike_leave_nothing_to_ask(films):
    views = films("brightness", 0.5)  # half of each class are bright
    found, looks = judged(views, reader(READ["brightness"], films("brightness")))
    assert "brightness" not in looks.differ and "brightness" not in found


# ------------------------------------------------------------------------------------------------ one case

LOOKS = Looks({"brightness": {"a": 0.3, "b": 0.6, "c": 0.62}, "noise": {"a": 0.01, "b": 0.02, "c": 0.01}},
              {"brightness": [["a", "b"], ["a", "c"]], "noise": [["b", "c"]]})  # fmt: skip


def case(level=0.3, label="a", view=VIEW, shape=(SIDE, SIDE), looks=LOOKS):
    image = film(1, SIDE)[: shape[0], : shape[1]]
    image = np.round((image - image.mean() + level) * 255).astype(np.uint8)
    return prepare_case("x.png", label, image, (), view, CONFIG, CleanConfig(), 0, looks=looks)


def framed(found, check=None):
    frames = Frames()
    kept = (check or Look(CONFIG)).frames(found, frames)
    return dict(zip(frames.names, frames.images, strict=True)), kept


def test_frames_are_moved_to_the_median_of_a_class_that_differs():
    frames, kept = framed(case())
    assert list(frames) == ["look/brightness/moved", "look/brightness/control"]
    step = kept["brightness"]
    assert step.to in ("b", "c") and step.start == pytest.approx(0.3, abs=0.01)
    assert step.value == pytest.approx(LOOKS.medians["brightness"][step.to], abs=0.02)
    assert brightness(frames["look/brightness/moved"]) == pytest.approx(step.value)
    change = rms(frames["look/brightness/moved"], case().view)
    assert rms(frames["look/brightness/control"], case().view) == pytest.approx(change, rel=0.02)
    assert brightness(frames["look/brightness/control"]) < 0.1


def test_an_image_that_is_there_already_is_not_moved():
    assert framed(case(level=0.3 + (1 - FAR) * 0.3 + 0.03)) == ({}, {})
    assert set(framed(case(level=0.3 + (1 - FAR) * 0.3 - 0.03))[1]) == {"brightness"}
    assert framed(case(looks=Looks())) == ({}, {}) and framed(case(label="d")) == ({}, {})


def test_margins_of_the_view_stay_black():
    view = ModelView(SIDE, resize="pad")
    frames, _ = framed(case(view=view, shape=(24, SIDE)))
    for image in frames.values():
        assert not image[:12].any() and not image[36:].any()
    assert brightness(frames["look/brightness/moved"][12:36]) == pytest.approx(0.61, abs=0.03)


def test_columns_by_hand():
    names = ["image", "look/brightness/moved", "look/brightness/control"]
    out = Outcomes(names, np.array([(0.7, 0.2, 0.1), (0.3, 0.6, 0.1), (0.8, 0.1, 0.1)]), ["a", "b", "c"])
    row = Look(CONFIG).columns(case(), out, {"brightness": Step(0.3, 0.59, "b")})
    assert row["look_brightness_effect_a"] == pytest.approx(0.4)
    assert row["look_brightness_control_effect_a"] == pytest.approx(-0.1)
    assert row["look_brightness_gain_effect_b"] == pytest.approx(0.4)
    assert row["look_brightness_gain_control_effect_b"] == pytest.approx(-0.1)
    for name in ("effect_b", "effect_c", "gain_effect_a", "gain_effect_c", "gain_control_effect_c"):
        assert np.isnan(row[f"look_brightness_{name}"])
    assert (row["look_brightness_to"], row["look_brightness_decision"]) == ("b", "b")
    assert row["look_brightness_p"] == pytest.approx(0.3) and row["look_brightness_moved"] == 0.59
    assert row["look_noise_to"] == "" and np.isnan(row["look_noise_effect_b"])
    assert Look(CONFIG).columns(case(looks=None), out, None) == {}


@pytest.mark.parametrize(("look", "most"), [("off", 0), ("screened", 6), ("all", 2 * len(MEASURES))])
def test_the_most_frames_are_those_of_the_option(look, most):
    config = AuditConfig(look=look)
    assert Look(config).most_frames() == most
    check_cost(config)


def test_a_worker_takes_what_is_typical_as_plain_values(films):
    worker = AuditWorker("", CONFIG.model_dump(), CleanConfig().model_dump(), 3, looks=LOOKS.as_dict())
    worker.start(reader(READ["brightness"], films("brightness")), [])
    assert worker.typical == LOOKS

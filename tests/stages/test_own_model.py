"""Models trained outside the product, audited by the command and from Python: the right verdict, or why not."""

import copy
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from own_models_fixture import CLASSES, FINDINGS, SIZE, Findings, OneLogit, Small, dataset, films, imagenet, trained

import xray_debug
from xray_debug.cli import app, prepared
from xray_debug.config import ConfigError, load_config, parse_config
from xray_debug.models.own.outputs import tensor_of
from xray_debug.report.words import SIDES
from xray_debug.run.folder import Run, RunError
from xray_debug.run.store import Store
from xray_debug.stages.own_retrain import filled_in
from xray_debug.stages.own_runs import runs_of, verdict_sentences
from xray_debug.stages.registry import plan

OPTIONS = {
    "explain.method": "gradient", "explain.max_cases": 4, "explain.sanity_cases": 0, "detect.second": None,
    "audit.controls": 1, "audit.swaps": 0, "audit.shares": [0.06], "audit.permutations": 50, "report.bootstrap": 100,
    "engine.workers": 1, "clean.control": False,
}  # fmt: skip

COMMON = {"classes": CLASSES, "size": SIZE, "options": OPTIONS}
QUICK = OPTIONS | {"audit.look": "off", "audit.laterality": False}  # where only text is asked about
SMALL = COMMON | {"channels": 1, "normalise": "unit"}


def as_words(options: dict) -> list[str]:
    return [part for name, value in options.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def only_test(root: Path) -> Path:
    """The dataset without anything to train on."""
    target = root.with_name(root.name + "-test")
    shutil.copytree(root / "test", target / "test")
    shutil.copy(root / "test_COVIDx.txt", target)
    return target


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    """A test set in which the marker tells the class, and a resnet18 that learned it elsewhere."""
    root = dataset(tmp_path_factory.mktemp("planted") / "data", "marker")
    return only_test(root), trained("resnet18", root, 4, 1e-3)


@pytest.fixture(scope="module")
def small(planted) -> tuple[Path, torch.nn.Module]:
    """The same test set, and a small network for one channel."""
    root = planted[0]
    return root, trained("small", root.with_name("data"), 12, 2e-3)


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    root = dataset(tmp_path_factory.mktemp("clean") / "data", "none", 300, difficulty=0.0)
    return only_test(root), trained("small", root, 12, 2e-3)


def command(*arguments: object) -> None:
    app(["audit-model", *map(str, arguments)], standalone_mode=False)


@pytest.fixture(scope="module")
def by_command(planted, tmp_path_factory) -> tuple[Path, str]:
    """The run of one command on a Lightning checkpoint, with the command that trains again; and what it said."""
    (root, net), folder = planted, tmp_path_factory.mktemp("command")
    state = {f"model.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 4}, folder / "last.ckpt")
    with pytest.MonkeyPatch.context() as patch:
        said = []
        for module in ("xray_debug.cli", "xray_debug.commands.model"):
            patch.setattr(f"{module}.say", said.append)
        patch.setattr("xray_debug.cli.say_aside", said.append)
        command("--model", folder / "last.ckpt", "--arch", "resnet18", "--classes", ",".join(CLASSES), "--size", SIZE,
                "--data", root, "--out", folder / "run", *as_words(OPTIONS))  # fmt: skip
    return folder / "run", "\n".join(map(str, said))


def test_one_command_names_the_planted_marker_and_says_where_the_report_is(by_command):
    folder, said = by_command
    verdict = Store(folder).json("verdict")
    assert verdict["shown"]["text"] and "relies on text" in verdict["verdict"]
    assert f"verdict: {verdict['verdict']}" in said and str(Store(folder).path("page")) in said.splitlines()[-1]
    assert said.index("your model: accuracy") < said.index("explain: not yet run")  # before anything else


def test_the_score_is_that_of_the_network_itself(by_command, planted):
    folder, said = by_command
    (root, net), store = planted, Store(folder)
    with torch.no_grad():
        images, codes = films(root, "test")
        expected = net(imagenet(images)).softmax(1).numpy()
    table = store.table("predictions")
    names = [line.split()[1] for line in (root / "test_COVIDx.txt").read_text().splitlines()]
    found = table.set_index("image_id").loc[names, [f"p_{name}" for name in CLASSES]].to_numpy()
    assert np.abs(found - expected).max() < 1e-3
    assert f"accuracy {100 * (expected.argmax(1) == codes.numpy()).mean():.1f} %" in said
    description = store.json("description")
    assert description["own"]["settings"]["file"].endswith("last.ckpt") and len(description["own"]["sha256"]) == 64


def test_the_report_works_without_training_and_says_so(by_command):
    folder, _ = by_command
    report = Store(folder).json("report")
    assert report["headline"][0]["text"].startswith("The audited model was given: last.ckpt (sha256 ")
    assert {(row["trained_on"], row["tested_on"]) for row in report["table4"]} == {
        ("original", "original"), ("original", "cleaned")}  # fmt: skip
    assert any("retrain.command" in entry["why"] for entry in report["not_shown"])
    assert "last.ckpt" in Store(folder).path("page").read_text()


def test_another_file_is_another_model(by_command):
    """The fingerprint holds the file's contents, not its name."""
    folder, _ = by_command
    config = parse_config({**_pipeline(folder), "name": "run"})
    assert {why for stage, why in plan(Run(folder), config) if stage.name != "report"} == {""}
    file = Path(config.model.file)
    kept = file.read_bytes()
    try:
        file.write_bytes(kept + b"\0")
        whys = {stage.name: why for stage, why in plan(Run(folder), config)}
    finally:
        file.write_bytes(kept)
    assert whys["prepare"] == whys["detect"] == "" and "file of model.file" in whys["train"]


def _pipeline(folder: Path) -> dict:
    import yaml

    return yaml.safe_load((folder / "pipeline.yaml").read_text())


def test_one_logit_from_python(small, tmp_path):
    """A module in memory; report and cases; the module stays as it is."""
    root, net = small
    said = []
    given = copy.deepcopy(OneLogit(net)).train()
    result = xray_debug.audit_model(given, root, **SMALL | {"classes": ["COVID-19"]}, output="logit",
                                    out=tmp_path / "run", say=said.append)  # fmt: skip
    assert result.details["shown"]["text"] and "COVID-19 relies on text" in result.verdict
    assert "COVID-19 relies on text: removing it lowers" in result.sentences[1]
    assert isinstance(result.cases, pd.DataFrame) and set(result.cases["label"]) == {"no COVID-19", "COVID-19"}
    assert len(result.cases) == 36 and {"flagged", "reasons", "probability"} <= set(result.cases)
    assert "AUROC" in result.score and len(result.checks)
    page = result.report(tmp_path / "mine.html")
    assert page == tmp_path / "mine.html" and "relies on text" in page.read_text()
    assert given.training and given.net.training
    again = []
    xray_debug.audit_model(given, root, **SMALL | {"classes": ["COVID-19"]}, output="logit",
                           out=tmp_path / "run", say=again.append)  # fmt: skip
    assert again == [f"{name}: up to date" for name in ("prepare", "train", "explain", "detect", "audit")]


def test_a_data_frame_is_data(small, tmp_path):
    """As the folder it was made from: same scores, same verdict."""
    root, net = small
    lines = [line.split() for line in (root / "test_COVIDx.txt").read_text().splitlines()]
    frame = pd.DataFrame([{"film": line[1], "seen": line[2], "who": line[0]} for line in lines])
    asked = SMALL | {"classes": ["COVID-19"], "output": "logit", "options": QUICK, "say": None}
    result = xray_debug.audit_model(OneLogit(net), frame, images=root / "test", out=tmp_path / "framed",
                                    columns={"path": "film", "label": "seen", "patient": "who"}, **asked)  # fmt: skip
    plain = xray_debug.audit_model(OneLogit(net), root, out=tmp_path / "run", **asked)
    assert result.verdict == plain.verdict and result.score == plain.score
    assert result.cases["probability"].to_dict() == plain.cases["probability"].to_dict()
    prepared(tmp_path / "framed", load_config(Store(tmp_path / "framed").pipeline_file), "report")  # by command, too
    with pytest.raises(ValueError, match="nowhere"):
        xray_debug.audit_model(OneLogit(net), frame, columns={"path": "nowhere", "label": "seen"}, **asked)


def test_show_prints_score_and_verdict(by_command, capsys):
    from xray_debug.stages.audit_model import ModelAudit

    folder, _ = by_command
    ModelAudit(folder, parse_config(_pipeline(folder))).show()
    said = capsys.readouterr().out
    assert "score: accuracy" in said and "relies on text" in said and ".png: Without its text" in said


@pytest.mark.filterwarnings("ignore")
def test_eighteen_sigmoids_get_a_verdict_for_the_finding_asked_for(small, tmp_path):
    """TorchScript, by the command; the other findings are asked in runs of their own."""
    root, net = small
    torch.jit.save(torch.jit.trace(Findings(net), torch.rand(2, 1, SIZE, SIZE)), tmp_path / "many.pt")
    command("--model", tmp_path / "many.pt", "--classes", ",".join(FINDINGS), "--output", "sigmoid", "--finding",
            "COVID-19", "--size", SIZE, "--channels", 1, "--normalise", "unit", "--data", root, "--out",
            tmp_path / "run", *as_words(QUICK))  # fmt: skip
    store = Store(tmp_path / "run")
    assert store.json("verdict")["shown"]["text"] and "COVID-19 relies on text" in store.json("verdict")["verdict"]
    images, _ = films(root, "test")
    with torch.no_grad():
        expected = Findings(net)(images)[:, FINDINGS.index("COVID-19")].sigmoid().numpy()
    assert np.abs(np.sort(store.table("predictions")["p_COVID-19"]) - np.sort(expected)).max() < 1e-3
    labels = (store.path("cleaned") / "test_COVIDx.txt").read_text().split()
    assert {"normal", "pneumonia", "COVID-19"} <= set(labels)  # the dataset's own
    config = parse_config(_pipeline(tmp_path / "run"))
    config.model.findings = ["COVID-19", "finding 1", "finding/1"]
    places = {place.name: one.model.findings for place, one in runs_of(tmp_path, config)}
    assert places == {"COVID-19": ["COVID-19"], "finding-1-2": ["finding 1"], "finding-1-3": ["finding/1"]}


def test_a_clean_model_is_not_accused(clean, tmp_path):
    """A function of the user's makes the network and brings its preprocessing; its file holds the weights."""
    root, net = clean
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom own_models_fixture import Small\n\n\ndef make():\n    net = Small()\n"
        f"    net.load_state_dict(torch.load({str(tmp_path / 'weights.pt')!r}))\n"
        "    return net, lambda images: images.double().float()\n")
    result = xray_debug.audit_model(f"{tmp_path}/mine.py:make", root, **COMMON, out=tmp_path / "run", say=None)
    assert result.verdict == "not shown" and not result.details["shown"]["text"]
    first = verdict_sentences(result.details)[0]
    assert first.startswith("No class was shown to rely on text, the absence of text, another region")
    assert first.endswith(f"or {SIDES}.")
    images, codes = films(root, "test")
    with torch.no_grad():
        right = (net(images).argmax(1) == codes).float().mean()
    assert f"accuracy {100 * right:.1f} %" in result.score
    config = parse_config(_pipeline(tmp_path / "run"))
    with (tmp_path / "mine.py").open("a") as file:
        file.write("# changed\n")
    whys = {stage.name: why for stage, why in plan(Run(tmp_path / "run"), config)}
    assert "code of the model's function" in whys["train"] and whys["prepare"] == ""


# ------------------------------------------------------------------------------------------------ no verdict


def until_explain(said: list[str]):
    """Listens, and ends the run once stage train has said what it has to say."""
    return lambda text: said.append(text) or ("explain: " in text and sys.exit())


def test_a_model_that_does_no_better_than_chance_stops_before_anything_else(small, tmp_path):
    root, net = small
    wrong = SMALL | {"classes": ["COVID-19", "normal", "pneumonia"], "out": tmp_path / "run"}
    with pytest.raises(RunError) as caught:
        xray_debug.audit_model(net, root, **wrong, say=None)
    for sentence in ("does no better than chance", "likely causes are normalise, resize", "--anyway goes on",
                     "in another order (normal,pneumonia,COVID-19): balanced accuracy"):  # fmt: skip
        assert sentence in str(caught.value)
    assert not (tmp_path / "run" / "train").exists() and not (tmp_path / "run" / "explain").exists()
    said: list[str] = []
    with pytest.raises(SystemExit):
        xray_debug.audit_model(net, root, **wrong, anyway=True, say=until_explain(said))
    assert any(text.startswith("WARNING: your model does no better than chance") for text in said)


def test_a_model_that_does_better_asked_otherwise_is_told(small, tmp_path):
    """The wrong normalisation leaves it better than chance: a warning, and the run goes on."""
    root, net = small
    said: list[str] = []
    with pytest.raises(SystemExit):
        xray_debug.audit_model(net, root, **SMALL | {"normalise": "imagenet"}, out=tmp_path, say=until_explain(said))
    (warning,) = [text for text in said if text.startswith("WARNING")]
    assert "--normalise unit: balanced accuracy" in warning and "in place of" in warning


class Soft(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return tensor_of(self.net(images)).softmax(1)


@pytest.mark.parametrize(("wrapped", "changes", "sentence"), [
    (Soft, {}, "these are probabilities already: --output probabilities"),
    (torch.nn.Sequential, {"classes": ["Normal", "Pneumonia", "COVID-19"]}, "normal=Normal,pneumonia=Pneumonia"),
    (torch.nn.Sequential, {"classes": [*CLASSES, "other"]}, "gives 3 numbers for an image, expected 4"),
    (Findings, {"classes": FINDINGS, "output": "sigmoid"}, "say which to audit, --finding NAME"),
    (Findings, {"classes": FINDINGS, "output": "sigmoid", "finding": "finding 2"}, "no image of the dataset has"),
])  # fmt: skip
def test_what_does_not_go_together_is_named(planted, tmp_path, wrapped, changes, sentence):
    root, net = planted
    with pytest.raises(ValueError, match=sentence):
        xray_debug.audit_model(wrapped(net), root, **COMMON | changes, out=tmp_path / "run", say=None)


def test_a_dataset_that_names_no_test_images_is_all_tested(small, tmp_path):
    root, net = small
    other = tmp_path / "data"
    shutil.copytree(root / "test", other / "train")
    shutil.copy(root / "test_COVIDx.txt", other / "train_COVIDx.txt")
    (other / "test").mkdir()
    (other / "test_COVIDx.txt").write_text("")
    said: list[str] = []
    with pytest.raises(SystemExit):
        xray_debug.audit_model(net, other, **SMALL, out=tmp_path / "run", say=until_explain(said))
    assert any("names no test images: all 36 are used" in text for text in said)
    assert any("on 36 test images" in text for text in said)


# ------------------------------------------------------------------------------------------------ training again

TRAIN = """
import pathlib, sys, torch
data, out, seed, given = sys.argv[1:]
lines = (pathlib.Path(data) / "test_COVIDx.txt").read_text().splitlines()
assert len(lines) == 36 and all((pathlib.Path(data) / "test" / line.split()[1]).exists() for line in lines)
state = torch.load(given, weights_only=True)
state["state_dict"]["model.fc.weight"] *= 0
torch.save(state, out)
"""


def test_a_command_of_the_users_trains_again(by_command, tmp_path):
    """Its model, in which nothing is left of the classes, is scored like the first, in the rows of the 2x2."""
    folder, _ = by_command
    run = shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "train.py").write_text(TRAIN)
    given = _pipeline(folder)["model"]["file"]
    told = [sys.executable, str(tmp_path / "train.py"), "{data}", "{out}", "{seed}", given]
    setting = f"retrain.command={json.dumps(told)}"
    app(["retrain", "--run", str(run), "--set", setting], standalone_mode=False)
    table = Store(run).table("retrained predictions")
    rows = table.groupby(["trained_on", "tested_on"])["p_normal"].nunique()
    assert set(rows.index) == {("original", "cleaned"), ("cleaned", "original"), ("cleaned", "cleaned")}
    assert rows["cleaned", "original"] == 1 and rows["original", "cleaned"] > 20
    app(["report", "--run", str(run), "--set", setting], standalone_mode=False)
    assert any(row["trained_on"] == "cleaned" for row in Store(run).json("report")["table4"])


@pytest.mark.parametrize(("told", "sentence"), [
    (["python", "train.py"], "expected {data}"), (["python", "{data}"], "{out} is missing"), ([], "expected a command"),
    ("", "expected a command"), ([sys.executable, "-c", "print('no memory'); raise SystemExit(3)", "{data}", "{out}"],
                                 "status 3 on .*: no memory"),
    ([sys.executable, "-c", "pass", "{data}", "{out}"], "expected a model in .*, as {out} says, found none"),
    (["no-such-program-here", "{data}", "{out}"], "cannot be started"),
    ([sys.executable, "-c", "import sys; open(sys.argv[2], 'w').write('x')", "{data}", "{out}"], "no torch file"),
])  # fmt: skip
def test_a_command_that_leaves_no_model_is_told(by_command, tmp_path, told, sentence):
    folder, _ = by_command
    run = shutil.copytree(folder, tmp_path / "run")
    with pytest.raises(ValueError, match=sentence.replace("{", r"\{").replace("}", r"\}")):
        app(["retrain", "--run", str(run), "--set", f"retrain.command={json.dumps(told)}"], standalone_mode=False)
    assert Store(run).has("retrained predictions")  # the old result stays


def test_places_in_a_command_are_filled_and_quoted_for_a_shell():
    values = {"data": "/a b/c", "out": "/x;rm -r y", "seed": "3"}
    assert filled_in(["t", "--d={data}", "{out}", "{seed}"], values) == ["t", "--d=/a b/c", "/x;rm -r y", "3"]
    import shlex

    assert sys.platform == "win32" or shlex.split(filled_in("t {data} {out} {seed}", values)) == [
        "t", "/a b/c", "/x;rm -r y", "3"]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), [
    ("model: {file: x.pt}", "model.classes"), ("model: {file: x.pt, classes: [a, b], output: logits}", "model.output"),
    ("model: {file: x.pt, classes: [a, b], channels: 2}", "model.channels"),
])  # fmt: skip
def test_options_of_the_model_are_checked(tmp_path, text, sentence):
    import yaml

    with pytest.raises(ConfigError, match=sentence):
        parse_config(yaml.safe_load(text))


def test_the_small_network_is_what_the_fixture_says():
    assert Small()(torch.rand(2, 1, SIZE, SIZE)).shape == (2, 3)

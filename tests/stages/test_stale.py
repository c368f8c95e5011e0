"""What makes a stage stale, and that the reason names it: files of options, code of plugins, this package's files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_fixture import call

from xray_debug.config import dump_config, override, parse_config
from xray_debug.data.files import write_text
from xray_debug.review.decisions import ReviewDB
from xray_debug.run import fingerprint, plugins
from xray_debug.run.folder import Run
from xray_debug.run.places import absolute_paths
from xray_debug.run.store import OUTPUTS, Store
from xray_debug.stages.modelling import _code
from xray_debug.stages.registry import STAGES, plan
from xray_debug.stages.registry import fingerprint as fingerprint_of

ROOT = str(Path(__file__).parents[2])


def config_with(**sections):
    return parse_config({"phantom": {}, "detect": {"second": None}, **sections})


def made(folder: Path, config) -> Run:
    """A run whose stages are complete, by their records."""
    run = Run(folder)
    with run.locked():
        for name, stage in STAGES.items():
            mark = fingerprint_of(stage, run, config)
            run.begin(name, mark)
            digests = {result: f"digest of {result}" for result, output in OUTPUTS.items() if output.stage == name}
            run.complete(name, mark, {"seed": config.seed, "seconds": 1.0, "outputs": digests})
    write_text(folder / "pipeline.yaml", dump_config(config))
    return run


def stale(run: Run, config) -> dict[str, str]:
    """Stage -> why it itself must run; what only waits for another's result is left out."""
    import_closure_anew()
    return {stage.name: why for stage, why in plan(run, config) if why and not why.startswith("if stage")}


def import_closure_anew() -> None:
    fingerprint.import_closure.cache_clear()
    plugins._points.cache_clear()


def after(run: Run, config) -> set[str]:
    return {stage.name for stage, why in plan(run, config) if why}


# ------------------------------------------------------------------------------------------ files that options name

NAMING = [  # option, the stages that use the file, those that may get another result by it
    ("train.model_options.weights", {"train", "retrain"}, set(STAGES) - {"prepare", "detect", "clean"}),
    ("explain.options.prior", {"explain"}, {"explain", "audit", "report"}),
    ("detect.weights", {"detect"}, {"detect", "audit", "clean", "retrain", "report"}),
    ("detect.options.refiner", {"detect"}, {"detect", "audit", "clean", "retrain", "report"}),
    ("audit.regions", {"audit"}, {"audit", "report"}),
]


@pytest.mark.parametrize(("option", "stages", "waiting"), NAMING, ids=[row[0] for row in NAMING])
def test_a_byte_of_a_file_that_an_option_names(tmp_path, option, stages, waiting):
    file = tmp_path / "named.csv"
    file.write_bytes(b"0123456789")
    sections: dict = {}
    *parents, last = option.split(".")
    node = sections
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = str(file)
    config = config_with(**{"detect": {"second": None}, **sections})
    config.detect.second = None
    run = made(tmp_path / "run", config)
    assert stale(run, config) == {}
    times = file.stat()
    file.write_bytes(b"0123456780")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # neither its size nor its time tells
    changed = {*stages, "report"}  # which tells of all options
    assert stale(run, config) == dict.fromkeys(changed, f"input file of {option} changed")
    assert after(run, config) == waiting
    file.unlink()
    assert set(stale(run, config)) == changed


def test_masks_in_a_folder_count_and_a_word_that_is_a_folders_name_does_not(tmp_path, monkeypatch):
    (tmp_path / "masks" / "clips").mkdir(parents=True)
    (tmp_path / "masks" / "clips" / "a.png").write_bytes(b"mask")
    (tmp_path / "quick").mkdir()
    monkeypatch.chdir(tmp_path)
    config = config_with(audit={"regions": "masks"}, explain={"options": {"preset": "quick"}})
    absolute_paths(config)
    assert config.explain.options == {"preset": "quick"}
    run = made(tmp_path / "run", config)
    (tmp_path / "quick" / "x").write_text("1")
    assert stale(run, config) == {}
    (tmp_path / "masks" / "clips" / "a.png").write_bytes(b"edited")
    assert stale(run, config) == dict.fromkeys(["audit", "report"], "input file of audit.regions changed")


def test_a_relative_path_means_the_same_file_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "start.pth").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    config = config_with(train={"model_options": {"weights": "start.pth", "depth": 0.5}})
    named = absolute_paths(config)
    assert config.train.model_options == {"weights": str(tmp_path / "start.pth"), "depth": 0.5}
    assert named == {"train.model_options.weights": tmp_path / "start.pth"}


def test_a_trained_seed_is_not_adopted_with_other_weights_to_start_from(tmp_path):
    file = tmp_path / "start.pth"
    file.write_bytes(b"weights")
    config = config_with(train={"model_options": {"weights": str(file)}}).train
    before = _code(config)
    assert _code(config) == before
    file.write_bytes(b"Weights")
    assert _code(config) != before


# ------------------------------------------------------------------------------------------ the report

TOLD = ["clean.lossy=jpeg", "train.view.size=128", "audit.permutations=99", "detect.second=craft", "train.epochs=3",
        "prepare.val_fraction=0.2", "explain.max_cases=7", "retrain.leave_sources_out=true", "seeds=[1]", "name=other",
        "phantom.size=128"]  # fmt: skip


@pytest.mark.parametrize("option", TOLD)
def test_the_report_is_stale_where_an_option_that_it_tells_of_has_changed(tmp_path, option):
    run = made(tmp_path / "run", config_with())
    changed = parse_config(override(config_with().model_dump(mode="json"), [option]))
    assert f"option {option.partition('=')[0]}" in stale(run, changed)["report"]


def test_the_report_is_not_stale_by_how_the_work_is_done(tmp_path):
    config = config_with()
    run = made(tmp_path / "run", config)
    config.engine.workers, config.train.devices, config.detect.batch_size = 3, 2, 5
    assert stale(run, config) == {}


def test_the_report_is_stale_where_a_stage_was_made_otherwise_with_the_same_results(tmp_path):
    config = config_with()
    run = made(tmp_path / "run", config)
    for stage in STAGES:
        if stage == "report":
            continue
        file = run.path(stage, "stage.json")
        before = file.read_text()
        file.write_text(json.dumps(json.loads(before) | {"fingerprint": "0"}))
        assert stale(run, config)["report"] == f"input how {stage} was made changed"
        file.write_text(before)


@pytest.mark.parametrize("name", ["cleaning facts", "unread"])
def test_the_report_is_stale_where_what_could_not_be_done_is_another(tmp_path, name):
    config = config_with()
    run = made(tmp_path / "run", config)
    file = run.path(OUTPUTS[name].stage, "stage.json")
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"outputs": record["outputs"] | {name: "another"}}))
    assert stale(run, config)["report"] == f"input {name} changed"


# ------------------------------------------------------------------------------------------ plugins

PLUGINS = [  # group, the options that choose it, the stages that call it
    ("models", {"train": {"model": "mine"}}, {"train", "explain", "audit", "retrain"}),
    ("methods", {"explain": {"method": "mine"}}, {"explain"}),
    ("detectors", {"detect": {"detector": "mine", "second": None}}, {"detect"}),
    ("detectors", {"detect": {"second": "mine"}}, {"clean"}),
    ("checks", {}, {"audit"}),
    ("formats", {}, {"prepare", "clean"}),  # it also writes the labels back
    ("formats", {"prepare": {"format": "mine"}}, {"prepare", "clean"}),
]


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package beside the environment's; call it with the group of its one entry point, "mine"."""
    place = tmp_path / "site"
    (place / "plugpack" / "data").mkdir(parents=True)
    (place / "plugpack" / "__init__.py").write_text("raise RuntimeError('status imports no plugin')\n")
    (place / "plugpack" / "thing.py").write_text("def thing():\n    from plugpack import helper\n    return helper.x\n")
    (place / "plugpack" / "helper.py").write_text("x = 1\n")
    (place / "plugpack" / "other.py").write_text("y = 1\n")
    (place / "plugpack" / "data" / "net.onnx").write_bytes(b"net")
    (place / "plugpack-1.dist-info").mkdir()
    (place / "plugpack-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plugpack\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(place))

    def bring(group: str) -> Path:
        text = f"[xray_debug.{group}]\nmine = plugpack.thing:thing\n"
        (place / "plugpack-1.dist-info" / "entry_points.txt").write_text(text)
        import_closure_anew()
        return place / "plugpack"

    yield bring
    import_closure_anew()


@pytest.mark.parametrize(("group", "options", "stages"), PLUGINS)
def test_a_line_of_a_plugin(tmp_path, plugin, group, options, stages):
    package = plugin(group)
    config = config_with(**options)
    run = made(tmp_path / "run", config)
    assert stale(run, config) == {}
    (package / "other.py").write_text("y = 2\n")  # nothing imports it
    assert stale(run, config) == {}
    for file in ("thing.py", "helper.py", "__init__.py", "data/net.onnx"):
        before = (package / file).read_bytes()
        (package / file).write_bytes(before + b"\n# edited\n")
        assert stale(run, config) == dict.fromkeys(stages, f"code (plugin plugpack/{file}) changed")
        (package / file).write_bytes(before)
    assert "plugpack" not in sys.modules


def test_a_plugin_of_one_file_and_one_that_is_gone(tmp_path, monkeypatch):
    place = tmp_path / "site"
    (place / "oneplug-1.dist-info").mkdir(parents=True)
    (place / "oneplug-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: oneplug\nVersion: 1\n")
    (place / "oneplug-1.dist-info" / "entry_points.txt").write_text("[xray_debug.checks]\nmine = oneplug:Mine\n")
    (place / "oneplug.py").write_text("from xray_debug.review.view import x\n")
    (place / "neighbour.json").write_text("{}")
    monkeypatch.syspath_prepend(str(place))
    import_closure_anew()
    found = plugins.plugin_code([("xray_debug.checks", None)])
    assert {name for name in found if name.startswith("plugin")} == {"plugin oneplug.py"}
    assert "review/view.py" in found  # what it imports of this package is its code as well
    config = config_with()
    run = made(tmp_path / "run", config)
    (place / "oneplug.py").write_text("this is no Python\n")
    assert list(stale(run, config)) == ["audit"]
    (place / "oneplug.py").unlink()
    assert "plugin oneplug" in stale(run, config)["audit"]
    assert plugins.plugin_code([("xray_debug.checks", None)]) == {"plugin oneplug": "absent"}
    assert plugins.plugin_code([("xray_debug.checks", "another")]) == {}
    import_closure_anew()


def test_the_packages_of_a_detector_are_inputs(tmp_path, monkeypatch):
    """A reader that is installed later, or whose model file is another, gives another result."""
    for package in ("rapidocr", "onnxruntime"):
        for loaded in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, loaded)
    config = config_with(detect={"second": "ppocr"})
    for name in ("rapidocr/models", "onnxruntime"):
        (tmp_path / "site" / name).mkdir(parents=True)
    for name in ("rapidocr/__init__.py", "onnxruntime/__init__.py", "rapidocr/models/det.onnx"):
        (tmp_path / "site" / name).write_text("raise ImportError")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    run = made(tmp_path / "run", config)
    assert stale(run, config) == {}
    (tmp_path / "site" / "rapidocr" / "models" / "det.onnx").write_text("another")
    assert stale(run, config) == {"clean": "input second reader changed"}
    config.detect.second, config.detect.detector = None, "ppocr"
    run = made(tmp_path / "run2", config)
    (tmp_path / "site" / "rapidocr" / "models" / "det.onnx").write_text("a third")
    assert stale(run, config) == {"detect": "input packages of the detector changed"}


# ------------------------------------------------------------------------------------------ names in the reason


@pytest.fixture
def edited(tmp_path) -> Path:
    """A run whose stage audit was made with another audit/swaps.py, and detect by an old version without file names."""
    run = made(tmp_path / "run", config_with())
    for stage, change in (("audit", {"audit/swaps.py": "0"}), ("detect", None)):
        file = run.path(stage, "stage.json")
        record = json.loads(file.read_text())
        record |= {"fingerprint": "0", "code": "0"}
        if change:
            record["files"] |= change
        else:
            del record["files"]
        file.write_text(json.dumps(record))
    return run.folder


def test_the_changed_file_of_code_is_named(edited):
    found = stale(Run(edited), config_with())
    assert found == {"audit": "code (audit/swaps.py) changed", "detect": "code changed",
                     "report": "input how detect was made, input how audit was made changed"}  # fmt: skip


def test_status_and_its_lineage_name_it(edited):
    said = call("status", "--run", edited, check=0).stdout
    assert "code (audit/swaps.py) changed" in said
    said = call("status", "--run", edited, "--lineage", check=0).stdout
    assert "audit\n  stale: code (audit/swaps.py) changed\n" in said and "train\n  finished: " in said


HEAVY = ("torch", "lightning", "torchvision", "onnxruntime", "rapidocr", "pandas", "pyarrow", "cv2", "scipy", "sklearn",
         "matplotlib", "streamlit")  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["status", "--lineage"]], ids=" ".join)
def test_what_only_looks_imports_nothing_heavy(tmp_path, arguments):
    config = config_with(detect={"second": "ppocr"})
    run = made(tmp_path / "run", config)
    ReviewDB(Store(run.folder).review_file).decide("film.png", "reject")
    arguments = [*arguments, *(["--run", str(run.folder)] if "status" in arguments else [])]
    code = "import sys\nfrom xray_debug.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n" \
           f"print('heavy:', [name for name in {HEAVY} if name in sys.modules])"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": ROOT})  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip().splitlines()[-1] == "heavy: []", done.stderr


@pytest.mark.parametrize("text", ["[]", "{", '{"outputs": []}', "null"])
def test_status_tells_of_the_other_stages_where_a_record_is_damaged(tmp_path, text):
    run = made(tmp_path / "run", config_with())
    run.path("train", "stage.json").write_text(text)
    said = call("status", "--run", run.folder, "--lineage", check=0).stdout
    assert "cannot run: " in said and "stage.json" in said and "prepare\n  finished: " in said


MINE = """
import beside, torch
def make():
    return torch.load("weights/deep.th"), beside.load()
"""


@pytest.mark.parametrize("form", ["file", "module"])
@pytest.mark.parametrize("changed", ["mine.py", "beside.py", "w.pt", "weights/deep.th"])
def test_weights_that_a_users_function_reads_are_part_of_it(tmp_path, monkeypatch, form, changed):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "weights").mkdir()
    (tmp_path / "mine_of_this_test.py").write_text(MINE)
    (tmp_path / "beside.py").write_text("def load(): ...")
    for name in ("w.pt", "weights/deep.th", "weights/other.pt", "notes.md"):
        (tmp_path / name).write_text("1")
    told = "mine_of_this_test:make" if form == "module" else f"{tmp_path / 'mine_of_this_test.py'}:make"
    before = plugins.factory_code(told)
    assert set(before) == {"plugin mine_of_this_test.py", "plugin beside.py", "plugin w.pt", "plugin " + str(
        Path("weights/deep.th"))}  # fmt: skip
    file = tmp_path / changed.replace("mine.py", "mine_of_this_test.py")
    with file.open("a") as stream:
        stream.write("# 22")
    assert [name for name, value in plugins.factory_code(told).items() if before[name] != value] == [
        f"plugin {Path(changed).parent / file.name}"]  # fmt: skip

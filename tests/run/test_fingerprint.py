"""Fingerprints follow the real imports, the options that change results, and contents."""

from pathlib import Path

import pytest

from xray_debug.config import EngineConfig, PipelineConfig
from xray_debug.run.fingerprint import (
    PACKAGE,
    Fingerprint,
    chosen_options,
    code_digest,
    code_files,
    contents_digest,
    digest,
    folder_digest,
    import_closure,
)


@pytest.fixture
def package(tmp_path):
    """A package in which a imports b inside a function, b imports c relatively, d only for types."""
    root = tmp_path / "pack"
    (root / "inner" / "weights").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "a.py").write_text(
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nimport json\n"
        "if TYPE_CHECKING:\n    from pack.d import D\n"
        "def f():\n    from pack.inner import b\n    return b\n"
    )
    (root / "inner" / "__init__.py").write_text("import pack.e\n")
    (root / "inner" / "b.py").write_text("from .c import value\n")
    (root / "inner" / "c.py").write_text("value = 1\n")
    (root / "inner" / "weights" / "w.json").write_text("1")
    for name in "def":
        (root / f"{name}.py").write_text("")
    return root


def names(files, root) -> set[str]:
    return {file.relative_to(root).as_posix() for file in files}


def test_the_closure_is_what_an_import_can_bring_in(package):
    found = names(import_closure("pack.a", package), package)
    assert found == {"__init__.py", "a.py", "e.py", "inner/__init__.py", "inner/b.py", "inner/c.py"}
    assert names(import_closure("pack.a", package, ("pack.inner",)), package) == {"__init__.py", "a.py"}


def test_a_new_version_makes_no_stage_stale():
    """The version is in the package's own __init__; the packages below have theirs counted."""
    found = names(code_files("xray_debug.stages.audit"), PACKAGE)
    assert "__init__.py" not in found and {"stages/audit.py", "audit/__init__.py", "run/store.py"} <= found


def test_data_beside_the_code_counts(package):
    assert "inner/weights/w.json" in names(code_files("pack.a", package), package)


@pytest.mark.parametrize("file", ["a.py", "inner/b.py", "inner/c.py", "e.py", "inner/weights/w.json"])
def test_a_change_of_what_is_imported_changes_the_digest(package, file):
    before = code_digest("pack.a", package)
    assert code_digest("pack.a", package) == before
    (package / file).write_text((package / file).read_text() + "2")
    import_closure.cache_clear()
    assert code_digest("pack.a", package) != before


@pytest.mark.parametrize("file", ["d.py", "f.py"])
def test_a_change_of_what_is_not_imported_changes_nothing(package, file):
    before = code_digest("pack.a", package)
    (package / file).write_text("x = 1\n")
    import_closure.cache_clear()
    assert code_digest("pack.a", package) == before


STAGES = Path(__file__).parents[2] / "xray_debug" / "stages"
EDITED = [  # a module -> stages that it can change
    ("cleaning/fills.py", {"audit"}),
    ("audit/swaps.py", {"audit"}),
    ("cleaning/inpainting.py", {"audit", "clean", "report"}),
    ("data/duplicates.py", {"prepare"}),
    ("data/view.py", {"prepare", "train", "explain", "audit", "clean", "retrain"}),
    ("review/decisions.py", {"clean"}),
    ("models/loop.py", {"train", "retrain"}),
    ("text/detectors/weights/craft-lite.safetensors", {"detect"}),
    ("report/templates/report.html", {"report"}),
    ("saliency/methods/igos.py", {"explain"}),
    ("phantom/markers.py", {"prepare"}),
]


@pytest.mark.parametrize(("module", "stages"), EDITED)
def test_the_stages_know_the_modules_that_can_change_them(module, stages):
    root = STAGES.parent
    knowing = {file.stem for file in STAGES.glob("*.py")
               if root / module in code_files(f"xray_debug.stages.{file.stem}")}  # fmt: skip
    assert stages <= knowing


@pytest.mark.parametrize(("module", "stage"), [
    ("review/view.py", "clean"), ("report/tables.py", "audit"), ("text/training/render.py", "detect"),
    ("audit/verdict.py", "clean"), ("models/loop.py", "explain"), ("cli.py", "train"), ("stages/registry.py", "train"),
])  # fmt: skip
def test_the_stages_do_not_depend_on_what_cannot_change_them(module, stage):
    root = STAGES.parent
    assert (root / module).exists()
    assert root / module not in code_files(f"xray_debug.stages.{stage}")


def test_free_options_are_left_out_and_others_are_not():
    config = PipelineConfig()
    before = chosen_options(config, ("engine", "train", "detect.options", "seed"))
    assert before["engine"] == {}
    changed = config.model_copy(update={"engine": EngineConfig(workers=3, engine="ray")})
    assert chosen_options(changed, ("engine", "train", "detect.options", "seed")) == before
    changed = config.model_copy(deep=True)
    changed.train.epochs += 1
    assert chosen_options(changed, ("train",)) != chosen_options(config, ("train",))


def test_a_difference_is_named():
    first = Fingerprint({"manifest": "1"}, {"train": {"epochs": 3}}, "x")
    record = {"fingerprint": first.key, "inputs": first.inputs, "parameters": first.parameters, "code": "x"}
    assert first.difference(record) == ""
    assert Fingerprint(first.inputs, first.parameters, "y").difference(record) == "code changed"
    other = Fingerprint({"manifest": "2"}, {"train": {"epochs": 4}}, "y")
    assert other.difference(record) == "input manifest, option train.epochs, code changed"


def test_digests_follow_contents_and_not_order(tmp_path):
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x").write_text("1")
    before, seen = contents_digest([tmp_path / "in"]), folder_digest(tmp_path)
    (tmp_path / "in" / "x").write_text("1")
    assert contents_digest([tmp_path / "in"]) == before
    (tmp_path / "in" / "x").write_text("12")
    assert contents_digest([tmp_path / "in"]) != before and folder_digest(tmp_path) != seen


def test_a_folder_behind_a_link_is_seen(tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "x").write_text("1")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "away")
    (tmp_path / "away" / "circle").symlink_to(tmp_path / "away")
    before = folder_digest(root)
    (tmp_path / "away" / "y").write_text("1")
    assert folder_digest(root) != before


def test_contents_behind_links_count_and_loops_end(tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "x").write_text("1")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "away")
    (tmp_path / "away" / "circle").symlink_to(root)
    before = contents_digest([root])
    (tmp_path / "away" / "x").write_text("2")
    changed = contents_digest([root])
    assert changed != before
    (root / "second").symlink_to(tmp_path / "away")  # another name of a folder that is known already
    assert contents_digest([root]) != changed
    (root / "second").unlink()
    assert contents_digest([root]) == changed


def test_a_second_link_to_a_known_folder_counts(tmp_path):
    (tmp_path / "root" / "a").mkdir(parents=True)
    before = folder_digest(tmp_path / "root")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "root" / "a")
    assert folder_digest(tmp_path / "root") != before

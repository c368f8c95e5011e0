"""xray-debug compare as a user meets it: tables and sentences, three files, one sentence for what cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from compare_fixture import finished_run
from typer.testing import CliRunner

from xray_debug.cli import app

runner = CliRunner()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, strength, skill in (("before", 0.4, 0.5), ("after", 0.0, 0.97)):
        finished_run(folder / name, strength, skill, name=name, seeds=[0], report={"bootstrap": 100})
    return folder


def test_it_says_what_changed_writes_three_files_and_needs_no_torch(runs):
    code = ("import sys; sys.argv[0] = 'xray-debug'\nfrom xray_debug.cli import command\nstatus = command()\n"
            "assert not {'torch', 'cv2', 'sklearn', 'matplotlib'} & set(sys.modules)\nsys.exit(status)")
    call = [sys.executable, "-c", code, "compare", str(runs / "before"), str(runs / "after"), "--out", str(runs / "o")]
    done = subprocess.run(call, capture_output=True, text=True, env=os.environ | {"COLUMNS": "220"}, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "A is before (before), B is after (after)" in done.stdout and "weaker in B" in done.stdout
    assert "questions to which neither run shows an answer" in done.stdout
    assert sorted(file.name for file in (runs / "o").iterdir()) == ["compare.html", "compare.json", "compare.md"]
    report = json.loads((runs / "o" / "compare.json").read_text(encoding="utf-8"))
    assert all(sentence in done.stdout for sentence in report["sentences"])


def test_a_narrow_terminal_gets_a_line_for_each_row_and_loses_no_word(runs):
    """At 80 columns every cell of the tables would be cut; nothing is, and the same figures are said."""
    narrow, wide = (runner.invoke(app, ["compare", str(runs / "before"), str(runs / "after")], env={"COLUMNS": columns})
                    for columns in ("80", "300"))  # fmt: skip
    assert narrow.exit_code == wide.exit_code == 0 and "\u2026" not in narrow.stdout + wide.stdout
    rows = [line for line in wide.stdout.splitlines() if line.startswith("\u2502")]
    cells = [cell.strip() for row in rows for cell in row.split("\u2502")]
    told = "\n".join(line for line in narrow.stdout.splitlines() if line.startswith(("trained on: ", "test set: ")))
    assert len(cells) > 100 and all(cell in told for cell in cells) and "score: accuracy; " in told


def test_what_cannot_be_is_said_before_anything_is_written(runs, tmp_path):
    def said(*arguments) -> str:
        result = runner.invoke(app, ["compare", *map(str, arguments)])
        assert result.exit_code != 0
        return str(result.exception)

    assert "expected a run folder with pipeline.yaml" in said(runs / "before", tmp_path)
    (tmp_path / "compare.md").write_text("mine")
    assert "compare.md: is there already" in said(runs / "before", runs / "after", "--out", tmp_path)
    assert (tmp_path / "compare.md").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    assert "is a file, expected a folder" in said(runs / "before", runs / "after", "--out", tmp_path / "compare.md")

"""docs/reliability.md says what happens under which fault; every row names a test that exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "reliability.md"
LEAST = 150
ROW = re.compile(r"\| (\S.*?) \| (\S.*) \| `?(tests/[\w/]+\.py::test_\w+(?:\[.+\])?)`? \|")


def rows(text: str) -> list[tuple[str, str, str]]:
    """(fault, what happens, test) of each line of a table but its head and the line below; AssertionError if not so."""
    lines = [line.strip() for line in text.splitlines() if line.lstrip().startswith("|")]
    below = [i for i, line in enumerate(lines) if re.fullmatch(r"[|\s:-]+", line)]
    lines = [line for i, line in enumerate(lines) if i not in below and i + 1 not in below]
    wrong = [line for line in lines if not ROW.fullmatch(line)]
    assert not wrong, f"not | fault | what happens | tests/...py::test_name[id] |: {wrong[:5]}"
    return [ROW.fullmatch(line).groups() for line in lines]


def collected(files: list[str], form: str = "") -> set[str]:
    """Every test of the files, with and without its id; `form`: "long" for what the long form alone tries."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=--import-mode=importlib", *files]
    settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "XRAY_DEBUG_FAULTS": form}
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=os.environ | settings)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    full = {line for line in found.stdout.splitlines() if "::" in line}
    return full | {line.partition("[")[0] for line in full}


def test_every_row_names_a_test_that_exists():
    if not TABLE.is_file():
        pytest.skip("docs/reliability.md is not written yet")
    table = rows(TABLE.read_text(encoding="utf-8"))
    assert len(table) >= LEAST
    assert len(set(table)) == len(table), "the same row twice"
    files = sorted({test.partition("::")[0] for _, _, test in table})
    assert [file for file in files if not (ROOT / file).is_file()] == []
    unknown = {test for _, _, test in table} - collected(files)
    if unknown:
        unknown -= collected(sorted({test.partition("::")[0] for test in unknown}), "long")
    assert not unknown, f"{len(unknown)} tests that do not exist: {sorted(unknown)[:10]}"


def test_rows_are_read_and_a_test_that_does_not_exist_is_noticed():
    head = "| fault | what happens | test |\n|---|:--|---|\n"
    name = "tests/faults/test_reliability_table.py::test_rows_are_read_and_a_test_that_does_not_exist_is_noticed"
    assert rows(f"text\n{head}| a | b | `{name}` |\n\n{head}| c, | d | {name}[x|[y]] |\n") == [
        ("a", "b", name), ("c,", "d", f"{name}[x|[y]]")]  # fmt: skip
    for line in ("| a | b |", "| a | b | test_x |", "|  | b | tests/a.py::test_x |"):
        with pytest.raises(AssertionError):
            rows(head + line)
    found = collected(["tests/faults/test_reliability_table.py"])
    assert name in found and f"{name}_not" not in found

"""The notebooks run from top to bottom, and find what they say."""

import ast
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"


def run(name: str) -> tuple[dict, list]:
    """All code cells in one namespace; the namespace, and the value of each cell's last line (None for a statement)."""
    space, values = {"__name__": "__main__"}, []
    for cell in json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs"), "committed without outputs"
        if cell["cell_type"] == "code":
            tree, value = ast.parse("".join(cell["source"])), None
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, name, "exec"), space)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), name, "eval"), space)
            values.append(value)
    return space, values


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_explain_any_model():
    space, values = run("explain-any-model")
    assert space["accuracy"] > 0.95
    assert values[1]._repr_png_().startswith(b"\x89PNG")
    found = space["areas"]["igos_pp"]
    assert found["deletion"] < found["insertion"] - 0.2
    area = space["shape"].float().mean((1, 2))
    assert (space["inside"] > 3 * area).all(), "the heat lies on the shape, not all over"


def test_audit_my_model(capsys):
    space, values = run("audit-my-model")
    assert "relies on text" in space["found"].verdict and "score: " in capsys.readouterr().out
    assert space["page"].read_text(encoding="utf-8").startswith("<!DOCTYPE html") and len(values[-2]) == 5

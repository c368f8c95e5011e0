"""The user's command that trains again: when it is run, and where its model is found."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch

from xray_debug.config import parse_config
from xray_debug.models.checkpoint import load_checkpoint
from xray_debug.run.folder import RunError
from xray_debug.stages import own_retrain

TRAIN = """
import pathlib, sys, torch
import helper
out = sys.argv[2]
torch.save({"0.weight": torch.zeros(2, 1), "0.bias": torch.tensor([0.0, helper.BIAS])}, out)
with open(pathlib.Path(__file__).with_name("runs"), "a") as file:
    file.write("x")
"""
MAKE = """
from torch import nn
class Net(nn.Sequential):
    def forward(self, images):
        return super().forward(images.mean((2, 3)))
def make():
    return Net(nn.Linear(1, 2))
"""


@pytest.fixture
def retrained(tmp_path):
    """Trains with the command once more; gives the folder of the model and how often the script has run so far."""
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "helper.py").write_text("BIAS = 2.0")
    (tmp_path / "mine.py").write_text(MAKE)
    folder = tmp_path / "seed-0"

    def again(command=(sys.executable, str(tmp_path / "train.py"), "{data}", "{out}")):
        command = command if isinstance(command, str) else list(command)
        config = parse_config({
            "model": {"factory": f"{tmp_path / 'mine.py'}:make", "classes": ["a", "b"], "size": 32, "channels": 1},
            "retrain": {"command": command}, "explain": {"method": "rise"}})  # fmt: skip
        context = SimpleNamespace(config=config, say=lambda text: None)
        own_retrain.train(context, "cleaned", tmp_path, folder, 0, "known")
        return folder, len((tmp_path / "runs").read_text())

    return again


@pytest.mark.parametrize(("file", "form"), [("train.py", "list"), ("helper.py", "text"), ("mine.py", "list")])
def test_an_edited_script_or_function_is_run_again(retrained, tmp_path, file, form):
    told = [sys.executable, str(tmp_path / "train.py"), "{data}", "{out}"]
    told = told if form == "list" else " ".join(told)
    assert [retrained(told)[1], retrained(told)[1]] == [1, 1]
    with (tmp_path / file).open("a") as script:
        script.write("\n# changed\n")
    assert retrained(told)[1] == 2


def test_a_command_that_writes_nothing_leaves_no_old_model(retrained, tmp_path):
    retrained()
    (tmp_path / "train.py").write_text("")
    with pytest.raises(RunError, match="expected a model in .* found none"):
        retrained()


def test_its_model_is_found_where_the_folder_has_moved_to(retrained, tmp_path):
    folder, _ = retrained()
    moved = shutil.move(folder, tmp_path / "moved")
    assert str(tmp_path) not in json.loads((tmp_path / "moved" / "model.json").read_text())["own"]["settings"]["file"]
    with torch.no_grad():
        found = load_checkpoint(moved, trusted=True)(torch.rand(3, 1, 32, 32))
    assert found.tolist() == [[0.0, 2.0]] * 3

"""No process is left over when the one that started it is killed."""

import subprocess
import sys
import time

import psutil
import pytest

CODE = """
import os, sys, time
from pathlib import Path
import pandas as pd
from xray_debug.config import EngineConfig
from xray_debug.run.engine import Engine, TableRows

class Sleeper:
    batch = 1
    def __init__(self, folder): self.folder = folder
    def open(self): pass
    def __call__(self, rows):
        Path(self.folder, f"pid-{os.getpid()}").write_text("")
        time.sleep(600)

if __name__ == "__main__":
    rows = TableRows(pd.DataFrame({"image_id": ["a", "b", "c", "d"]}))
    Engine(EngineConfig(workers=2, processes=True)).run(Sleeper(sys.argv[1]), rows, Path(sys.argv[1], "parts"), "sleep")
"""


def wait_for(condition, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_engine_processes_end_with_their_parent(tmp_path, how):
    script = tmp_path / "sleep.py"
    script.write_text(CODE)
    parent, family = subprocess.Popen([sys.executable, str(script), str(tmp_path)], stderr=subprocess.DEVNULL), []
    try:
        assert wait_for(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
        family = psutil.Process(parent.pid).children(recursive=True)
        assert {int(file.name[4:]) for file in tmp_path.glob("pid-*")} <= {child.pid for child in family}
        getattr(parent, how)()
        parent.wait(30)
        assert wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE
                                        for child in family))  # fmt: skip
    finally:
        for process in [parent, *(child for child in family if child.is_running())]:
            process.kill()
        parent.wait()

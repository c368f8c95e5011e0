"""One small run of all stages on a phantom, made once; tests read it, or change a copy."""

import shutil
from pathlib import Path

import pytest

from xray_debug.config import parse_config
from xray_debug.run.engine import Engine
from xray_debug.run.folder import Run
from xray_debug.run.store import Store

SETTINGS = {
    "name": "tiny",
    "seeds": [0, 1],
    "phantom": {"train": 60, "test": 30, "size": 96, "correlation": 0.9, "difficulty": 0.6},
    "train": {
        "model": "covidnet", "model_options": {"width": 8, "depth": 0.25}, "view": {"size": 48}, "epochs": 4,
        "batch_size": 8, "learning_rate": 3e-3, "precision": "32-true",
    },
    "explain": {"method": "gradient", "select": "all", "max_cases": 30},
    "detect": {"second": None},
    "audit": {"controls": 1, "shares": [0.06, 0.12], "swaps": 1, "permutations": 50, "max_cases": 36},
    "report": {"bootstrap": 200, "max_flagged": 2},
}  # fmt: skip


class Pipeline:
    """A run folder with its configuration."""

    def __init__(self, folder: Path, settings: dict):
        self.folder, self.config = folder, parse_config(settings)
        self.said: list[str] = []

    @property
    def store(self) -> Store:
        return Store(self.folder)

    def job(self, **options):
        from xray_debug.stages.registry import Job

        run = Run(self.folder)
        return Job(run, self.config, Engine(self.config.engine), self.said.append, **options)

    def run(self, **options) -> list[str]:
        """Runs what must run; the names of the stages that ran."""
        with Run(self.folder).locked():
            return self.job(**options)()

    def why(self, stage: str) -> str:
        """Why a stage would run now, "" where it would not."""
        from xray_debug.stages.registry import plan

        return next(why for found, why in plan(Run(self.folder), self.config) if found.name == stage)

    def copy(self, folder: Path) -> "Pipeline":
        shutil.copytree(self.folder, folder)
        other = Pipeline.__new__(Pipeline)
        other.folder, other.config, other.said = folder, self.config.model_copy(deep=True), []
        return other


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Pipeline:
    """All stages done. Read only: copy it to change it."""
    pipeline = Pipeline(tmp_path_factory.mktemp("runs") / "tiny", SETTINGS)
    assert pipeline.run() == ["prepare", "train", "explain", "detect", "audit", "clean", "retrain", "report"]
    return pipeline


@pytest.fixture
def pipeline(finished, tmp_path) -> Pipeline:
    """A copy of the finished run that a test may change."""
    return finished.copy(tmp_path / "run")

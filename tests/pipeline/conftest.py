"""One small run of all stages on a phantom, made once; tests read it, or change a copy."""

import shutil
from pathlib import Path

import pytest
from training_fixture import train_apart_here

from xray_debug.config import parse_config
from xray_debug.data.images import DECODES
from xray_debug.run.engine import Engine
from xray_debug.run.folder import Run
from xray_debug.run.store import Store
from xray_debug.stages.registry import STAGES, Job, plan

SETTINGS = {
    "name": "tiny",
    "seeds": [0, 1],
    "engine": {"workers": 1},
    "phantom": {"train": 48, "test": 24, "size": 96, "correlation": 0.9, "difficulty": 0.6},
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
        self.decodes: dict[str, int] = {}  # images decoded in each stage

    @property
    def store(self) -> Store:
        return Store(self.folder)

    def run(self, part: tuple[int, int] | None = None, merge: bool = False, **options) -> list[str]:
        """Runs what must run; the names of the stages that ran. `options` of Job."""
        run, engine = Run(self.folder), Engine(self.config.engine, say=self.said.append, part=part, merge=merge)
        with run.locked(part):
            return Job(run, self.config, engine, self.said.append, **options)()

    def why(self, stage: str) -> str:
        """Why a stage would run now, "" where it would not."""
        return next(why for found, why in plan(Run(self.folder), self.config) if found.name == stage)

    def with_option(self, option: str, value) -> "Pipeline":
        """The same run asked for with another option ("clean.radius"); only to look at."""
        other = Pipeline(self.folder, self.config.model_dump())
        section, name = option.split(".")
        setattr(getattr(other.config, section), name, value)
        return other

    def copy(self, folder: Path) -> "Pipeline":
        shutil.copytree(self.folder, folder)
        return Pipeline(folder, self.config.model_dump())


@pytest.fixture(scope="session", autouse=True)
def trained_here():
    """Trainings in this process; those of their own are for tests/models, tests/stages/test_cli.py and tests/faults."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xray_debug.models.processes.train_apart", train_apart_here)
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Pipeline:
    """All stages done. Read only: copy it to change it."""
    pipeline = Pipeline(tmp_path_factory.mktemp("runs") / "tiny", SETTINGS)
    for stage in STAGES:
        before = DECODES.total
        assert pipeline.run(only=stage) == [stage]
        pipeline.decodes[stage] = DECODES.total - before
    return pipeline


@pytest.fixture
def pipeline(finished, tmp_path) -> Pipeline:
    """A copy of the finished run that a test may change."""
    return finished.copy(tmp_path / "run")

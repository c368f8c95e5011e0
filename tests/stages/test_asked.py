"""--force and --from that were stopped: the same command goes on where it was, another request begins anew."""

import pytest

from xray_debug.config import EngineConfig, parse_config
from xray_debug.run.engine import Engine
from xray_debug.run.folder import Run
from xray_debug.stages import registry
from xray_debug.stages.base import Stage
from xray_debug.stages.registry import Job, plan

FULL_DISK = OSError(28, "no space left")


class Pipeline:
    """Two stages that count what they do; `stop` is raised in the middle of the second."""

    def __init__(self, folder, monkeypatch):
        self.run, self.config, self.stop, self.done = Run(folder), parse_config({"phantom": {}}), None, []
        stages = {name: Stage(name, "", (), ("seed",), (), self.work(name)) for name in ("train", "audit")}
        monkeypatch.setattr(registry, "STAGES", stages)

    def work(self, name):
        def work(context):
            for piece in ("first", "second"):
                file = context.folder / piece
                if file.exists():
                    continue
                if self.stop and piece == "second" and name == "audit":
                    raise self.stop
                file.write_text(piece)
                self.done.append(f"{name} {piece}")

        return work

    def __call__(self, stop=None, config=None, **request):
        self.stop, self.done = stop, []
        job = Job(self.run, config or self.config, Engine(EngineConfig(workers=1)), lambda text: None, **request)
        with self.run.locked():
            try:
                job()
            except (OSError, KeyboardInterrupt):
                assert stop
        return self.done


ALL = ["train first", "train second", "audit first", "audit second"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), FULL_DISK], ids=["Ctrl-C", "disk full"])
@pytest.mark.parametrize("request_", [{"force": True}, {"first": "train"}], ids=["--force", "--from"])
def test_what_was_asked_for_and_stopped_goes_on(tmp_path, monkeypatch, request_, stop):
    pipeline = Pipeline(tmp_path, monkeypatch)
    assert pipeline() == ALL and pipeline() == []
    assert pipeline(stop, **request_) == ALL[:3]
    assert [why for _, why in plan(pipeline.run, pipeline.config, **request_)] == [
        "", "interrupted, goes on where it stopped"]  # fmt: skip
    assert pipeline(**request_) == ALL[3:]
    assert pipeline(**request_) == ALL  # that one was done: this is another
    assert pipeline() == []


def test_another_request_or_other_options_begin_anew(tmp_path, monkeypatch):
    pipeline = Pipeline(tmp_path, monkeypatch)
    pipeline()
    pipeline(KeyboardInterrupt(), force=True)
    assert pipeline(first="audit") == ALL[2:]
    pipeline(KeyboardInterrupt(), force=True)
    assert pipeline(config=parse_config({"phantom": {}, "seed": 1}), force=True) == ALL
    pipeline(KeyboardInterrupt(), force=True)
    assert pipeline() == ALL[3:]  # what is left of it, whoever asks


def test_a_stage_alone_that_is_done_meanwhile_does_not_end_the_request(tmp_path, monkeypatch):
    pipeline = Pipeline(tmp_path, monkeypatch)
    pipeline()
    pipeline(KeyboardInterrupt(), force=True)
    assert pipeline(only="train") == []
    assert pipeline(force=True) == ALL[3:]

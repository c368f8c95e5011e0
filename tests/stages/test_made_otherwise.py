"""A stage asked for alone says so where what it builds on was made with other options."""

import json

from xray_debug.config import PipelineConfig
from xray_debug.run.fingerprint import chosen_options
from xray_debug.run.folder import Run
from xray_debug.stages.registry import STAGES, made_otherwise


def made(tmp_path, *names: str) -> Run:
    for name in names:
        parameters = chosen_options(PipelineConfig(), ("seed", *STAGES[name].options))
        (tmp_path / name).mkdir()
        (tmp_path / name / "stage.json").write_text(json.dumps({"parameters": parameters}, default=str))
    return Run(tmp_path)


def test_the_option_and_the_stage_are_named(tmp_path):
    run, config = made(tmp_path, "prepare", "train", "explain", "detect"), PipelineConfig()
    assert made_otherwise(STAGES["audit"], run, config) == []
    config.train.epochs = 5
    assert made_otherwise(STAGES["audit"], run, config) == [
        "audit uses stage train as it was made, with another train.epochs; "
        "xray-debug run or xray-debug train makes it anew"
    ]
    assert made_otherwise(STAGES["train"], run, config) == []  # its own options make it run
    config.train.devices = 4  # changes no result
    config.detect.detector = "ppocr"
    assert [text.split(",")[0] for text in made_otherwise(STAGES["audit"], run, config)] == [
        "audit uses stage train as it was made", "audit uses stage detect as it was made"]  # fmt: skip


def test_what_is_absent_is_told_elsewhere(tmp_path):
    assert made_otherwise(STAGES["audit"], made(tmp_path, "prepare"), PipelineConfig(seed=3)) != []
    assert made_otherwise(STAGES["explain"], Run(tmp_path / "none"), PipelineConfig()) == []


def test_maps_of_the_model_before_are_told(tmp_path):
    run, config = made(tmp_path, "prepare", "train", "explain", "detect"), PipelineConfig()

    def note(name, **facts):
        file = tmp_path / name / "stage.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | facts))

    note("train", outputs={"weights": "first"})
    note("explain", inputs={"weights": "first"})
    assert made_otherwise(STAGES["audit"], run, config) == []
    note("train", outputs={"weights": "second"})
    assert made_otherwise(STAGES["audit"], run, config) == [
        "audit uses stage explain as it was made, before stage train was made anew; "
        "xray-debug run or xray-debug explain makes it of what is there now"
    ]
    assert made_otherwise(STAGES["explain"], run, config) == []  # it runs itself

from pathlib import Path

import pytest

from xray_debug.config import ConfigError, load_config, override, parse_config, save_config

PIPELINES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))


@pytest.mark.parametrize("path", PIPELINES, ids=lambda p: p.name)
def test_shipped_pipelines_load_and_survive_saving(path, tmp_path):
    config = load_config(path)
    save_config(config, tmp_path / "again.yaml")
    assert load_config(tmp_path / "again.yaml") == config


def test_there_are_the_three_pipelines():
    assert {p.stem for p in PIPELINES} >= {"demo", "covidx-mini", "covidx"}


def test_defaults_are_the_papers():
    config = parse_config({})
    assert (config.clean.method, config.clean.radius) == ("telea", 10)
    assert config.train.augment.flip is False
    assert config.all_seeds == [0]
    assert parse_config({"seeds": [3, 4]}).all_seeds == [3, 4]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"clean": {"radios": 3}}, "unknown option clean.radios"),
        ({"clean": {"radius": 0}}, "clean.radius.*got 0"),
        ({"clean": {"method": "magic"}}, "clean.method.*'telea' or 'ns'.*'magic'"),
        ({"prepare": {"val_fraction": 0.9}}, "prepare.val_fraction"),
        (["a"], "expected a mapping"),
    ],
)
def test_errors_name_the_option_and_what_came(values, words):
    with pytest.raises(ConfigError, match=words):
        parse_config(values, "p.yaml")


def test_files_that_are_no_pipeline(tmp_path):
    with pytest.raises(ConfigError, match="no such pipeline"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="broken.yaml: not a YAML"):
        load_config(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError, match="expected a mapping"):
        load_config(tmp_path / "list.yaml")


def test_overrides_are_typed_nested_and_leave_the_original_alone():
    original = {"train": {"epochs": 3}}
    changed = override(original, ["train.epochs=7", "clean.control=false", "seeds=[1, 2]", "data=null"])
    assert changed == {"train": {"epochs": 7}, "clean": {"control": False}, "seeds": [1, 2], "data": None}
    assert original == {"train": {"epochs": 3}}


@pytest.mark.parametrize("wrong", ["train.epochs", "=3", "seed.a=1", "train.epochs=[1"])
def test_wrong_overrides_are_named(wrong):
    with pytest.raises(ConfigError, match="--set"):
        override({"seed": 1}, [wrong])

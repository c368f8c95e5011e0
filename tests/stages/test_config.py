from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.config import (
    ConfigError,
    PipelineConfig,
    dump_config,
    load_config,
    override,
    parse_config,
    read_yaml,
)
from xray_debug.data.files import write_text

PIPELINES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))


@pytest.mark.parametrize("path", PIPELINES, ids=lambda p: p.name)
def test_shipped_pipelines_load_and_survive_saving(path, tmp_path):
    config = load_config(path)
    write_text(tmp_path / "again.yaml", dump_config(config))
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: {}\nseed: 1\ntrain: {}\n", r"p, line 3: 'train' is given twice, in line 1 and here"),
        ("train:\n  view: {size: 64}\n  epochs: 1\n  view: {}\n", r"line 4: 'view' is given twice, in line 2"),
        ("a: &a [1, 2]\nb: *a\n", "line 2: aliases"),
        ("a: &a {x: 1}\nb:\n  <<: {x: 1}\n", "line 3: << is not taken"),
        ("a: " + "[" * 5000 + "]" * 5000, "more than 20 levels deep"),
        ("seed: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("seed: 1\x07", "special characters are not allowed"),
    ],
    ids=["key twice", "nested key twice", "alias", "merge key", "deep", "python object", "control character"],
)
def test_yaml_that_is_not_taken(text, words):
    with pytest.raises(ConfigError, match=words.replace("p, line", "p: not a YAML file of options, line")):
        read_yaml(text, "p")


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("train: {epochs: yes}", "train.epochs"), ("train: {epochs: '3'}", "train.epochs"),
        ("train: {epochs: 3.0}", "train.epochs"), ("train: {epochs: 1:30}", "train.epochs"),
        ("seed: 010", "seed"), ("seed: 99999999999999999999", "seed"), ("train: {weight_decay: .inf}",
        "train.weight_decay"), ("train: {learning_rate: .nan}", "train.learning_rate"),
        ("train: {learning_rate: 1e400}", "train.learning_rate"),
        ("explain: {options: {a: .inf}}", "explain.options.a"),
        ("explain: {options: {a: 1e30}}", "explain.options.a"), ("audit: {shares: [0.1, 1e30]}", "audit.shares.1"),
        ("train: {devices: yes}", "train.devices"), ("train: {devices: 0}", "train.devices"),
        ("train: {devices: -1}", "train.devices"), ("seeds: [1, 2, 1]", "seeds"),
        ("audit: {shares: [-1]}", "audit.shares.0"), ("audit: {shares: [2.0]}", "audit.shares.0"),
        ("audit: {shares: [0.5, 0]}", "audit.shares.1"), ("audit: {shares: [1]}", "audit.shares.0"),
        ("audit: {shares: [1.0]}", "audit.shares.0"), ("train: {precision: 64}", "train.precision"),
        ("train: {accelerator: gpuu}", "train.accelerator"), ("clean: {control: 1}", "clean.control"),
        ("data: \"a\\0b\"", "data"), ("train: {view: {size: 100000}}", "train.view.size"),
    ],
)  # fmt: skip
def test_values_that_no_option_takes(text, option):
    with pytest.raises(ConfigError, match=f"^p: {option}: .*") as caught:
        parse_config(read_yaml(text, "p"), "p")
    assert len(str(caught.value).splitlines()) == 1


def test_numbers_are_read_as_people_write_them():
    found = read_yaml("[1e-3, 1.e3, .5, -2, +3, 0, 2E5, 1.5e+2]", "p")
    assert found == [0.001, 1000.0, 0.5, -2, 3, 0, 200000.0, 150.0]
    assert [type(value) for value in found] == [float, float, float, int, int, int, float, float]
    assert read_yaml("[2020-01-01, 1_000, 0x10]", "p") == ["2020-01-01", "1_000", "0x10"]


def test_every_fault_is_told_one_a_line():
    values = {"train": {"epochs": 0, "batch_size": "x"}, "clean": {"radios": 1}, "name": "a/b"}
    values["seed"] = float("nan")
    with pytest.raises(ConfigError) as caught:
        parse_config(values, "p")
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    for option in ("train.epochs", "train.batch_size", "clean.radios", "name", "seed"):
        assert sum(option in line for line in lines) == 1


@pytest.mark.parametrize("name", ["../../evil", "a:b", "a/b", "a\\b", "", ".", "..", ".hidden",
                                  "con", "NUL.txt", "com1",
                                  "a ", "a.", "~root", "-x", "a\nb", "a\u202eb", "x" * 101, "a*"])  # fmt: skip
def test_a_runs_name_is_one_plain_folder_name(name):
    with pytest.raises(ConfigError, match="name: expected one plain folder name"):
        parse_config({"name": name})
    with pytest.raises(ValueError, match="plain folder name"):
        PipelineConfig().name = name
    assert parse_config({"name": "Röntgen 2.1_b-c (console)"}).name == "Röntgen 2.1_b-c (console)"


def test_encodings(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_bytes("name: Röntgen".encode("utf-8-sig"))
    assert load_config(file).name == "Röntgen"
    for wrong in ("utf-16", "latin-1"):
        file.write_bytes("name: Röntgen".encode(wrong))
        with pytest.raises(ConfigError, match="p.yaml: not a YAML file of options: expected UTF-8"):
            load_config(file)
    file.write_bytes(b"#" * (1 << 20) + b"\nseed: 1")
    with pytest.raises(ConfigError, match="at most 1048576 bytes"):
        load_config(file)


words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"), max_size=12)
numbers = st.integers(-(2**53), 2**53) | st.floats(-(2.0**53), 2.0**53)
options = st.dictionaries(words, numbers | words | st.booleans(), max_size=4)
shares = st.floats(0, 1, exclude_min=True, exclude_max=True)
configs = st.builds(
    lambda **given: parse_config(given),
    seed=st.integers(-(2**53), 2**53),
    seeds=st.none() | st.lists(st.integers(0, 9), max_size=3, unique=True), data=st.none() | words,
    train=st.fixed_dictionaries({"model": words, "model_options": options, "learning_rate": st.floats(1e-12, 1),
                                 "devices": st.just("auto") | st.integers(1, 9)}),
    explain=st.fixed_dictionaries({"select": words, "options": options}),
    audit=st.fixed_dictionaries({"shares": st.lists(shares, max_size=4), "level": st.floats(0.51, 0.99)}),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(configs)
def test_what_is_saved_is_read_back_as_it_was(config):
    assert parse_config(read_yaml(dump_config(config), "p"), "p") == config


@settings(max_examples=200, deadline=None)
@given(configs, numbers)
def test_an_override_changes_its_option_and_no_other(config, number):
    before = config.model_dump(mode="json")
    after = override(before, [f"explain.options.x={number!r}"])
    assert after["explain"]["options"].pop("x") == number
    before["explain"]["options"].pop("x", None)
    assert after == before


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text("{}[]:,-*&!#|>\n 'a1\"", max_size=40))
def test_any_text_is_a_pipeline_or_an_error_of_its_own_kind(text):
    try:
        parse_config(override({}, ["seed=1"]) | (read_yaml(text, "p") or {}) if text else {}, "p")
    except (ConfigError, TypeError) as error:
        assert isinstance(error, ConfigError) or "unsupported operand" in str(error)


def test_the_word_off_is_no_number_and_no_false(tmp_path):
    """YAML takes off for false; the option has that word."""
    assert parse_config(override({"phantom": {}}, ["audit.look=off"])).audit.look == "off"
    write_text(tmp_path / "p.yaml", "phantom: {}\naudit: {look: off}\n")
    config = load_config(tmp_path / "p.yaml")
    write_text(tmp_path / "again.yaml", dump_config(config))
    assert config.audit.look == load_config(tmp_path / "again.yaml").audit.look == "off"
    with pytest.raises(ConfigError, match="audit.look"):
        parse_config({"phantom": {}, "audit": {"look": True}})

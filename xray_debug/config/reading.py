"""A pipeline's YAML, and options of the command line, into the types of sections.py; every fault told at once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from xray_debug.config.sections import ConfigError, PipelineConfig

LARGEST = 2**53  # of any number: beyond it a float no longer tells whole numbers apart
MOST_BYTES, DEEPEST = 1 << 20, 20  # of a pipeline file, and of sections within sections

# ---------------------------------------------------------------------------------------------------- YAML


class Loader(yaml.SafeLoader):
    """YAML of options: no key twice, no aliases, numbers as YAML 1.2 has them (1e-3 is one, 1:30 and 010 are not)."""

    depth = 0

    def compose_node(self, parent, index):
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not taken here", mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} levels deep", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node, deep=False):
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "<< is not taken here", key.start_mark)
            if isinstance(key.value, str) and key.value in seen:
                said = f"{key.value!r} is given twice, in line {seen[key.value]} and here"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            seen[str(key.value)] = line
        return super().construct_mapping(node, deep)


class Dumper(yaml.SafeDumper):
    """Writes what Loader reads back as the same; never an alias."""

    def ignore_aliases(self, data) -> bool:
        return True


def _plain_number(loader: Loader, node: yaml.ScalarNode) -> int | str:
    text = node.value
    return int(text) if len(text) < 400 else text  # a longer one is told of as the text it is


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


Dumper.add_representer(str, _text)


def _number_rules() -> None:
    numbers = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"}
    rules = {first: [(tag, pattern) for tag, pattern in found if tag not in numbers]
             for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()}  # fmt: skip
    for cls in (Loader, Dumper):
        cls.yaml_implicit_resolvers = {first: list(found) for first, found in rules.items()}
        cls.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]*)\Z"), list("-+0123456789"))
        cls.add_implicit_resolver(
            "tag:yaml.org,2002:float",
            re.compile(r"(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?"
                       r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"),
            list("-+0123456789."),
        )  # fmt: skip
    Loader.add_constructor("tag:yaml.org,2002:int", _plain_number)


_number_rules()


def read_yaml(text: str, where: str) -> Any:
    """The value in a YAML text. ConfigError says what is wrong, and in which line."""
    try:
        return yaml.load(text, Loader)  # noqa: S506  a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{where}: not a YAML file of options{line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not a YAML file of options: {str(error).splitlines()[0]}") from error


# ---------------------------------------------------------------------------------------------------- options


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


UNION = ("int", "constrained-int", "float", "str", "bool", "literal['auto']")  # its members, as pydantic calls them


def _faults(error: ValidationError, where: str) -> list[str]:
    """One sentence for each option; the choices of a union are told together."""
    told: dict[str, tuple[str, Any]] = {}
    for found in error.errors():
        loc = [str(part) for part in found["loc"]]
        if found["type"] != "extra_forbidden" and loc and loc[-1] in UNION:
            loc = loc[:-1]
        option = ".".join(loc) or "the file"
        message = found["msg"].removeprefix("Value error, ")
        if found["type"] == "extra_forbidden":
            message = "unknown option"
        elif option in told:
            message = f"{told[option][0]} or {message.removeprefix('Input should be ')}"
        told[option] = message, found["input"]
    return [f"{where}: {message} {option}" if message == "unknown option" else
            f"{where}: {option}: {message}, got {_short(value)}" for option, (message, value) in told.items()]


def _walk(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, (dict, list)):
        yield place, value
    for key, child in children:
        yield from _walk(child, f"{place}.{key}" if place else str(key))


def _odd_values(values: dict, where: str) -> list[str]:
    """Values that no option can have, whatever its type."""
    odd = []
    for place, value in _walk(values):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and (isinstance(value, int) or math.isfinite(value)) and abs(value) > LARGEST:
            odd.append(f"{where}: {place}: expected a number of at most {LARGEST}, got {_short(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            odd.append(f"{where}: {place}: expected a finite number, got {value}")
        if isinstance(value, str) and "\0" in value:
            odd.append(f"{where}: {place}: expected text without NUL characters, got {_short(value)}")
    return odd


def parse_config(values: dict, where: str = "pipeline") -> PipelineConfig:
    """The configuration, or a ConfigError: a line for each fault with its option, what was expected, what came."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping of options, got {type(values).__name__}")
    faults = _odd_values(values, where)
    try:
        config = PipelineConfig.model_validate(values)
    except ValidationError as error:
        told = {fault.split(": ")[1] for fault in faults}
        faults += [fault for fault in _faults(error, where) if fault.split(": ")[1] not in told]
    if faults:
        raise ConfigError("\n".join(faults))
    return config


def override(values: dict, assignments: list[str]) -> dict:
    """`values` with each `a.b=value` applied; the value is read as YAML."""
    result = _copied(values)
    for text in assignments:
        key, sign, value = text.partition("=")
        names = [name.strip() for name in key.split(".")]
        if not sign or not all(names):
            raise ConfigError(f"--set {text}: expected a.b=value")
        *parents, last = names
        node = result
        for parent in parents:
            if node.get(parent) is None:  # absent, or an empty section
                node[parent] = {}
            node = node[parent]
            if not isinstance(node, dict):
                raise ConfigError(f"--set {text}: {parent} is not a section")
        node[last] = read_yaml(value, f"--set {text}")
    return result


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in value.items()}
    return [_copied(child) for child in value] if isinstance(value, list) else value


def load_config(path: str | Path, assignments: list[str] = ()) -> PipelineConfig:
    """The pipeline in `path` with `--set` assignments applied."""
    return parse_config(override(_values(Path(path)), list(assignments)), str(path))


def made_config(path: str | Path) -> PipelineConfig:
    """The options that a run keeps in `path`, to look at what they made: those of another version are left out."""
    values = _copied(_values(Path(path)))
    try:
        PipelineConfig.model_validate(values)
    except ValidationError as error:
        for found in error.errors():
            *parents, last = found["loc"] or ("",)
            node = values
            for parent in parents:
                node = node.get(parent) if isinstance(node, dict) else None
            if found["type"] == "extra_forbidden" and isinstance(node, dict):
                node.pop(last, None)
    return parse_config(values, str(path))


def _values(path: Path) -> dict:
    try:
        with path.open("rb") as file:
            found = file.read(MOST_BYTES + 1)
        text = found.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such pipeline file") from error
    except (OSError, ValueError) as error:  # no text, a folder, a name too long, a NUL in it
        why = "expected UTF-8" if isinstance(error, UnicodeError) else getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: not a YAML file of options: {why}") from error
    if len(found) > MOST_BYTES:
        raise ConfigError(f"{path}: expected a pipeline of at most {MOST_BYTES} bytes")
    values = read_yaml(text, str(path))
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of options, got {type(values).__name__}")
    return values


def dump_config(config: PipelineConfig) -> str:
    """The configuration as YAML that `load_config` reads back as the same."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=Dumper, sort_keys=False, allow_unicode=True)

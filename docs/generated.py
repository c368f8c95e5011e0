"""Pages of the reference that are made from the code when the documentation is built: commands and options."""

from __future__ import annotations

import types
import typing

import click
import typer
from mkdocs.structure.files import File
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from xray_debug.cli import app
from xray_debug.config import PipelineConfig, Section


def on_files(files, config):
    for name, text in (("commands", commands()), ("options", options())):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def commands() -> str:
    """A section for each command, with its arguments and options, as --help says them."""
    lines = ["# Commands", "", "`xray-debug COMMAND --help` says the same. Every command also takes `--debug`: errors "
             "with their traceback.", ""]  # fmt: skip
    for name, command in all_commands(typer.main.get_command(app)):
        lines += [f"## {name}", "", (command.help or "").strip(), "", "| | |", "| --- | --- |"]
        for one in command.params:
            if isinstance(one, click.Argument) or one.param_type_name == "argument":
                shown = f"`{one.name.upper()}`"
            else:
                shown = " ".join(f"`{option}`" for option in one.opts if option != "--help")
            if shown:
                lines.append(f"| {shown} | {cell(getattr(one, 'help', '') or '')} |")
        lines.append("")
    return "\n".join(lines)


def all_commands(group, above: str = ""):
    """(name, command) of all commands, those of a group (decisions export) in its place."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def options() -> str:
    """A table for each section of a pipeline's YAML: option, type, default, meaning."""
    lines = ["# Options of a pipeline", "", "In a pipeline's YAML, or on the command line as `--set "
             "section.option=value`. Options marked * change how the work is done and not what comes out.", ""]
    for place, section in sections(PipelineConfig, ""):
        lines += [f"## {place or 'The top level'}", ""]
        if section.__doc__ and section.__doc__ != Section.__doc__:
            lines += [section.__doc__.strip(), ""]
        lines += ["| option | type | default | |", "| --- | --- | --- | --- |"]
        for name, field in section.model_fields.items():
            if section_in(field.annotation):
                continue
            free = "" if (field.json_schema_extra or {}).get("result", True) else " *"
            lines.append(f"| `{name}`{free} | {cell(shown_type(field.annotation))} | {default(field)} | "
                         f"{cell(field.description or '')} |")  # fmt: skip
        lines.append("")
    return "\n".join(lines)


def sections(section: type[BaseModel], place: str):
    """(dotted place, section) of `section` and all within it."""
    yield place, section
    for name, field in section.model_fields.items():
        inner = section_in(field.annotation)
        if inner:
            yield from sections(inner, f"{place}.{name}".lstrip("."))


def section_in(kind) -> type[BaseModel] | None:
    """The section that a type is, or may be."""
    found = (one for one in (kind, *typing.get_args(kind)) if isinstance(one, type) and issubclass(one, Section))
    return next(found, None)


def shown_type(kind) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(shown_type(one) for one in typing.get_args(kind))
    if kind is type(None):
        return "null"
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind).replace("typing.", "")


def default(field) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`"


def cell(text: str) -> str:
    """Text in one cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")

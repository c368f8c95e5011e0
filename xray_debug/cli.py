"""Typer commands; the work is done elsewhere, and terminal.py does the talking."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.table import Table
from rich.text import Text

from xray_debug.commands.compare import add_compare
from xray_debug.commands.data import ColumnsOption, ImagesOption, RunOption, SetOption, add_data_commands, table_options
from xray_debug.commands.explain import add_explain_commands
from xray_debug.commands.loose import with_images
from xray_debug.commands.model import add_audit_model, each_finding
from xray_debug.commands.review import add_decisions
from xray_debug.commands.terminal import (
    Stopped,
    one_sentence,
    out,
    progress_bars,
    run_beside,
    run_command,
    say,
    say_aside,
    share_of,
    stop_status,
)  # fmt: skip
from xray_debug.data.files import atomic_write, write_text
from xray_debug.data.shown import shown

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Is a chest X-ray classifier right for the wrong reason? Find out, prove it, repair the data.",
)
ForceOption = Annotated[bool, typer.Option("--force", help="run also what is up to date")]
EngineOption = Annotated[Optional[str], typer.Option("--engine", help="local or ray")]
WorkersOption = Annotated[Optional[int], typer.Option("--workers", help="single-threaded workers; 0: one a core")]
PartOption = Annotated[Optional[str], typer.Option("--part", help="I/N: only this share of one stage's images")]
MergeOption = Annotated[bool, typer.Option("--merge", help="put the parts together; compute nothing")]


def _version(asked: bool) -> None:
    from xray_debug import __version__

    if asked:
        say(f"xray-debug {__version__}")
        raise typer.Exit()


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="errors with their traceback")] = False,  # terminal.py reads
    lines: Annotated[bool, typer.Option("--json-lines", help="for programs: JSON on stdout, with progress")] = False,
) -> None:
    pass


def package_folder(name: str) -> Path:
    """`pipelines` or `app.py`: beside the package in a checkout, inside it when installed."""
    here = Path(__file__).parent
    return here / name if (here / name).exists() else here.parent / name


def pipeline_named(given: Path) -> Path:
    """The pipeline file: `given` where it is one, else the one of that name which comes with the package."""
    from xray_debug.config import ConfigError

    own = package_folder("pipelines") / f"{given.name.removesuffix('.yaml')}.yaml"
    if given.exists() or given.is_symlink():
        return given
    if len(given.parts) == 1 or given.parent == Path("pipelines"):
        if own.is_file():
            return own
        names = ", ".join(sorted(path.stem for path in own.parent.glob("*.yaml")))
        raise ConfigError(f"{given}: no such pipeline file, and none of that name comes along: {names}")
    return given


@dataclass
class Work:
    """How the work is done: options shared by every command that runs stages."""

    engine: str | None = None
    workers: int | None = None
    part: str | None = None
    merge: bool = False


def _engine(work: Work, config, progress, say):
    from xray_debug.config import override, parse_config
    from xray_debug.run.engine import Engine

    asked = {"engine": work.engine, "workers": work.workers}
    given = [f"engine.{name}={value}" for name, value in asked.items() if value is not None]
    options = parse_config(override(config.model_dump(mode="json"), given), "--engine, --workers").engine
    return Engine(options, progress, say, share_of(work.part), work.merge)


def execute(folder: Path, config, first=None, only=None, force=False, work: Work | None = None) -> None:
    """Runs what must run in the run folder, and prints what it took."""
    from xray_debug.config import ConfigError, dump_config
    from xray_debug.run.folder import Run
    from xray_debug.run.store import Store
    from xray_debug.stages.registry import Job, stale_stages

    run, work = Run(folder), work or Work()
    part = share_of(work.part)
    if (part is not None or work.merge) and only is None:
        only_one(part)
    if part is not None and work.merge:
        raise ConfigError("--part with --merge: expected one of the two")
    prepared(folder, config, only)
    with run.locked(part), progress_bars() as progress:
        store = Store(folder)
        before = store.pipeline_file.read_bytes() if store.pipeline_file.exists() else None
        if part is None or before is None:
            write_text(store.pipeline_file, dump_config(config), sync=True)
        job = Job(run, config, _engine(work, config, progress, say_aside), say_aside, first, only, force)
        try:
            ran = job()
        except KeyboardInterrupt as error:
            raise Stopped(stop_status(error)) from error
        except Exception as error:
            run.log(one_sentence(error), "ERROR")
            if before is not None:  # an option that failed does not stay
                with contextlib.suppress(OSError):  # the disk may be full: the error that is told is the first
                    atomic_write(store.pipeline_file, lambda file: file.write(before), sync=True)
            raise
    if part is None:
        show_costs(run, ran)
        if store.has("page"):
            say(where_the_report_is(store, stale_stages(run, config, "report"), "report" in ran))


def where_the_report_is(store, stale: list[str], made: bool) -> str:
    """Where the report is and what it is of. `stale`: stages behind it, and itself, that no longer hold; `made`: just
    now, so that it says what is there."""
    folder, page, others = store.folder, store.path("page"), [name for name in stale if name != "report"]
    anew = f"run {store.pipeline_file} --out {folder}" if others else f"report --run {folder}"
    if not stale:
        return f"report: {page}"
    if made and others:
        return (f"report: {page}; it says what is there, of {', '.join(others)} nothing or what is not up to date "
                f"(xray-debug status --run {folder} says why); xray-debug {anew} makes all anew")  # fmt: skip
    return (f"the report is of an earlier state: {', '.join(stale)} changed (xray-debug status --run {folder} says "
            f"how); xray-debug {anew} makes it anew")  # fmt: skip


def prepared(folder: Path, config, only: str | None) -> None:
    """Makes the paths of `config` absolute; ValueError for a name, option or place that cannot be; touches nothing."""
    from xray_debug.run.folder import Run
    from xray_debug.run.places import absolute_paths, check_place
    from xray_debug.run.store import Store
    from xray_debug.stages.registry import check_options

    named = absolute_paths(config)
    Run(folder).check_free(list_of_stages())
    for data in (config.data, config.prepare.images):
        check_place(folder, data and Path(data), list_of_stages(), named)
    check_options(config, only, Store(folder))


def only_one(part: tuple[int, int] | None) -> None:
    from xray_debug.config import ConfigError

    given = "--merge" if part is None else f"--part {part[0]}/{part[1]}"
    raise ConfigError(f"{given}: expected one stage, with --only STAGE or a stage's own command")


def list_of_stages() -> list[str]:
    from xray_debug.stages.registry import STAGES

    return list(STAGES)


COSTS = ("stage", "seconds", "images", "images/s", "peak MiB")


def cost_cells(records: dict[str, dict]) -> dict[str, tuple[str, ...]]:
    """Stage -> its seconds, images, images per second and memory, as text."""
    from xray_debug.report.format import count, duration, timing_rows

    def text(value, form) -> str:
        return "" if value is None else form(value)

    return {
        row["stage"]: (duration(row["seconds"]), text(row["images"], count),
                       text(row["images_per_second"], duration), text(row["peak_memory_mb"], count))
        for row in timing_rows(records)
    }  # fmt: skip


def show_costs(run, ran: list[str]) -> None:
    """Time, images and memory of the stages that ran."""
    table = Table(*COSTS)
    for name, cells in cost_cells({name: run.record(name) for name in ran if run.record(name)}).items():
        table.add_row(name, *cells)
    if table.row_count:
        out.print(table)


def show_plan(folder: Path, config, first, only, force) -> None:
    from xray_debug.run.folder import Run
    from xray_debug.stages.registry import plan

    prepared(folder, config, only)
    for stage, why in plan(Run(folder), config, first, only, force):
        say(f"{stage.name:8} {'run: ' + why if why else 'skip: up to date'}")


def known_stage(name: str | None, option: str) -> None:
    from xray_debug.config import ConfigError

    if name is not None and name not in list_of_stages():
        raise ConfigError(f"{option} {name}: expected one of {', '.join(list_of_stages())}")


@app.command()
def demo(out_dir: Annotated[Path, typer.Option("--out", help="run folder")] = Path("runs/demo"), set_: SetOption = None,
         force: ForceOption = False, engine: EngineOption = None, workers: WorkersOption = None):  # fmt: skip
    """Everything on the synthetic COVIDx; nothing to download."""
    from xray_debug.config import load_config

    config = load_config(package_folder("pipelines") / "demo.yaml", set_ or [])
    execute(out_dir, config, force=force, work=Work(engine, workers))


add_audit_model(app, execute)


@app.command()
def run(pipeline: Annotated[Path, typer.Argument(help="pipeline: YAML file, or demo, covidx-mini, ...")],
        data: Annotated[Optional[Path], typer.Option(help="dataset: a folder, or a table of labels")] = None,
        images: ImagesOption = None, columns: ColumnsOption = None,
        out_dir: Annotated[Optional[Path], typer.Option("--out", help="run folder")] = None,
        from_: Annotated[Optional[str], typer.Option("--from", help="run this stage and all after it")] = None,
        only: Annotated[Optional[str], typer.Option(help="run this stage alone")] = None,
        force: ForceOption = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run and why")] = False,
        engine: EngineOption = None, workers: WorkersOption = None, part: PartOption = None, merge: MergeOption = False,
        set_: SetOption = None):  # fmt: skip
    """Runs the stages of a pipeline; what is up to date is skipped."""
    from xray_debug.config import ConfigError, load_config

    if from_ is not None and only is not None:
        raise ConfigError(f"--from {from_} with --only {only}: expected one of the two")
    known_stage(from_, "--from")
    known_stage(only, "--only")
    config = load_config(pipeline_named(pipeline), set_ or [])
    if data is not None:
        config.data = str(data.resolve())
    table_options(config.prepare, images, columns)
    folder = out_dir or Path("runs") / config.name
    for place, one in each_finding(folder, config):
        if dry_run:
            show_plan(place, one, from_, only, force)
        else:
            execute(place, one, from_, only, force, Work(engine, workers, part, merge))


def pipeline_of(run: Path) -> Path:
    """The run folder's own pipeline.yaml."""
    from xray_debug.run.folder import RunError
    from xray_debug.run.store import Store

    file = Store(run).pipeline_file
    if not file.exists():
        raise RunError(f"{run}: expected a run folder with pipeline.yaml; xray-debug run makes one")
    return file


def _stage_command(stage) -> None:
    def command(run: RunOption, set_: SetOption = None, force: ForceOption = False, engine: EngineOption = None,
                workers: WorkersOption = None, part: PartOption = None,
                merge: MergeOption = False) -> None:  # fmt: skip
        from xray_debug.config import load_config

        config = load_config(pipeline_of(run), set_ or [])
        execute(run, config, only=stage.name, force=force, work=Work(engine, workers, part, merge))

    app.command(stage.name, help=stage.help)(with_images(stage.name, command, _engine, Work))


def _stage_commands() -> None:
    from xray_debug.stages.registry import STAGES

    for stage in STAGES.values():
        _stage_command(stage)


_stage_commands()
add_data_commands(app)
add_compare(app)
add_decisions(app)
add_explain_commands(app)


@app.command()
def review(run: Annotated[Optional[Path], typer.Option(help="run folder; without it the app lists runs")] = None,
           port: Annotated[int, typer.Option(help="of the local page")] = 8501,
           user_header: Annotated[str, typer.Option(help="header in which a proxy names the reviewer")] = ""):
    """Opens the review app on a run."""
    from xray_debug.run.folder import RunError

    if run is not None and not run.is_dir():
        raise RunError(f"{run}: nothing to review, expected a run folder")
    options = {"server.port": port, "server.address": "localhost", "browser.gatherUsageStats": "false",
               "client.toolbarMode": "minimal", "server.fileWatcherType": "none", "server.showEmailPrompt": "false"}
    command = [sys.executable, "-m", "xray_debug.review.serve", "run", str(package_folder("app.py"))]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    given = {"--run": run, "--user-header": user_header}
    own = [f"{name}={value}" for name, value in given.items() if value not in (None, "")]
    raise typer.Exit(run_beside([*command, "--", *own]))


@app.command()
def status(run: RunOption, lineage: Annotated[bool, typer.Option(help="also what each stage is made from")] = False):
    """What of a run is complete, why the rest is not, with times and memory."""
    from xray_debug.config import load_config
    from xray_debug.review.behind import behind_sentence
    from xray_debug.run.folder import Run
    from xray_debug.run.store import Store
    from xray_debug.stages.registry import plan

    file = pipeline_of(run)
    folder, table = Run(run), Table(COSTS[0], "state", *COSTS[1:])
    rows = plan(folder, load_config(file))
    for stage, why in rows:
        found = known_record(folder, stage.name)
        cells = cost_cells({stage.name: found})[stage.name] if found else [""] * (len(COSTS) - 1)
        table.add_row(stage.name, Text(shown(why or "up to date")), *cells)
    out.print(table)
    if late := behind_sentence(Store(run)):
        say(late)
    for stage, why in rows if lineage else ():
        if record := known_record(folder, stage.name):
            say(lineage_of(stage.name, record, why))


def known_record(run, stage: str) -> dict | None:
    """A stage's record, None also where it is damaged: the plan says so, and the other stages can still be told of."""
    with contextlib.suppress(ValueError):
        return run.record(stage)
    return None


def lineage_of(name: str, record: dict, why: str) -> str:
    """What a finished stage was made from, a line for each kind of thing, and why that no longer holds."""
    import json

    from xray_debug.run.folder import lineage

    lines = [f"  {kind}: {json.dumps(value, ensure_ascii=False)}" for kind, value in lineage(record).items()]
    return "\n".join([name, *([f"  stale: {why}"] if why else []), *lines])


def command() -> int:
    """Runs what sys.argv asks for; the exit status."""
    try:
        status = app(standalone_mode=False)
    except typer.Abort as error:  # made of a KeyboardInterrupt
        raise KeyboardInterrupt from error
    except Exception as error:
        if not (hasattr(error, "show") and hasattr(error, "exit_code")):  # click's, or typer's own of the same shape
            raise
        error.show()
        return error.exit_code
    return status if isinstance(status, int) else 0


def main() -> None:
    run_command(command)

"""Typer commands. Only this module and app.py talk to a person; the work is done elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Is a chest X-ray classifier right for the wrong reason? Find out, prove it, repair the data.",
)
out, err = Console(), Console(stderr=True)

RunOption = Annotated[Path, typer.Option("--run", help="run folder")]
SetOption = Annotated[Optional[list[str]], typer.Option("--set", help="option of the pipeline, a.b=value")]
ForceOption = Annotated[bool, typer.Option("--force", help="run also what is up to date")]
EngineOption = Annotated[Optional[str], typer.Option("--engine", help="local or ray")]
WorkersOption = Annotated[Optional[int], typer.Option("--workers", help="single-threaded workers; 0: one a core")]
PartOption = Annotated[Optional[str], typer.Option("--part", help="I/N: only this share of one stage's images")]
MergeOption = Annotated[bool, typer.Option("--merge", help="put the parts together; compute nothing")]


def package_folder(name: str) -> Path:
    """`pipelines` or `app.py`: beside the package in a checkout, inside it when installed."""
    here = Path(__file__).parent
    return here / name if (here / name).exists() else here.parent / name


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable]:
    """Gives `start(description) -> callback(done, total)`; bars go to stderr."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bars:

        def start(description: str) -> Callable[[int, int], None]:
            task = None

            def report(done: int, total: int) -> None:
                nonlocal task
                if task is None:
                    task = bars.add_task(description, total=total)
                bars.update(task, completed=done, total=total)
                if done >= total:
                    bars.remove_task(task)
                    task = None

            return report

        yield start


class Terminated(KeyboardInterrupt):
    """SIGTERM: as Ctrl-C, with another exit status."""


class Stopped(Exception):  # noqa: N818  asked for, no error
    """Work was stopped by Ctrl-C or SIGTERM; `status` is what a shell expects."""

    def __init__(self, status: int):
        super().__init__("stopped; what is done is kept, and the same command goes on where it was")
        self.status = status


def _terminate(number, frame) -> None:
    raise Terminated


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

    given = [f"engine.{name}={value}" for name, value in (("engine", work.engine), ("workers", work.workers))
             if value is not None]  # fmt: skip
    options = parse_config(override(config.model_dump(mode="json"), given), "--engine, --workers").engine
    return Engine(options, progress, say, _share(work.part), work.merge)


def _share(text: str | None) -> tuple[int, int] | None:
    """ "2/8" as (2, 8)."""
    from xray_debug.config import ConfigError

    if text is None:
        return None
    left, _, right = text.partition("/")
    if not (left.isdecimal() and right.isdecimal() and 1 <= int(left) <= int(right)):
        raise ConfigError(f"--part {text}: expected I/N with 1 <= I <= N, for example 2/8")
    return int(left), int(right)


def execute(folder: Path, config, first=None, only=None, force=False, work: Work | None = None) -> None:
    """Runs what must run in the run folder, and prints what it took."""
    from xray_debug.config import save_config
    from xray_debug.run.folder import Run
    from xray_debug.run.store import Store
    from xray_debug.stages.registry import Job, check_options

    run, work = Run(folder), work or Work()
    part = _share(work.part)
    if part is not None and only is None:
        only_one(part)
    check_options(config, only)
    run.check_free(list_of_stages())
    with run.locked(part), progress_bars() as progress:
        store = Store(folder)
        before = store.pipeline_file.read_bytes() if store.pipeline_file.exists() else None
        if part is None or before is None:
            save_config(config, store.pipeline_file)
        job = Job(run, config, _engine(work, config, progress, say_aside), say_aside, first, only, force)
        try:
            ran = job()
        except KeyboardInterrupt as error:
            raise Stopped(143 if isinstance(error, Terminated) else 130) from error
        except Exception:
            if before is not None:  # an option that failed does not stay
                store.pipeline_file.write_bytes(before)
            raise
    if part is None:
        show_costs(run, ran)
        if store.has("page"):
            out.print(f"report: {store.path('page')}", markup=False, highlight=False, soft_wrap=True)


def only_one(part: tuple[int, int]) -> None:
    from xray_debug.config import ConfigError

    raise ConfigError(f"--part {part[0]}/{part[1]}: expected one stage, with --only STAGE or a stage's own command")


def list_of_stages() -> list[str]:
    from xray_debug.stages.registry import STAGES

    return list(STAGES)


def say_aside(text: str) -> None:
    err.print(text, markup=False, highlight=False)


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
    from xray_debug.stages.registry import check_options, plan

    check_options(config, only)
    Run(folder).check_free(list_of_stages())
    for stage, why in plan(Run(folder), config, first, only, force):
        out.print(f"{stage.name:8} {'run: ' + why if why else 'skip: up to date'}", markup=False, highlight=False)


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


@app.command()
def run(pipeline: Annotated[Path, typer.Argument(help="pipeline YAML")],
        data: Annotated[Optional[Path], typer.Option(help="COVIDx folder")] = None,
        out_dir: Annotated[Optional[Path], typer.Option("--out", help="run folder")] = None,
        from_: Annotated[Optional[str], typer.Option("--from", help="run this stage and all after it")] = None,
        only: Annotated[Optional[str], typer.Option(help="run this stage alone")] = None,
        force: ForceOption = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run and why")] = False,
        engine: EngineOption = None, workers: WorkersOption = None, part: PartOption = None, merge: MergeOption = False,
        set_: SetOption = None):  # fmt: skip
    """Runs the stages of a pipeline; what is up to date is skipped."""
    from xray_debug.config import load_config

    known_stage(from_, "--from")
    known_stage(only, "--only")
    config = load_config(pipeline, set_ or [])
    if data is not None:
        config.data = str(data)
    folder = out_dir or Path("runs") / config.name
    if dry_run:
        show_plan(folder, config, from_, only, force)
    else:
        execute(folder, config, from_, only, force, Work(engine, workers, part, merge))


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

    app.command(stage.name, help=stage.help)(command)


def _stage_commands() -> None:
    from xray_debug.stages.registry import STAGES

    for stage in STAGES.values():
        _stage_command(stage)


_stage_commands()


@app.command()
def check(data: Annotated[Path, typer.Argument(help="COVIDx folder")], set_: SetOption = None):
    """All faults of a dataset at once; nothing is changed."""
    from xray_debug.config import override, parse_config
    from xray_debug.data.formats import check_dataset
    from xray_debug.run.folder import RunError

    if not data.is_dir():
        raise RunError(f"{data}: expected a COVIDx folder, found {'a file' if data.exists() else 'nothing'}")
    findings = check_dataset(data, parse_config(override({}, set_ or []), "--set").prepare)
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.kind] = counts.get(finding.kind, 0) + 1
        out.print(f"{finding.kind}: {finding.where}: {finding.message}", markup=False, highlight=False, soft_wrap=True)
    summary = ", ".join(f"{n} {kind}" for kind, n in counts.items()) or "no faults found"
    out.print(f"{data}: {summary}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if findings else 0)


@app.command("explain-image")
def explain_image(image: Annotated[Path, typer.Argument(help="radiograph")],
                  model: Annotated[Path, typer.Option(help="model folder or model.safetensors")],
                  target: Annotated[Optional[str], typer.Option(help="class; the predicted one without it")] = None,
                  method: Annotated[str, typer.Option(help="saliency method")] = "igos_pp",
                  preset: Annotated[Optional[str], typer.Option(help="default, paper or quick (igos_pp, igos)")] = None,
                  mask_size: Annotated[int, typer.Option(help="side of the mask")] = 28,
                  out_file: Annotated[Optional[Path], typer.Option("--out", help="PNG to write")] = None):  # fmt: skip
    """One image, one picture: the film, its map and the deletion and insertion curves."""
    from xray_debug.config import ExplainConfig
    from xray_debug.models.explainer import explain_one

    picture = out_file or image.with_name(image.stem + ".explained.png")
    options = {} if preset is None else {"preset": preset}
    config = ExplainConfig(method=method, mask_size=mask_size, options=options)
    facts = explain_one(image, model, config, target, picture)
    out.print(f"{picture}: {facts}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def review(run: RunOption, port: Annotated[int, typer.Option(help="of the local page")] = 8501):
    """Opens the review app on a run."""
    import subprocess

    from xray_debug.run.folder import RunError
    from xray_debug.run.store import Store

    if not Store(run).has("cases"):
        raise RunError(f"{run}: nothing to review before stage audit is complete")
    command = [sys.executable, "-m", "streamlit", "run", str(package_folder("app.py")), "--server.port", str(port),
               "--server.address", "localhost", "--browser.gatherUsageStats", "false",
               "--", "--run", str(run)]  # fmt: skip
    raise typer.Exit(subprocess.call(command))


@app.command()
def status(run: RunOption):
    """What of a run is complete, with times and memory."""
    from xray_debug.config import load_config
    from xray_debug.run.folder import Run
    from xray_debug.stages.registry import plan

    file = pipeline_of(run)
    folder, table = Run(run), Table(COSTS[0], "state", *COSTS[1:])
    for stage, why in plan(folder, load_config(file)):
        found = folder.record(stage.name)
        cells = cost_cells({stage.name: found})[stage.name] if found else [""] * (len(COSTS) - 1)
        table.add_row(stage.name, why or "up to date", *cells)
    out.print(table)


def bad_request(error: BaseException) -> bool:
    """Whether the user asked for something impossible (exit status 2) rather than a run having failed (1)."""
    return isinstance(error, (ValueError, ImportError, FileNotFoundError))


def one_sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split()) or type(error).__name__
    return (
        text
        if isinstance(error, (ValueError, RuntimeError, TypeError, ImportError))
        else f"{type(error).__name__}: {text}"
    )


def leave(status: int) -> None:
    """Ends the process without waiting for threads that are still at an image."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def main() -> None:
    """Entry point: one sentence on stderr instead of a traceback, unless --debug."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except Stopped as error:
        err.print(str(error), markup=False)
        leave(error.status)
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            err.print(f"xray-debug: {one_sentence(error)}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2 if bad_request(error) else 1)

"""Typer commands. Only this module and app.py talk to a person; the work is done elsewhere."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
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


def execute(folder: Path, config, first=None, only=None, force=False) -> None:
    from xray_debug.config import save_config
    from xray_debug.run.folder import Run
    from xray_debug.stages.registry import Context, run_stages

    run = Run(folder)
    with run.locked(), progress_bars() as progress:
        save_config(config, run.path("pipeline.yaml"))
        context = Context(run, config, progress, lambda text: err.print(text, markup=False, highlight=False))
        run_stages(context, first, only, force)
    page = run.path("report", "report.html")
    if page.exists():
        out.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)


def show_plan(folder: Path, config, first, only, force) -> None:
    from xray_debug.run.folder import Run
    from xray_debug.stages.registry import plan

    for stage, why in plan(Run(folder), config, first, only, force):
        out.print(f"{stage.name:8} {'run: ' + why if why else 'skip: up to date'}", markup=False, highlight=False)


def known_stage(name: str | None, option: str) -> None:
    from xray_debug.config import ConfigError
    from xray_debug.stages.registry import STAGES

    if name is not None and name not in STAGES:
        raise ConfigError(f"{option} {name}: expected one of {', '.join(STAGES)}")


@app.command()
def demo(out_dir: Annotated[Path, typer.Option("--out", help="run folder")] = Path("runs/demo"), set_: SetOption = None,
         force: ForceOption = False):  # fmt: skip
    """Everything on the synthetic COVIDx; nothing to download."""
    from xray_debug.config import load_config

    execute(out_dir, load_config(package_folder("pipelines") / "demo.yaml", set_ or []), force=force)


@app.command()
def run(pipeline: Annotated[Path, typer.Argument(help="pipeline YAML")],
        data: Annotated[Optional[Path], typer.Option(help="COVIDx folder")] = None,
        out_dir: Annotated[Optional[Path], typer.Option("--out", help="run folder")] = None,
        from_: Annotated[Optional[str], typer.Option("--from", help="run this stage and all after it")] = None,
        only: Annotated[Optional[str], typer.Option(help="run this stage alone")] = None,
        force: ForceOption = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run and why")] = False,
        set_: SetOption = None):  # fmt: skip
    """Runs the stages of a pipeline; what is up to date is skipped."""
    from xray_debug.config import load_config

    known_stage(from_, "--from")
    known_stage(only, "--only")
    config = load_config(pipeline, set_ or [])
    if data is not None:
        config.data = str(data)
    folder = out_dir or Path("runs") / config.name
    (show_plan if dry_run else execute)(folder, config, from_, only, force)


def _stage_command(name: str, help_: str) -> None:
    def command(run: RunOption, set_: SetOption = None, force: ForceOption = False) -> None:
        from xray_debug.config import load_config
        from xray_debug.run.folder import RunError

        file = run / "pipeline.yaml"
        if not file.exists():
            raise RunError(f"{run}: expected a run folder with pipeline.yaml; xray-debug run makes one")
        execute(run, load_config(file, set_ or []), only=name, force=force)

    app.command(name, help=help_)(command)


for _name, _help in {
    "prepare": "Read and check the dataset into a manifest.",
    "train": "Train the classifier on the original images.",
    "explain": "Saliency maps of the chosen cases.",
    "detect": "Find burned-in text.",
    "audit": "Interventions, controls and the verdict.",
    "clean": "Write COVIDx++, honouring the reviewers' decisions.",
    "retrain": "Train again on COVIDx++ with the same configuration and seeds.",
    "report": "Tables, figures and one HTML file.",
}.items():
    _stage_command(_name, _help)


@app.command()
def check(data: Annotated[Path, typer.Argument(help="COVIDx folder")], set_: SetOption = None):
    """All faults of a dataset at once; nothing is changed."""
    from xray_debug.config import override, parse_config
    from xray_debug.data.formats.covidx import check_dataset
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
                  mask_size: Annotated[int, typer.Option(help="side of the mask")] = 28,
                  out_file: Annotated[Optional[Path], typer.Option("--out", help="PNG to write")] = None):  # fmt: skip
    """One image, one picture: the film, its map and the deletion and insertion curves."""
    from xray_debug.config import ExplainConfig
    from xray_debug.models.explainer import explain_one

    picture = out_file or image.with_name(image.stem + ".explained.png")
    facts = explain_one(image, model, ExplainConfig(method=method, mask_size=mask_size), target, picture)
    out.print(f"{picture}: {facts}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def review(run: RunOption, port: Annotated[int, typer.Option(help="of the local page")] = 8501):
    """Opens the review app on a run."""
    import subprocess

    from xray_debug.run.folder import RunError

    if not (run / "audit" / "cases.parquet").exists():
        raise RunError(f"{run}: nothing to review before stage audit is complete")
    command = [sys.executable, "-m", "streamlit", "run", str(package_folder("app.py")), "--server.port", str(port),
               "--server.address", "localhost", "--browser.gatherUsageStats", "false",
               "--", "--run", str(run)]  # fmt: skip
    raise typer.Exit(subprocess.call(command))


@app.command()
def status(run: RunOption):
    """What of a run is complete, with times and memory."""
    from xray_debug.config import load_config
    from xray_debug.run.folder import Run, RunError
    from xray_debug.stages.registry import plan

    file = run / "pipeline.yaml"
    if not file.exists():
        raise RunError(f"{run}: expected a run folder with pipeline.yaml; xray-debug run makes one")
    folder, table = Run(run), Table("stage", "state", "seconds", "peak MiB")
    for stage, why in plan(folder, load_config(file), None, None, False):
        found = folder.record(stage.name)
        numbers = (f"{found['seconds']:.1f}", f"{found['peak_memory_mb']:.0f}") if found else ("", "")
        table.add_row(stage.name, why or "up to date", *numbers)
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


def main() -> None:
    """Entry point: one sentence on stderr instead of a traceback, unless --debug."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        app()
    except KeyboardInterrupt:
        err.print("stopped; the same command goes on where it was", markup=False)
        sys.exit(130)
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            err.print(f"xray-debug: {one_sentence(error)}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2 if bad_request(error) else 1)

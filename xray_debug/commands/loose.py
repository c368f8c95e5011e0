"""detect, clean and explain: of a run (--run), or of a folder of images (IMAGES --out ...)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import typer

from xray_debug.commands.data import SetOption
from xray_debug.commands.terminal import Stopped, progress_bars, say, say_aside, stop_status
from xray_debug.config import ConfigError

ImagesArgument = Annotated[Optional[Path], typer.Argument(help="a folder of images, without a run")]
RunOption = Annotated[Optional[Path], typer.Option("--run", help="run folder")]
ForceOption = Annotated[bool, typer.Option("--force", help="of a run: also what is up to date")]
EngineOption = Annotated[Optional[str], typer.Option("--engine", help="local or ray")]
WorkersOption = Annotated[Optional[int], typer.Option("--workers", help="single-threaded workers; 0: one a core")]
PartOption = Annotated[Optional[str], typer.Option("--part", help="of a run: I/N, only this share of the images")]
MergeOption = Annotated[bool, typer.Option("--merge", help="of a run: put the parts together; compute nothing")]
OutOption = Annotated[Optional[Path], typer.Option("--out", help="of IMAGES: what is made")]


def with_images(name: str, staged: Callable, make_engine: Callable, work_of: Callable) -> Callable:
    """The command of stage `name`: `staged` for a run, and for detect, clean and explain also of a folder of images."""

    def finish(images, run, out, set_, force, engine, workers, part, merge, act) -> None:
        given = {"IMAGES": images, "--run": run}
        if sum(value is not None for value in given.values()) != 1:
            raise ConfigError("expected --run DIR, or IMAGES with --out, one of the two")
        if run is not None:
            if out is not None:
                raise ConfigError("--out: a run has its own place, expected it with IMAGES alone")
            staged(run, set_, force, engine, workers, part, merge)
        else:
            if out is None or part or merge or force:
                raise ConfigError("IMAGES: expected --out, and neither --part, --merge nor --force")
            _loose(images, out, set_, work_of(engine, workers), make_engine, act)

    def detect(images: ImagesArgument = None, run: RunOption = None, out_file: OutOption = None, set_: SetOption = None,
               force: ForceOption = False, engine: EngineOption = None, workers: WorkersOption = None,
               part: PartOption = None, merge: MergeOption = False) -> None:  # fmt: skip
        from xray_debug.stages.loose import detect_images

        finish(images, run, out_file, set_, force, engine, workers, part, merge, detect_images)

    def clean(images: ImagesArgument = None, run: RunOption = None, out_dir: OutOption = None,
              boxes: Annotated[Optional[Path], typer.Option(help="of IMAGES: a table as detect writes it")] = None,
              set_: SetOption = None, force: ForceOption = False, engine: EngineOption = None,
              workers: WorkersOption = None, part: PartOption = None, merge: MergeOption = False) -> None:  # fmt: skip
        from xray_debug.stages.loose import clean_images

        finish(images, run, out_dir, set_, force, engine, workers, part, merge, lambda job: clean_images(job, boxes))

    def explain(images: Annotated[Optional[Path], typer.Argument(help="an image or a folder, without a run")] = None,
                run: RunOption = None, out_dir: OutOption = None,
                model: Annotated[Optional[Path], typer.Option(help="of IMAGES: model folder")] = None,
                method: Annotated[Optional[str], typer.Option(help="of IMAGES: igos_pp or another")] = None,
                preset: Annotated[Optional[str], typer.Option(help="of IMAGES: default, paper, quick")] = None,
                target: Annotated[Optional[str], typer.Option(help="of IMAGES: class; else the predicted")] = None,
                trust: Annotated[bool, typer.Option("--trust", help="run a model that is a program")] = False,
                set_: SetOption = None, force: ForceOption = False, engine: EngineOption = None,
                workers: WorkersOption = None, part: PartOption = None, merge: MergeOption = False):  # fmt: skip
        from xray_debug.stages.loose import explain_loose

        def act(job) -> None:
            if model is None:
                raise ConfigError("IMAGES: expected --model")
            explain_loose(job, model, method or job.config.explain.method, preset, target, trust)

        finish(images, run, out_dir, set_, force, engine, workers, part, merge, act)

    return {"detect": detect, "clean": clean, "explain": explain}.get(name, staged)


def _loose(images: Path, out: Path, set_: list[str] | None, work, make_engine: Callable, act: Callable) -> None:
    from xray_debug.config import override, parse_config
    from xray_debug.stages.loose import Job
    from xray_debug.stages.registry import check_options

    try:
        config = parse_config(override({}, set_ or []), "--set")
        for stage in ("detect", "explain"):
            check_options(config, stage)
        with progress_bars() as progress:
            act(Job(images, out, config, make_engine(work, config, progress, say_aside), say))
    except KeyboardInterrupt as error:
        raise Stopped(stop_status(error)) from error

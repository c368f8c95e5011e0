"""The commands that explain single images: explain-image, explain-case; and methods, which lists what explains them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import typer

from xray_debug.commands.data import RunOption
from xray_debug.commands.terminal import lines_wanted, progress_bars, say, write_line
from xray_debug.data.files import name_of, private


def add_explain_commands(app: typer.Typer) -> None:
    app.command("explain-image")(explain_image)
    app.command("explain-case")(explain_case)
    app.command()(methods)


def explain_image(
    images: Annotated[list[Path], typer.Argument(help="radiographs")],
    model: Annotated[Optional[Path], typer.Option(help="model folder or model.safetensors")] = None,
    run: Annotated[Optional[Path], typer.Option(help="instead of --model: a run, whose model explains")] = None,
    target: Annotated[Optional[str], typer.Option(help="class; the predicted one without it")] = None,
    method: Annotated[Optional[list[str]], typer.Option(help="igos_pp or another; repeatable")] = None,
    preset: Annotated[Optional[list[str]], typer.Option(help="default, paper, quick; repeatable")] = None,
    mask_size: Annotated[int, typer.Option(help="side of the mask", min=2, max=4096)] = 28,
    trust: Annotated[bool, typer.Option("--trust", help="run a model that is a program")] = False,
    data: Annotated[Optional[Path], typer.Option(help="new folder for map, curves and facts of one map")] = None,
    out_file: Annotated[Optional[Path], typer.Option("--out", help="PNG to write")] = None,
):
    """One picture: films, their maps by one method or several, and the deletion and insertion curves."""
    from xray_debug.config import ConfigError
    from xray_debug.models.explain_images import explain_images, ways_of
    from xray_debug.run.places import check_no_stage

    if (model is None) == (run is None):
        raise ConfigError("expected --model MODEL or --run RUN, one of the two")
    if run is not None:
        model, trust = model_of(run)
    picture = out_file or images[0].with_name(name_of(images[0].stem, ".explained.png"))
    for place in filter(None, (out_file, data)):  # beside a film of a synthetic dataset it is kept when drawn anew
        check_no_stage(place)
    for image in images:
        own_picture(picture, image)
    ways = ways_of(method or ["igos_pp"], preset or [])
    with told() as progress:
        said = explain_images(images, model, ways, target, picture, mask_size, trusted=trust, data=data,
                              progress=progress)  # fmt: skip
    for line in said:
        say(f"{picture}: {line}")


def model_of(run: Path) -> tuple[Path, bool]:
    """The folder of a run's model, and whether it may be a program: where the run's user has named it."""
    from xray_debug.config import made_config
    from xray_debug.run.folder import RunError
    from xray_debug.run.store import Store

    store = Store(run)
    if not store.has("description"):
        raise RunError(f"{run}: {store.why_absent('description')}")
    return store.path("model"), made_config(store.pipeline_file).model is not None


@contextlib.contextmanager
def told():
    """A callback(what, done, total) that moves a bar, one after the other."""
    with progress_bars() as start:
        bars: dict[str, Callable[[int, int], None]] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = start(what)
            bars[what](done, total)

        yield progress


def own_picture(picture: Path, image: Path) -> None:
    """ConfigError where a file that this command has not made would be replaced."""
    from PIL import Image

    from xray_debug.config import ConfigError
    from xray_debug.saliency.plots import EXPLAINED

    if not picture.is_symlink() and not picture.exists():
        return
    with contextlib.suppress(OSError, ValueError, SyntaxError), Image.open(picture) as found:
        same = image.exists() and os.path.samefile(picture, image)
        if found.format == "PNG" and found.info.get("Creator") == EXPLAINED and not same and not picture.is_symlink():
            return
    raise ConfigError(f"--out {picture}: is there already and was not made by explain-image; choose another name")


def explain_case(run: RunOption, image_ids: Annotated[list[str], typer.Argument(help="names of images of the run")]):
    """The map of images that stage explain has not explained; the review app shows it."""
    from xray_debug.config import made_config
    from xray_debug.run.folder import RunError
    from xray_debug.run.store import Store
    from xray_debug.stages.further import explain_cases

    store = Store(run)
    if not store.pipeline_file.exists():
        raise RunError(f"{run}: expected a run folder with pipeline.yaml; xray-debug run makes one")
    with told() as progress, private():
        said = explain_cases(store, made_config(store.pipeline_file), image_ids, progress)
    for line in said:
        say(line)


def methods():
    """What explains a decision: the methods there are, and their presets."""
    from xray_debug.models.explain_images import presets_of
    from xray_debug.saliency import METHODS

    for name in METHODS:
        help, presets = METHODS.help.get(name, ""), presets_of(name)
        if lines_wanted():
            write_line(method=name, help=help, presets=presets)
        else:
            say(f"{name}: {help or 'of another package'}" + (f"; presets {', '.join(presets)}" if presets else ""))

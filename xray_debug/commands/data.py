"""The commands about a dataset alone: check, import, restore; and the options that say where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from xray_debug.commands.terminal import progress_bars, say

RunOption = Annotated[Path, typer.Option("--run", help="run folder")]
SetOption = Annotated[Optional[list[str]], typer.Option("--set", help="option of the pipeline, a.b=value")]
ImagesOption = Annotated[Optional[Path], typer.Option("--images", help="folder that the paths of a table start from")]
ColumnsOption = Annotated[Optional[str], typer.Option(
    "--columns", help="of a table: path=..,label=.. (or labels=A+B),patient=..,source=..,split=..")]  # fmt: skip


def add_data_commands(app: typer.Typer) -> None:
    app.command()(check)
    app.command("import")(import_)
    app.command()(restore)


def table_options(options, images: Path | None, columns: str | None) -> None:
    """Puts --images and --columns into the options of prepare."""
    from xray_debug.data.formats.table import parse_columns

    if images is not None:
        options.images = str(images.resolve())
    if columns is not None:
        options.columns = parse_columns(columns)


def prepare_options(data: Path, images: Path | None, columns: str | None, set_: list[str] | None):
    """The options of prepare for a command without a pipeline; RunError where there is no dataset."""
    from xray_debug.config import override, parse_config
    from xray_debug.run.folder import RunError

    if not data.exists():
        raise RunError(f"{data}: expected a dataset, a folder or a table, found nothing")
    options = parse_config(override({}, set_ or []), "--set").prepare
    table_options(options, images, columns)
    return options


def check(data: Annotated[Path, typer.Argument(help="dataset: a folder, or a table of labels")],
          images: ImagesOption = None, columns: ColumnsOption = None, set_: SetOption = None,
          against: Annotated[Optional[Path], typer.Option(
              help="a run, or its cleaned dataset, to be held against these originals")] = None):  # fmt: skip
    """All faults of a dataset at once, or of its cleaned dataset; nothing is changed."""
    from xray_debug.data.formats import check_dataset

    options = prepare_options(data, images, columns, set_)
    if against is not None:
        raise typer.Exit(verify(data, against, options))
    findings = check_dataset(data, options)
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.kind] = counts.get(finding.kind, 0) + 1
        say(": ".join(filter(None, finding)))
    summary = ", ".join(f"{n} {kind}" for kind, n in counts.items()) or "no faults found"
    say(f"{data}: {summary}")
    raise typer.Exit(1 if findings else 0)


def import_(data: Annotated[Path, typer.Option(help="dataset: a folder, or a table of labels")],
            out_dir: Annotated[Path, typer.Option("--out", help="folder for manifest.parquet")],
            images: ImagesOption = None, columns: ColumnsOption = None, set_: SetOption = None):  # fmt: skip
    """Writes the manifest of a dataset, one row an image, and nothing else."""
    from xray_debug.data.files import private, write_table
    from xray_debug.data.formats import build_manifest, format_of
    from xray_debug.run.folder import RunError
    from xray_debug.run.places import check_no_stage
    from xray_debug.run.store import OUTPUTS

    check_no_stage(out_dir)
    file, options = out_dir / OUTPUTS["manifest"].place, prepare_options(data, images, columns, set_)
    if file.exists():
        raise RunError(f"{file}: is there already; choose another --out")
    kind = format_of(data, options)
    with progress_bars() as progress, private():
        frame = build_manifest(data, options, progress=progress("read the dataset"))
        out_dir.mkdir(parents=True, exist_ok=True)
        write_table(file, frame)
    good = frame[frame["problem"] == ""]
    counts = ", ".join(f"{n} {name}" for name, n in good["split"].value_counts().items())
    say(f"{file}: {len(frame)} images of format {kind} ({counts}), {len(frame) - len(good)} set aside")


def verify(data: Path, against: Path, options) -> int:
    """Prints what of a cleaned dataset is not as the change log says; 1 where anything is not."""
    from xray_debug.cleaning.verify import faults_of
    from xray_debug.config import CleanConfig
    from xray_debug.data.formats import images_folder
    from xray_debug.data.formats.layout import Layout
    from xray_debug.review.behind import behind_sentence
    from xray_debug.run.store import Store

    inside = against.resolve().parents[1] if len(against.resolve().parents) > 1 else against
    store = Store(against if Store(against).has("changes") else inside)
    settings = CleanConfig(**(store.record("clean") or {}).get("parameters", {}).get("clean", {}))
    cleaned, manifest, layout = store.path("cleaned"), store.manifest(), Layout.of(store.json("dataset"))
    images = images_folder(data, options) if options.images or not data.is_dir() else data
    count = 0
    control = store.path("control") if settings.control else None
    for fault in faults_of(manifest, store.table("changes"), images, cleaned, settings, layout, control):
        count += 1
        say(fault)
    if late := behind_sentence(store):
        say(late)
    excluded = len(store.json("cleaning facts").get("excluded", ())) if store.has("cleaning facts") else 0
    left = f" ({excluded} of them excluded by reviewers)" if excluded else ""
    say(f"{cleaned}: {len(manifest)} images{left}, {count} faults")
    return int(count > 0)


def restore(run: RunOption, image_ids: Annotated[list[str], typer.Argument(help="names of images")],
            out_dir: Annotated[Path, typer.Option("--out", help="folder for the copies")]):  # fmt: skip
    """Gives the originals of images back, checked; replaces nothing."""
    from xray_debug.cleaning.verify import restore as give_back
    from xray_debug.data.files import private
    from xray_debug.run.places import check_no_stage
    from xray_debug.run.store import Store

    check_no_stage(out_dir)
    store = Store(run)
    with private():
        for path in give_back(store.manifest(), store.dataset_root(), image_ids, out_dir):
            say(path)

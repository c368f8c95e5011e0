"""decisions: the reviewers' decisions out of a run, for others and for other programs, and in again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from xray_debug.commands.data import RunOption
from xray_debug.commands.terminal import say


def add_decisions(app: typer.Typer) -> None:
    commands = typer.Typer(no_args_is_help=True, help="The reviewers' decisions, out of a run and in again.")
    commands.command("export")(export)
    commands.command("import")(import_)
    app.add_typer(commands, name="decisions")


def export(folder: Annotated[Optional[Path], typer.Argument(metavar="[RUN]", help="run folder")] = None,
           run: Annotated[Optional[Path], typer.Option("--run", help="run folder")] = None,
           out_file: Annotated[Optional[Path], typer.Option("--out", help="a new file: .jsonl or .csv: every event; "
                               ".json (COCO) or .parquet: what is erased in each image")] = None):  # fmt: skip
    """Writes every event (.jsonl, .csv), or the boxes that are erased (.json: COCO, .parquet)."""
    from xray_debug.config import ConfigError
    from xray_debug.data.files import private
    from xray_debug.review import boxes_out, exchange
    from xray_debug.run.places import check_no_stage
    from xray_debug.run.store import Store

    if (folder is None) == (run is None) or out_file is None:
        raise ConfigError("decisions export: expected a run folder (RUN or --run, one of the two) and --out FILE")
    suffix, known = out_file.suffix.lower(), (*exchange.SUFFIXES, *boxes_out.SUFFIXES)
    if suffix not in known:
        raise ConfigError(f"--out {out_file}: expected a file that ends in one of {', '.join(known)}")
    check_no_stage(out_file)
    if out_file.exists() or out_file.is_symlink():
        raise ConfigError(f"--out {out_file}: is there already; choose another name")
    store = Store(run or folder)
    with private():
        if suffix in exchange.SUFFIXES:
            say(f"{out_file}: {exchange.write_events(_review(store), out_file)} events")
        else:
            write = boxes_out.write_coco if suffix == ".json" else boxes_out.write_boxes_table
            say(f"{out_file}: {write(store, out_file)} images")


def import_(file: Annotated[Path, typer.Argument(help="a file that export wrote: .jsonl or .csv")],
            run: RunOption):  # fmt: skip
    """Adds the events of a file that are not there yet: all of them, or none where one cannot be used."""
    from xray_debug.data.files import private
    from xray_debug.review.decisions import ReviewDB
    from xray_debug.review.exchange import read_events
    from xray_debug.run.store import Store

    store = Store(run)
    frame = store.manifest()
    sizes = dict(zip(frame["image_id"], zip(frame["height"].astype(int), frame["width"].astype(int), strict=True),
                     strict=True))  # fmt: skip
    with private():
        added, there = read_events(ReviewDB(store.review_file), file, sizes)
    say(f"{store.review_file}: {added} events added, {there} were there already")


def _review(store):
    """The run's decisions; RunError where there are none: the file is not made by looking."""
    from xray_debug.review.decisions import ReviewDB
    from xray_debug.run.folder import RunError

    if not store.review_file.exists():
        raise RunError(f"{store.review_file}: nobody has decided anything in this run yet")
    return ReviewDB(store.review_file)

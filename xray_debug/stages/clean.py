"""clean: COVIDx++ and its control, honouring the reviewers' decisions; and what the model sees of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from xray_debug.config import PipelineConfig
from xray_debug.run.fingerprint import Seen, digest
from xray_debug.run.folder import RunError
from xray_debug.run.store import Store
from xray_debug.stages.base import Context, Stage
from xray_debug.stages.letters import RECOGNISER, check_keep, kept_letters
from xray_debug.stages.readers import AUTO, MOST_BY_AUTO, decided_options, packages_of, second_of

MOST = 64


def check(config: PipelineConfig) -> None:
    from xray_debug.text import DETECTORS

    check_apart(config)
    check_keep(config)
    if config.detect.second not in (None, AUTO):
        DETECTORS.check(config.detect.second, "detect.second")


def check_apart(config: PipelineConfig) -> None:
    settings = config.detect
    if settings.second is not None and settings.second == settings.detector:
        raise RunError(
            f"detect.second: expected another detector than detect.detector, got {settings.second!r} for both"
        )


def inputs(store: Store, config: PipelineConfig) -> Mapping[str, str | Seen]:
    """The latest decision on each image, read once: what the fingerprint speaks of is what is done."""
    check_apart(config)
    check_keep(config)
    rows = []
    if store.review_file.exists():
        from xray_debug.review.decisions import ReviewDB

        rows = ReviewDB(store.review_file).latest()
    facts = [{name: row[name] for name in ("image_id", "decision", "boxes", "id", "reviewer")} for row in rows]
    found: dict[str, str | Seen] = {"decisions": Seen(digest(facts), rows)}
    if config.detect.second is not None:
        name, _ = second_of(store, config)
        settled = f"{name}: " if config.detect.second == AUTO else ""
        found["second reader"] = settled + (packages_of(name) if name else "")
    if config.clean.keep:
        found["reader of letters"] = packages_of(RECOGNISER)
    return found


def check_ready(config: PipelineConfig) -> None:
    """ValueError where a second reader that is named lacks its weights; one whose package is missing is left out."""
    from xray_debug.text.detectors import registry

    name = config.detect.second
    if name in (None, AUTO):
        return
    try:
        registry.check_ready(name)
    except ImportError:
        return
    except ValueError as error:
        raise ValueError(f"detect.second: {name}: {error}") from error


def second_reader(context: Context) -> Callable[[], Any] | None:
    """What makes the second reader in a worker; None where it is not wanted, or not installed, which is said."""
    from xray_debug.text import load_detector

    asked, (name, why) = context.config.detect.second, second_of(context.store, context.config)
    if name is None:
        if asked == AUTO:
            context.say(f"cleaned images are not read again: detect.second is auto, and {why}")
        return None
    try:
        load_detector(name)
    except ImportError as error:  # the second reader is an extra; the repair itself does not depend on it
        context.say(f"cleaned images are not read again: {error}")
        return None
    except ValueError as error:
        if asked != AUTO:
            raise
        raise RunError(f"detect.second: stage detect has settled auto as {name}, which cannot be loaded now: {error}; "
                       f"name another reader, or run stage detect anew") from error  # fmt: skip
    return partial(load_detector, name, **decided_options(context.scratch / "second.json", name, {}))


def most_read(context: Context, name: str) -> int | None:
    """How many cleaned images the reader reads at most, None for all; what auto has chosen is said."""
    settings, most = context.config.detect, context.config.detect.second_images
    if settings.second != AUTO:
        return most
    most = min((count for count in (most, MOST_BY_AUTO.get(name)) if count), default=None)
    many = "" if most is None else f", {most} at most"
    slow = "; that takes seconds a film, detect.second=ppocr a fraction of one" if name == "craft" else ""
    context.say(f"cleaned images are read again by {name} (detect.second is auto: "
                f"{second_of(context.store, context.config)[1]}){many}{slow}")  # fmt: skip
    return most


def run(context: Context) -> None:
    import numpy as np

    from xray_debug.cleaning.dataset import finish, plan_rows
    from xray_debug.cleaning.residue import probe_result
    from xray_debug.cleaning.second import KIND, readings_table
    from xray_debug.cleaning.worker import CleanWorker
    from xray_debug.data.formats.layout import Layout
    from xray_debug.review.behind import made_with
    from xray_debug.review.decisions import as_table
    from xray_debug.run.engine import TableRows
    from xray_debug.stages.earlier import earlier_clean

    store, config = context.store, context.config
    manifest, views, patch_of = store.manifest(), store.views(), store.patches()
    out = store.path("cleaned")
    control = store.path("control") if config.clean.control else None
    reader, layout = second_reader(context), Layout.of(store.json("dataset"))
    name = reader.args[0] if reader else ""
    context.facts["second_reader"] = name
    again = most_read(context, name) if reader else 0
    compared = config.detect.recall_images if reader and KIND in config.clean.kinds else 0
    boxes = {kind: store.boxes(kind) for kind in config.clean.kinds}
    for kind in (kind for kind, found in boxes.items() if not found and kind != "text"):
        context.say(f"clean.kinds: no box of kind {kind} was found")
    plan = plan_rows(
        manifest, store.dataset_root(), store.boxes(*boxes), config.clean, as_table(context.seen["decisions"]),
        config.seed, again, outs=[folder for folder in (out, control) if folder], unread=store.json("unread"),
        layout=layout, recall_images=compared, texts=store.boxes(KIND),
        keep=kept_letters(context, manifest),
    )  # fmt: skip
    for remark in plan.attrs["remarks"]:
        context.say(remark)
    row_of = {name: index for index, name in enumerate(manifest["image_id"])}
    earlier = earlier_clean(context)
    known = earlier.count(plan)

    def add(rows: list[dict]) -> list[dict]:
        """The view of an image that stays as it was, the patch of one whose text the audit has erased, or all that came
        of the very same row before."""
        for row in rows:
            row["before"] = earlier.result(row["image_id"], row["key"])
            if row["before"] is not None:
                continue
            if len(row["boxes"]):
                row["patch"] = patch_of(row["image_id"])
            else:
                row["view"] = views[row_of[row["image_id"]]]
        return rows

    view = config.view.model_dump()
    worker = CleanWorker(
        config.clean.model_dump(), config.seed, str(out), str(control) if control else None, reader, view,
        earlier.folders,
    )  # fmt: skip
    shape = ((view["size"], view["size"]), np.uint8)
    arrays = {"view": shape} | ({"control_view": shape} if control else {})
    parts = context.engine.run(
        worker, TableRows(plan, add), store.path("cleaned views"), "write the cleaned images", most=MOST, arrays=arrays
    )
    aside = int((store.manifest(usable=False)["problem"] != "").sum())
    labelled = plan
    if "given_label" in manifest:  # the labels of the dataset, not those that a given model's classes made of them
        labelled = plan.assign(label=manifest["given_label"].to_numpy())
        labelled.attrs = plan.attrs
    changes = finish(labelled, parts.table(), out, control, aside, layout)
    changes["label"] = changes["image_id"].map(plan.set_index("image_id")["label"])
    store.write_table("changes", changes)
    readings = readings_table(plan, parts.table())
    store.write_table("readings", readings)
    facts = changes.attrs["summary"]
    store.write_json("decided", {"images": made_with(context.seen["decisions"])})
    store.write_json("cleaning facts", {name: facts[name] for name in ("failed", "remarks", "excluded")})
    features = [row["probe"] for row in parts.rows(["probe"]) if row.get("probe") is not None]
    store.write_json("probe", probe_result(features, config.seed))
    context.facts["images"] = len(plan)
    context.say(f"{facts['changed']} of {len(plan)} images cleaned")
    if failed := int(readings["found"].isna().sum()):
        why = readings.loc[readings["found"].isna(), "note"].iloc[0]
        context.say(f"{name} could not read {failed} of {len(readings)} originals, the first: {why}")
    if facts["excluded"]:
        context.say(f"{len(facts['excluded'])} images are left out of the cleaned data: reviewers have excluded them")
    if known:
        context.say(f"{known} images are as they were before, {len(plan) - known} were made anew")
    for note, count in _forms(changes, facts["rewritten"]).items():
        context.say(f"{count} images: {note}")


def _forms(changes, unchanged: Mapping[str, int]) -> dict[str, int]:
    """How many images were written in another form than they came in, changed or not."""
    counts = Counter(unchanged)
    for note in changes["note"]:
        counts.update(part for part in note.split("; ") if " written " in part and not part.startswith("mode "))
    return dict(counts)


STAGE = Stage(
    name="clean",
    help="Write COVIDx++, honouring the reviewers' decisions.",
    needs=("manifest", "views", "regions", "unread", "dataset"),
    options=("clean", "detect.second", "detect.second_images", "detect.recall_images", "view"),
    outputs=("changes", "readings", "letters", "decided", "cleaning facts", "probe", "cleaned views", "cleaned",
             "control"),
    work=run,
    inputs=inputs,
    plugins=lambda store, config: (
        *((("xray_debug.detectors", config.detect.second),) if config.detect.second not in (None, AUTO) else ()),
        ("xray_debug.formats", config.prepare.format),
    ),
    parts=True,
)

"""The one typed reader and writer of what a run holds: nothing else knows a run's file names.

`OUTPUTS` names every result of every stage. A reader is given a result by its name, never by its path; a table is
checked for its columns when it is written and when it is read. A stage at work reads the finished stages and writes
into its own work folder, which `work` names.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_debug.data.files import write_json, write_table

if TYPE_CHECKING:  # pandas and Arrow are imported where a table is read: status reads none
    import numpy as np
    import pandas as pd

    from xray_debug.data.views import Views
    from xray_debug.run.parts import Parts

BOX = ("x0", "y0", "x1", "y1")
DATA_FILE = "data.csv"  # the table of a dataset that was given as a DataFrame


class StoreError(ValueError):
    """Something a run should hold is absent, damaged or of another shape; one sentence."""


@dataclass(frozen=True)
class Output:
    """One result of a stage: where it lies, what it must hold, and what a reader does not learn without it.

    `kind`: table (Parquet), json, parts (Parquet parts of an engine), arrays (its array parts), file or folder.
    `values`: of a JSON mapping, names that must be there, and their types.
    `steady`: whether it is the same whenever the same work is done (no times in it), so that it can be compared.
    """

    stage: str
    place: str
    kind: str
    columns: tuple[str, ...] = ()
    shows: str = ""
    steady: bool = True
    values: Mapping[str, type] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Its place in the run folder, as a reader is told of it."""
        return f"{self.stage}/{self.place}"


OUTPUTS: dict[str, Output] = {
    "manifest": Output(
        "prepare", "manifest.parquet", "table",
        ("image_id", "path", "split", "patient_id", "label", "source", "test_set", "width", "height", "sha256",
         "problem", "view_index"),
        "faults set aside, repaired shares by class and source, pictures of flagged cases"),
    "dataset": Output("prepare", "dataset.json", "json", steady=False, values={"root": str}),
    "views": Output("prepare", "views", "arrays"),
    "phantom": Output("prepare", "phantom", "folder", steady=False),
    "model": Output("train", ".", "folder", steady=False),
    "weights": Output("train", "model.safetensors", "file"),
    "description": Output("train", "model.json", "file"),
    "predictions": Output(
        "train", "predictions.parquet", "table",
        ("trained_on", "without", "tested_on", "test_set", "seed", "image_id", "label", "source", "predicted"),
        "scores of the model trained on the original images"),
    "metrics": Output("train", "metrics.json", "json"),
    "explanations": Output(
        "explain", "explanations.parquet", "table",
        ("image_id", "target", "method", "mask_size", "probability", "deletion", "insertion", "sparseness", "objective",
         "hardly_moved"),
        "deletion and insertion of the explanations"),
    "sanity": Output(
        "explain", "sanity.parquet", "table",
        ("image_id", "target", "mprt_output", "mprt_all", "random_logit", "max_sensitivity"),
        "sanity checks of the explanations"),
    "maps": Output("explain", "maps", "parts"),
    "regions": Output(
        "detect", "regions.parquet", "table", ("image_id", "kind", *BOX, "score", "detector"),
        "boxes on the pictures of flagged cases"),
    "unread": Output("detect", "unread.json", "json", shows="images in which no text could be looked for"),
    "second reader": Output("detect", "second_reader.json", "json", values={"name": str, "why": str}),
    "cases": Output("audit", "cases.parquet", "table", ("image_id", "label", "flagged"), "flagged cases"),
    "checks": Output("audit", "checks.parquet", "table", ("check", "test_set", "label", "shown")),
    "verdict": Output("audit", "verdict.json", "json", shows="the verdict and the no-evidence baselines"),
    "patches": Output("audit", "patches", "parts"),
    "changes": Output(
        "clean", "changes.parquet", "table", ("image_id", "label", "source", "boxes", "file", "cleaned_sha256"),
        "repaired share by class and source, residual text"),
    "readings": Output(
        "clean", "readings.parquet", "table",
        ("image_id", "patient_id", "label", "source", "split", "erased", "seen", "found", "alone", "note"),
        "what the second reader sees of text, and what it and the detector both missed"),
    "letters": Output("clean", "letters.parquet", "table", ("image_id", *BOX, "text")),
    "decided": Output("clean", "decisions.json", "json", values={"images": dict}),
    "cleaning facts": Output("clean", "facts.json", "json", shows="images that could not be cleaned",
                             values={"failed": dict, "remarks": list}),
    "probe": Output("clean", "probe.json", "json", shows="the inpainting probe"),
    "cleaned": Output("clean", "dataset", "folder", steady=False),
    "control": Output("clean", "control", "folder", steady=False),
    "cleaned views": Output("clean", "views", "arrays"),
    "retrained": Output("retrain", ".", "folder", steady=False),
    "retrained predictions": Output(
        "retrain", "predictions.parquet", "table",
        ("trained_on", "without", "tested_on", "test_set", "seed", "image_id", "label", "source", "predicted"),
        "scores after cleaning and after the control cleaning: the rest of the 2x2"),
    "retrained metrics": Output("retrain", "metrics.json", "json"),
    "repairs": Output("retrain", "repairs.json", "json", values={"repairs": dict, "by": str}),
    "groups": Output("retrain", "groups.parquet", "table", ("image_id", "split", "test_set", "group")),
    "repaired cases": Output("retrain", "repaired_cases.parquet", "table", ("model", "image_id", "label")),
    "repaired checks": Output(
        "retrain", "repaired_checks.parquet", "table", ("model", "check", "question", "test_set", "label", "shown")),
    "report": Output("report", "report.json", "json", steady=False),
    "page": Output("report", "report.html", "file", steady=False),
    "summary": Output("report", "report.md", "file", steady=False),
    "paper": Output("report", "report.pdf", "file", steady=False),
    "figures": Output("report", "figures", "folder", steady=False),
}  # fmt: skip


class Store:
    """What the run in `folder` holds. `work`: stage -> folder, of stages that are being done."""

    def __init__(self, folder: str | Path, work: Mapping[str, Path] | None = None):
        self.folder, self.work = Path(folder), dict(work or {})
        self._parts: dict[str, tuple[int, Parts]] = {}  # with the time of the stage.json that they belong to

    # ------------------------------------------------------------------------------------------ by name

    def stage_folder(self, stage: str) -> Path:
        return self.work.get(stage, self.folder / stage)

    def path(self, name: str) -> Path:
        """Where the result lies, or would."""
        output = OUTPUTS[name]
        return self.stage_folder(output.stage) / output.place

    def has(self, name: str) -> bool:
        """Whether the result is there and its stage is complete or at work."""
        output = OUTPUTS[name]
        ready = output.stage in self.work or (self.folder / output.stage / "stage.json").is_file()
        return ready and self.path(name).exists()

    def why_absent(self, name: str) -> str:
        """Why `has` says no, in a few words for a reader."""
        stage = OUTPUTS[name].stage
        done = (self.folder / stage / "stage.json").is_file()
        state = "did not write it" if done else "has not finished" if self.begun(stage) else "has not run"
        return f"{OUTPUTS[name].where} is not in the run folder: stage {stage} {state}"

    def begun(self, stage: str) -> bool:
        """Whether a stage was begun and is not complete."""
        return (self.folder / ".work" / stage).exists()

    def table(self, name: str, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """A table (or some of its columns); StoreError where it is absent, damaged or lacks columns."""
        import pandas as pd

        path, wanted = self._present(name), OUTPUTS[name].columns
        try:
            frame = pd.read_parquet(path, columns=None if columns is None else list(columns))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: not a readable table: {str(error).splitlines()[0]}") from error
        self._check(path, frame, wanted if columns is None else tuple(columns))
        return frame

    def json(self, name: str) -> dict:
        """A JSON mapping; StoreError where it is absent, damaged, something else, or lacks what it must say."""
        return mapping_in(self._present(name), OUTPUTS[name].values)

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        self._check(self.path(name), frame, OUTPUTS[name].columns)
        write_table(self.path(name), frame)

    def write_json(self, name: str, value: Any) -> None:
        write_json(self.path(name), value)

    def parts(self, name: str) -> Parts:
        """The parts that an engine wrote; kept, with what they know of their rows, while the stage is the same."""
        from xray_debug.run.parts import Parts

        path, stage = self._present(name), OUTPUTS[name].stage
        if stage in self.work:
            return Parts.read(path)
        mark = (self.folder / stage / "stage.json").stat().st_mtime_ns
        known = self._parts.get(name)
        if known is None or known[0] != mark:
            known = self._parts[name] = (mark, Parts.read(path))
        return known[1]

    def _present(self, name: str) -> Path:
        path = self.path(name)
        if not self.has(name):
            raise StoreError(f"{self.folder}: {self.why_absent(name)}")
        return path

    @staticmethod
    def _check(path: Path, frame: pd.DataFrame, wanted: Iterable[str]) -> None:
        missing = [column for column in wanted if column not in frame.columns]
        if missing:
            raise StoreError(f"{path}: expected the columns {', '.join(wanted)}, {', '.join(missing)} missing")

    # ------------------------------------------------------------------------------------------ by meaning

    def manifest(self, usable: bool = True) -> pd.DataFrame:
        """The manifest; `usable`: without the rows that were set aside, numbered anew."""
        frame = self.table("manifest")
        return frame[frame["problem"].fillna("") == ""].reset_index(drop=True) if usable else frame

    def dataset_root(self) -> Path:
        """The folder that the manifest's paths start from."""
        root = Path(self.json("dataset")["root"])
        return root if root.is_absolute() else self.path("dataset").parent / root

    def image_file(self, path: str) -> Path:
        """The original of a manifest's `path`; StoreError where it leads out of the dataset."""
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise StoreError(f"{path}: leads out of the dataset")
        return self.dataset_root() / path

    def views(self, version: str = "original") -> Views:
        """The model's views of the usable images, uint8 (N, S, S), in the manifest's order.

        `version`: original, cleaned or control. The parts of the originals hold every image that was scanned, and
        `view_index` says where.
        """
        from xray_debug.data.views import Views

        if version == "original":
            views = Views(self.parts("views").arrays("view"))
            return views.rows(self.manifest()["view_index"].to_numpy())
        return Views(self.parts("cleaned views").arrays("view" if version == "cleaned" else "control_view"))

    def boxes(self, *kinds: str) -> dict[str, np.ndarray]:
        """image_id -> (N, 4) int64, regions of these kinds (default: text)."""
        frame = self.table("regions")
        return split_boxes(frame[frame["kind"].isin(kinds or ("text",))])

    def predictions(self) -> pd.DataFrame:
        """Predictions of the test images by all models: one row per model, test version and image."""
        import pandas as pd

        names = [name for name in ("predictions", "retrained predictions") if self.has(name)]
        if not names:
            raise StoreError(f"{self.folder}: {self.why_absent('predictions')}")
        frame = pd.concat([self.table(name) for name in names], ignore_index=True)
        keys = ["trained_on", "without", "tested_on", "test_set", "seed", "image_id"]
        twice = frame[frame.duplicated(keys)]
        if len(twice):
            row = twice.iloc[0]
            raise StoreError(f"predictions.parquet: {row['image_id']} is predicted twice by the model trained on "
                             f"{row['trained_on']}, seed {row['seed']}, tested on {row['tested_on']}")  # fmt: skip
        return frame

    def saliency(self, image_id: str, column: str = "saliency") -> np.ndarray | None:
        """The case's saliency map (m, m) float32, or its deletion_curve or insertion_curve; None: not explained."""
        import numpy as np

        if not self.has("maps"):
            return None
        with self._readable("maps"):
            found = self.parts("maps").find(image_id, column)
        return None if found is None else np.array(found)  # what lies in a table cannot be written to

    def saliency_maps(self, columns: Sequence[str] = ("image_id", "saliency", "deletion_curve", "insertion_curve")
                      ) -> Iterator[dict]:  # fmt: skip
        """These columns of every explained case, part by part."""
        if self.has("maps"):
            with self._readable("maps"):
                yield from self.parts("maps").rows(columns)

    def explained(self) -> set[str]:
        """The image_ids of the cases that have a saliency map."""
        return {row["image_id"] for row in self.saliency_maps(["image_id"])}

    @contextlib.contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path(name)}: not readable: {str(error).splitlines()[0]}") from error

    def patches(self) -> Callable[[str], bytes | None]:
        """image_id -> the patch that erases its text, as the audit made it; None where it made none."""
        if not self.has("patches"):
            return lambda image_id: None
        parts = self.parts("patches")

        def patch(image_id: str) -> bytes | None:
            with self._readable("patches"):
                return parts.find(image_id, "patch")

        return patch

    def record(self, stage: str) -> dict | None:
        """The stage's stage.json; None while the stage is not complete."""
        file = self.folder / stage / "stage.json"
        return mapping_in(file, {}) if file.exists() else None

    def state(self) -> tuple:
        """Stands for what a reader finds in the run: the stages that are complete, by their stage.json, and options."""
        files = [self.folder / stage / "stage.json" for stage in sorted({o.stage for o in OUTPUTS.values()})]
        return tuple(_mark(file) for file in [self.pipeline_file, *files])

    @property
    def review_file(self) -> Path:
        """The reviewers' decisions; only review/decisions.py opens it."""
        return self.folder / "review.sqlite"

    @property
    def further_maps(self) -> Path:
        """The folder of maps that were made for single cases; run/further.py reads and writes them."""
        return self.folder / "further_maps"

    def job_folder(self, name: str) -> Path:
        """Where a program that the review app has started says how far it is."""
        return self.folder / ".work" / "app" / name

    @property
    def data_file(self) -> Path:
        return self.folder / DATA_FILE

    @property
    def pipeline_file(self) -> Path:
        return self.folder / "pipeline.yaml"


def _mark(file: Path) -> tuple[int, int]:
    """When a file was written, and its size; zeros where there is none."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def mapping_in(path: Path, values: Mapping[str, type]) -> dict:
    """The mapping in a JSON file, with values of these names and types; StoreError names the file otherwise."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise StoreError(f"{path}: expected a JSON mapping, got {type(found).__name__}")
    for name, kind in values.items():
        if not isinstance(found.get(name), kind):
            raise StoreError(f"{path}: expected {name} in it, a {kind.__name__}, got {_short(found.get(name))}")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return "nothing" if value is None else text if len(text) <= 40 else f"{text[:37]}..."


def split_boxes(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """image_id -> (N, 4) int64 of a table with image_id x0 y0 x1 y1, in the table's order."""
    import numpy as np
    import pandas as pd

    if not len(frame):
        return {}
    codes, names = pd.factorize(frame["image_id"])
    order = np.argsort(codes, kind="stable")
    values = frame[list(BOX)].to_numpy(np.int64)[order]
    cuts = np.cumsum(np.bincount(codes))[:-1]
    return dict(zip(names, np.split(values, cuts), strict=True))


def npy_bytes(array: np.ndarray) -> bytes:
    """An array as the bytes of an .npy file, for a column of a table."""
    import numpy as np

    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def rows_of(path: Path) -> int:
    """Rows of a Parquet file, from its footer."""
    import pyarrow.parquet as pq

    return pq.read_metadata(path).num_rows

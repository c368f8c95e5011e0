"""Boxes and decisions in, a cleaned dataset (COVIDx++) and its change log out.

One rule for all classes and splits: every image with boxes is repaired the same way, unless a reviewer decided
otherwise. Originals are only read; unchanged images are hard-linked, or copied where linking fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.cleaning.controls import control_boxes, image_seed, moved_region
from xray_debug.cleaning.erase import clean_image
from xray_debug.cleaning.files import Journal, file_sha256, image_folder, link_or_copy, target_name
from xray_debug.cleaning.inpainting import inpaint_boxes, inpaint_region
from xray_debug.cleaning.residue import add_residual, inpainting_probe
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import as_boxes
from xray_debug.data.formats.covidx import write_labels
from xray_debug.data.images import ImageError, atomic_write, image_header, read_image, write_image

__all__ = ["CHANGES", "add_residual", "clean_dataset", "clean_image", "control_boxes", "image_folder", "inpaint_boxes",
           "inpaint_region", "inpainting_probe", "moved_region"]

CHANGES = ["image_id", "label", "source", "split", "test_set", "boxes", "origin", "file", "original_sha256",
           "cleaned_sha256", "area_share", "note"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Job:
    """One image to write: where from, where to, what to erase."""

    image_id: str
    source: Path
    folder: Path
    file: str  # name where it is changed
    boxes: list[list[int]]
    origin: str
    sha256: str


def clean_dataset(
    manifest: pd.DataFrame,
    data_root: str | Path,
    boxes: pd.DataFrame,
    out: str | Path,
    config: CleanConfig,
    decisions: pd.DataFrame | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    control: bool = False,
) -> pd.DataFrame:
    """Writes `out` in COVIDx layout with the boxes erased and returns its change log, one row per changed image.

    `boxes` has columns image_id x0 y0 x1 y1; `decisions` (ReviewDB.decisions()) may approve an image's boxes, reject
    them (the image stays as it was) or replace them. With `control` regions of the same shape are erased in
    text-free places instead. Rows of `manifest` with a problem are left out. Begun work in `out` is taken up again.
    `out/cleaning.json` and `.attrs["summary"]` of the result count what was done and name what could not be.
    ValueError: a decision or test set that cannot be used, or an output folder that holds the originals.
    """
    data_root, out = Path(data_root), Path(out)
    usable = manifest[manifest["problem"] == ""] if "problem" in manifest else manifest
    jobs, rejected = _plan(usable, data_root, boxes, out, config, decisions)
    for folder in sorted({job.folder for job in jobs}):
        folder.mkdir(parents=True, exist_ok=True)
        if folder.resolve() in {job.source.parent.resolve() for job in jobs[:1000]}:
            raise ValueError(f"{folder}: holds the original images, expected another output folder")
    journal = Journal(out / ".cleaning.jsonl", {"config": config.model_dump(), "seed": seed, "control": control})
    results = _run(jobs, journal, lambda job: _write(job, config, seed, control), config.workers, progress)
    changes = _change_log(usable, results)
    _write_label_files(usable, results, out)
    summary = {
        "images": len(usable),
        "set_aside": len(manifest) - len(usable),
        "changed": len(changes),
        "rejected": rejected,
        "control": control,
        "failed": {job.image_id: result["failed"] for job, result in results if result.get("failed")},
    }
    atomic_write(out / "cleaning.json", lambda file: file.write(json.dumps(summary, indent=1).encode()))
    journal.remove()
    changes.attrs["summary"] = summary
    return changes


# ------------------------------------------------------------------------------------------------- what to do


def _plan(manifest, data_root, boxes, out, config, decisions) -> tuple[list[_Job], int]:
    """One job for each image, and how many images with boxes a reviewer rejected."""
    found = {name: part for name, part in boxes.groupby("image_id", sort=False)} if len(boxes) else {}
    decided = _decided(decisions)
    names, jobs, rejected = set(manifest["image_id"]), [], 0
    columns = ["image_id", "path", "split", "test_set", "sha256"]
    sha_known = "sha256" in manifest
    rows = manifest.assign(sha256="") if not sha_known else manifest
    for image_id, path, split, test_set, sha256 in rows[columns].itertuples(index=False):
        _check_inside(image_id, path, test_set)
        own = as_boxes(found[image_id][["x0", "y0", "x1", "y1"]].to_numpy()) if image_id in found else as_boxes([])
        decision, own_boxes = decided.get(image_id, (None, None))
        rejected += decision == "reject" and len(own) > 0
        erase = {"reject": as_boxes([]), "edit": own_boxes}.get(decision, own)
        file = target_name(image_id, config.lossy, names) if len(erase) else image_id
        names.add(file)
        jobs.append(_Job(
            image_id, data_root / path, out / image_folder(split, test_set), file, erase.tolist(),
            "reviewer" if decision == "edit" else "detector", sha256 or "",
        ))  # fmt: skip
    return jobs, rejected


def _decided(decisions: pd.DataFrame | None) -> dict[str, tuple[str, np.ndarray | None]]:
    """image_id -> (decision, the reviewer's boxes)."""
    if decisions is None or not len(decisions):
        return {}
    result = {}
    for image_id, decision, boxes in decisions[["image_id", "decision", "boxes"]].itertuples(index=False):
        if decision not in ("approve", "reject", "edit"):
            raise ValueError(f"decision on {image_id}: expected approve, reject or edit, got {decision!r}")
        if decision == "edit" and not isinstance(boxes, (str, Sequence, np.ndarray)):
            raise ValueError(f"decision on {image_id}: edit needs boxes, got {boxes!r}")
        rows = json.loads(boxes) if isinstance(boxes, str) and boxes else boxes
        result[image_id] = (decision, as_boxes(rows) if decision == "edit" else None)
    return result


def _check_inside(image_id: str, path: str, test_set: str) -> None:
    """Names from label files may not lead out of the folders they belong in."""
    if Path(image_id).name != image_id or image_id in ("", ".", ".."):
        raise ValueError(f"image_id {image_id!r}: expected a plain file name")
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(f"{image_id}: path {path!r} leads out of the dataset")
    if test_set and (Path(test_set).name != test_set or test_set in (".", "..", "train")):
        raise ValueError(f"test set {test_set!r}: expected a plain name other than train")


# ------------------------------------------------------------------------------------------------- doing it


def _run(jobs, journal, write, workers: int, progress: Progress | None) -> list[tuple[_Job, dict]]:
    """Each job's result, in the order of the jobs. Threads suffice: decoding, inpainting and encoding run outside
    Python's lock."""
    done: dict[int, dict] = {}
    pool, waiting = ThreadPoolExecutor(workers or os.cpu_count() or 1), {}
    for i, job in enumerate(jobs):
        known = journal.get(job.image_id, job.sha256, job.boxes)
        if known is not None and known["file"] and (job.folder / known["file"]).exists():
            done[i] = known
        else:
            waiting[pool.submit(write, job)] = i
    if progress is not None and done:
        progress(len(done), len(jobs))
    try:
        for future in as_completed(waiting):
            i = waiting[future]
            done[i] = future.result()
            journal.add(jobs[i].image_id, jobs[i].sha256, jobs[i].boxes, done[i])
            if progress is not None:
                progress(len(done), len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)  # on a full disk or Ctrl-C: finish what is begun, start nothing new
    return [(job, done[i]) for i, job in enumerate(jobs)]


def _write(job: _Job, config: CleanConfig, seed: int, control: bool) -> dict:
    """Writes one image, changed or as it was; {"file"} and for a changed one the columns of the change log."""
    try:
        if not job.boxes:
            link_or_copy(job.source, job.folder / job.image_id)
            return {"file": job.image_id}
        image = read_image(job.source)
    except (ImageError, OSError) as error:
        return {"file": "", "failed": str(error)}
    try:
        return _erase(job, image, config, seed, control)
    except ValueError as error:  # for example a box over the whole image: it stays as it was, and is named
        link_or_copy(job.source, job.folder / job.image_id)
        return {"file": job.image_id, "failed": f"{job.image_id}: {error}"}


def _erase(job: _Job, image: np.ndarray, config: CleanConfig, seed: int, control: bool) -> dict:
    boxes = as_boxes(job.boxes)
    if control:
        boxes, region = moved_region(image, boxes, config, image_seed(seed, job.image_id))
        cleaned = inpaint_region(image, region, config.radius, config.method)
    else:
        cleaned, region = clean_image(image, boxes, config)
    if not region.any() and job.file == job.image_id:
        link_or_copy(job.source, job.folder / job.image_id)
        return {"file": job.image_id}
    target = job.folder / job.file
    write_image(target, cleaned)
    return {
        "file": job.file,
        "boxes": json.dumps(boxes.tolist()),
        "origin": job.origin,
        "original_sha256": job.sha256 or file_sha256(job.source),
        "cleaned_sha256": file_sha256(target),
        "area_share": float(region.mean()),
        "note": _note(job, target, cleaned, region),
    }


def _note(job: _Job, target: Path, cleaned: np.ndarray, region: np.ndarray) -> str:
    """What else than the region changed in the file: its format, or the loss of encoding it again."""
    header = image_header(job.source)
    notes = []
    if target.suffix.lower() in (".jpg", ".jpeg"):
        again = read_image(target)
        if again.shape == cleaned.shape:
            loss = np.abs(again.astype(np.float32) - cleaned)[~region].mean() if not region.all() else 0.0
            notes.append(f"encoded as JPEG again: pixels outside the boxes differ by {loss:.2f} grey levels on average")
    elif job.file != job.image_id or header.format not in ("PNG", "TIFF"):
        notes.append(f"{header.format} written losslessly as {target.suffix[1:].upper()}")
    if header.mode in ("P", "PA", "LA", "RGBA", "La", "RGBa", "CMYK", "1") or header.bit_depth not in (8, 16):
        notes.append(f"mode {header.mode} with {header.bit_depth} bits written as {8 * cleaned.itemsize} bits")
    if not region.any():
        notes.append("no text-free place for any box")
    return "; ".join(notes)


# ------------------------------------------------------------------------------------------------- tables


def _change_log(manifest: pd.DataFrame, results: list[tuple[_Job, dict]]) -> pd.DataFrame:
    known = manifest.set_index("image_id")[["label", "source", "split", "test_set"]].to_dict("index")
    rows = [
        {"image_id": job.image_id, **known[job.image_id], **result} for job, result in results if "boxes" in result
    ]
    return pd.DataFrame(rows, columns=CHANGES).astype({"area_share": float})


def _write_label_files(manifest: pd.DataFrame, results: list[tuple[_Job, dict]], out: Path) -> None:
    """One label file for each folder, in the order of the manifest; an image without a file is left out."""
    frame = manifest.assign(
        file=[result["file"] for _, result in results],
        folder=[image_folder(split, test_set) for split, test_set in zip(manifest["split"], manifest["test_set"],
                                                                        strict=True)],
    )  # fmt: skip
    for folder, part in frame[frame["file"] != ""].groupby("folder", sort=False):
        path = out / Path(folder).parent / f"{Path(folder).name}_COVIDx.txt"
        write_labels(path, part.assign(image_id=part["file"])[["patient_id", "image_id", "label", "source"]])

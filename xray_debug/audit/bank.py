"""The bank: markers of a few dozen images, made once before the audit, from which every case takes what it is given.

Rows of the bank are plain values (they fit a Parquet file): image_id, label, height, width; `places`, x and y of every
piece's centre as fractions; `marker_shapes` and `control_shapes`, their h and w; `markers` and `controls`, all their
pixels as int16 bytes, one piece after the other; `patch`, how the image's text was erased. height 0: no marker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_debug.audit.checks import all_checks
from xray_debug.audit.swaps import Donor, Piece, make_donor
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.unchanged import read_known
from xray_debug.data.view import ModelView
from xray_debug.stats.seeds import seed_of

BANK = 60  # images whose markers are kept for pasting
SPARE = 15  # further ones, for those that give none
_EMPTY = {"label": "", "height": 0, "width": 0, "places": [], "marker_shapes": [], "control_shapes": [],
          "markers": b"", "controls": b"", "patch": b""}


def needs_bank(config: AuditConfig) -> bool:
    """Whether any check pastes markers."""
    return config.swaps > 0 and any("bank" in check.needs for check in all_checks(config))


def bank_candidates(cases: pd.DataFrame, with_text: set[str], seed: int) -> pd.DataFrame:
    """The rows of `cases` (image_id, label, ...) to make the bank of, in its order.

    Of those in `with_text`, evenly over classes and drawn at random.
    """
    order = cases.sample(frac=1, random_state=seed % 2**32)
    order = order.assign(turn=order.groupby("label").cumcount()).sort_values("turn", kind="stable")
    return order[order["image_id"].isin(with_text)].drop(columns="turn").iloc[: BANK + SPARE]


def bank_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows to keep: the first BANK that hold markers."""
    return [row for row in rows if row["height"]][:BANK]


class BankWorker:
    """The markers of each image: rows with image_id, label, file and boxes in, rows of the bank out.

    `view`: fields of the ModelView; `clean`: options of CleanConfig. ImageError for a file that cannot be used.
    """

    def __init__(self, view: dict[str, Any], clean: dict[str, Any], seed: int = 0):
        self.view, self.clean, self.seed = view, clean, seed

    def open(self) -> None:
        self.viewer, self.options = ModelView(**self.view), CleanConfig(**self.clean)

    def __call__(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self._donor(row) for row in rows]

    def _donor(self, row: dict[str, Any]) -> dict[str, Any]:
        image, window = read_known(row["file"], row.get("sha256", ""))
        donor = make_donor(row["image_id"], row["label"], image, row["boxes"], self.viewer, self.options,
                           seed_of(self.seed, row["image_id"], "donor"), window)
        return {"image_id": row["image_id"], **(_EMPTY if donor is None else as_row(donor))}


def as_row(donor: Donor) -> dict[str, Any]:
    """The donor as a row of the bank."""
    return {
        "image_id": donor.image_id, "label": donor.label, "height": donor.height, "width": donor.width,
        "places": [float(place) for piece in donor.markers for place in (piece.x, piece.y)],
        "marker_shapes": _shapes(donor.markers), "control_shapes": _shapes(donor.controls),
        "markers": _bytes(donor.markers), "controls": _bytes(donor.controls), "patch": donor.patch,
    }  # fmt: skip


def as_donor(row: dict[str, Any]) -> Donor:
    """A row of the bank as the donor it was made of."""
    places = np.array(row["places"], float).reshape(-1, 2)
    markers, controls = (_pieces(row[f"{kind}s"], np.array(row[f"{kind}_shapes"], int).reshape(-1, 2), places)
                         for kind in ("marker", "control"))
    return Donor(row["image_id"], row["label"], int(row["height"]), int(row["width"]), markers, controls, row["patch"])


def read_bank(path: str | Path) -> list[Donor]:
    """The donors of a bank's rows in a Parquet file."""
    return [as_donor(row) for row in bank_of(pd.read_parquet(path).to_dict("records"))]


def _shapes(pieces: tuple[Piece, ...]) -> list[int]:
    return [int(side) for piece in pieces for side in piece.difference.shape]


def _bytes(pieces: tuple[Piece, ...]) -> bytes:
    return b"".join(piece.difference.astype("<i2").tobytes() for piece in pieces)


def _pieces(pixels: bytes, shapes: np.ndarray, places: np.ndarray) -> tuple[Piece, ...]:
    values = np.frombuffer(pixels, "<i2").astype(np.float32)
    ends = np.cumsum(shapes.prod(axis=1))
    parts = np.split(values, ends[:-1]) if len(ends) else []
    return tuple(Piece(part.reshape(shape), float(x), float(y))
                 for part, shape, (x, y) in zip(parts, shapes, places, strict=True))

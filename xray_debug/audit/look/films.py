"""The look of a sample of films as columns beside the manifest, by which the label might be guessed (no_evidence)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from xray_debug.audit.look.collect import text_free
from xray_debug.audit.look.measures import FILM, FILM_MEASURES
from xray_debug.audit.look.typical import chosen_images
from xray_debug.data.view import ModelView


def films_of_views(frame: pd.DataFrame, boxes: Mapping[str, Iterable], views, view: ModelView,
                   seed: int = 0) -> pd.DataFrame:  # fmt: skip
    """A column film_<measure> for each of FILM_MEASURES, one row for each of `frame`; NaN where not measured.

    Measured are as many training images and as many test images as typical.chosen_images takes, evenly over the
    classes, one of a patient, with their text inpainted. `views`: uint8 (N, S, S), one for each row of the manifest
    `frame`.
    """
    frame = frame.reset_index(drop=True)
    usable = frame[frame["problem"].fillna("") == ""] if "problem" in frame else frame
    learned = usable["split"].isin(["train", "val"])
    parts = [part for part in (usable[learned], usable[~learned]) if len(part)]
    rows = np.concatenate([chosen_images(part, seed).index for part in parts])
    films = np.full((len(frame), len(FILM_MEASURES)), np.nan)
    for row, image in zip(frame.iloc[rows].itertuples(), views.rows(rows), strict=True):
        film = text_free(image, view, int(row.height), int(row.width), boxes.get(row.image_id, ()))
        films[row.Index] = [measure(film) for measure in FILM_MEASURES.values()]
    return pd.DataFrame(films, columns=[FILM + name for name in FILM_MEASURES])

"""The files of one explanation: what is written is read again, and what is damaged is told."""

import numpy as np
import pytest

from xray_debug.data.explanation import CURVES, FACTS, FILM, MAP, ExplanationError, ExplanationFiles, write_explanation
from xray_debug.data.images import Film, GreyWindow, ModelView

ROW = {"target": "a", "probability": 0.75, "method": "rise", "mask_size": 2, "deletion": 0.5, "insertion": 0.25,
       "hardly_moved": False, "saliency": np.array([[0, 0], [0, 0.5]], np.float32),
       "deletion_curve": np.array([0.75, 0.5, 0.25]), "insertion_curve": np.array([0.25, 0.25, 0.75])}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    pixels = (np.arange(40 * 60).reshape(40, 60) * 20).astype(np.uint16)
    film = Film(pixels, GreyWindow(0, 48000))
    write_explanation(tmp_path / "found", "x.png", film, ModelView(32), ROW, classes=["a", "b"])
    return tmp_path / "found"


def test_what_is_written_is_read_again(folder):
    found = ExplanationFiles.read(folder)
    assert found.film.dtype == np.uint8 and found.film.shape == (40, 60)
    assert found.film[-1, -1] == round(47980 / 48000 * 255)
    assert np.array_equal(found.saliency, ROW["saliency"])
    assert found.curves.tolist() == [[0, 0.75, 0.25], [0.5, 0.5, 0.25], [1, 0.25, 0.75]]
    assert (found.facts["image"], found.facts["width"], found.facts["height"]) == ("x.png", 60, 40)
    assert found.facts["classes"] == ["a", "b"] and found.facts["probability"] == 0.75


def test_the_overlay_is_the_film_where_nothing_is_salient_and_at_opacity_0(folder):
    found = ExplanationFiles.read(folder)
    assert np.array_equal(found.overlay(0), np.repeat(found.film[..., None], 3, 2))
    overlay = found.overlay(1)
    assert np.array_equal(overlay[:8, :12], np.repeat(found.film[:8, :12, None], 3, 2))
    assert np.ptp(overlay[-1, -1].astype(int)) > 20  # coloured in the salient corner


@pytest.mark.parametrize("name", [FILM, MAP, CURVES, FACTS])
@pytest.mark.parametrize("content", [None, b"", b"no such thing"])
def test_a_damaged_file_is_told(folder, name, content):
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(ExplanationError, match="no explanation that can be read"):
        ExplanationFiles.read(folder)


def test_a_pickled_map_is_never_loaded(folder):
    np.save(folder / MAP, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ExplanationError, match="no explanation that can be read"):
        ExplanationFiles.read(folder)

"""A detector that gives NaN, infinity or no boxes at all: the image is set aside by name, and is not free of text."""

import importlib.metadata

import numpy as np
import pytest

from xray_debug.data.boxes import TextBox, as_found
from xray_debug.data.images import write_image
from xray_debug.run.engine import run_here
from xray_debug.run.worker import EngineError
from xray_debug.text import DETECTORS, DetectWorker, boxes_table, load_detector

NAN, INFINITY = float("nan"), float("inf")
PLUGIN = """
import numpy as np
from xray_debug.data.boxes import TextBox


class Dark:
    '''Gives `bad` where a film is dark: as the score, or as a side of the box.'''

    name = "dark"

    def __init__(self, weights=None, bad="nan", place="score"):
        self.bad, self.place = float(bad), place

    def detect(self, images):
        return [[self.box(image.mean() < 50)] for image in images]

    def box(self, bad):
        side, score = (self.bad if bad and self.place == name else 4 for name in ("box", "score"))
        return TextBox(0, 0, side, 4, score)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "dark_detector.py").write_text(PLUGIN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    points = [importlib.metadata.EntryPoint("dark", "dark_detector:Dark", "xray_debug.detectors")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == DETECTORS.group else [])


def films(folder, levels) -> list[dict]:
    rows = []
    for i, level in enumerate(levels):
        write_image(folder / f"{i}.png", np.full((32, 32), level, np.uint8))
        rows.append({"image_id": f"{i}.png", "file": str(folder / f"{i}.png")})
    return rows


@pytest.mark.parametrize("place", ["score", "box"])
@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_a_film_for_which_a_plugin_gives_no_numbers_is_set_aside(plugin, tmp_path, bad, place):
    rows = films(tmp_path, [90, 10, 90, 90])
    found = run_here(DetectWorker("dark", options={"bad": bad, "place": place}), rows)
    assert [row["problem"] == "" for row in found] == [True, False, True, True]
    assert found[1]["problem"].startswith(f"{tmp_path / '1.png'}: the detector dark gives ")
    assert "\n" not in found[1]["problem"] and "finite" in found[1]["problem"]
    assert boxes_table(found, "dark")["image_id"].tolist() == ["0.png", "2.png", "3.png"]


def test_a_plugin_that_gives_no_numbers_for_any_film_is_one_sentence(plugin, tmp_path):
    rows = films(tmp_path, [10] * 9)
    with pytest.raises(EngineError, match=r"none of 9 images could be done, the first: .*0\.png: the detector dark"):
        run_here(DetectWorker("dark"), rows)


def test_a_network_that_gives_no_numbers_is_told_with_the_film(tmp_path):
    """The bundled detector, whose maps are NaN where a film is no plain grey."""
    worker = DetectWorker("craft-lite", reader=load_detector("craft-lite", precision="fp32"))
    forward = worker.reader.forward
    worker.reader.forward = lambda batch: forward(batch) * (NAN if batch.std() > 0.6 else 1)
    rows = films(tmp_path, [90, 90, 90])
    write_image(rows[1]["file"], np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8))
    found = [row["problem"] for row in run_here(Opened(worker), rows)]
    assert found == ["", f"{tmp_path / '1.png'}: the detector craft-lite gives NaN or infinity", ""]


class Opened:
    """A worker that is open already."""

    def __init__(self, worker):
        self.worker = worker

    def open(self) -> None: ...

    def __call__(self, rows):
        return self.worker(rows)


@pytest.mark.parametrize(("found", "words"), [
    ([TextBox(0, 0, NAN, 4)], "boxes must be finite numbers"),
    ([TextBox(0, -INFINITY, 4, 4)], "boxes must be finite numbers"),
    ([TextBox(0, 0, 4, 1e30)], "pixels of the image's corner"),
    ([TextBox(0, 0, 4, 4, NAN)], "score nan"),
    ([TextBox(0, 0, 4, 4, None)], "expected a TextBox"),
    ([TextBox(0, 0, 4, "x")], "expected a TextBox"),
    ([(0, 0, 4, 4)], "expected a TextBox"),
    ([None], "gives None: expected a TextBox"),
])  # fmt: skip
def test_what_is_no_box_is_told_with_the_detector(found, words):
    with pytest.raises(ValueError, match="the detector odd gives") as error:
        as_found(found, "odd")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_what_is_a_box_comes_in_whole_pixels():
    found = as_found([TextBox(1.5, 2, 3.2, np.int32(4), np.float32(0.5), "device"), TextBox(1, 2, 3, 4)], "odd")
    assert found == [TextBox(1, 2, 4, 4, 0.5, "device"), TextBox(1, 2, 3, 4)]
    assert all(type(value) is int for box in found for value in box.box) and type(found[0].score) is float


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_detector_that_forgets_images_is_told(tmp_path, count):
    class Forgets:
        name = "forgets"

        def detect(self, images):
            return [[]] * count

    with pytest.raises(ValueError, match=f"the detector forgets gives {count} lists of boxes for 2 images"):
        DetectWorker("forgets", reader=Forgets())(films(tmp_path, [1, 2]))

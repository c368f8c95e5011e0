"""clean.keep in the stages: refused before any work where nothing reads letters; what is read is written down."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from xray_debug.config import EngineConfig, parse_config
from xray_debug.data.images import write_image
from xray_debug.run.engine import Engine
from xray_debug.run.folder import RunError
from xray_debug.stages import letters
from xray_debug.stages.registry import check_options
from xray_debug.text import laterality


def asked(**options):
    return parse_config({"phantom": {}, "clean": {"keep": "laterality", **options}})


def test_without_the_extra_it_is_one_sentence_before_any_work(monkeypatch):
    monkeypatch.setattr(letters, "packages_of", lambda name: "not installed: rapidocr")
    with pytest.raises(ValueError, match=r"clean\.keep: laterality needs the extra ppocr.*\(missing: rapidocr\)"):
        check_options(asked())
    with pytest.raises(RunError):
        letters.check_keep(asked())
    letters.check_keep(parse_config({"phantom": {}}))  # nobody has asked


class ReadsR:
    def side(self, image, box):
        return "R" if image[box[1] : box[3], box[0] : box[2]].max() > 200 else ""


def test_what_was_read_is_written_down(tmp_path, monkeypatch):
    monkeypatch.setattr(laterality, "LetterReader", ReadsR)
    film = np.full((60, 80), 90, np.uint8)
    film[10:20, 10:20] = 255
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, film)
    (tmp_path / "c.png").write_bytes(b"no image")
    kept = {}
    store = SimpleNamespace(dataset_root=lambda: tmp_path, write_table=kept.__setitem__,
                            boxes=lambda: {"a.png": np.array([(8, 8, 22, 22), (50, 30, 60, 45)]),
                                           "c.png": np.array([(8, 8, 22, 22)])})  # fmt: skip
    engine = Engine(EngineConfig(workers=1))
    context = SimpleNamespace(store=store, config=asked(), engine=engine, scratch=tmp_path / "scratch",
                              say=kept.setdefault("said", []).append)  # fmt: skip
    names = ["a.png", "b.png", "c.png"]
    manifest = pd.DataFrame({"image_id": names, "sha256": "", "path": names})
    found = letters.kept_letters(context, manifest)
    assert {name: boxes.tolist() for name, boxes in found.items()} == {"a.png": [[8, 8, 22, 22]]}
    assert kept["letters"].to_dict("records") == [
        {"image_id": "a.png", "x0": 8, "y0": 8, "x1": 22, "y1": 22, "text": "R"}]  # fmt: skip
    assert kept["said"] == ["1 laterality letters in 1 images stay (clean.keep)"]
    context.config = parse_config({"phantom": {}})
    assert letters.kept_letters(context, manifest) == {}

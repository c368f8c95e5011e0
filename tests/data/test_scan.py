"""What is found out about a file, with one look at it."""

import pickle
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from covidx_fixture import picture

from xray_debug.config import ViewConfig
from xray_debug.data.hashes import perceptual_hash
from xray_debug.data.images import DECODES, ModelView, file_content, read_image, to_gray8, write_image
from xray_debug.data.likeness import outline, reduced
from xray_debug.data.scan import FACTS, ScanWorker, scan_image

VIEW = ViewConfig(size=16, crop_top=0.25)


def _facts(path):
    return {name: value for name, value in scan_image(path).items() if name != "outline"}


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "good.png", picture(1))
    write_image(tmp_path / "deep.tif", picture(2).astype(np.uint16) * 200)
    write_image(tmp_path / "black.png", np.full((30, 20), 7, np.uint8))
    (tmp_path / "text.png").write_bytes(b"no image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:-300])
    return tmp_path


def test_the_facts_of_a_file(folder):
    image, content = picture(1), (folder / "good.png").read_bytes()
    assert _facts(folder / "good.png") == {
        "width": 44, "height": 40, "bit_depth": 8, "sha256": sha256(content).hexdigest(), "problem": "",
        "phash": f"{perceptual_hash(image):016x}", "looks_like": ""}
    assert scan_image(folder / "deep.tif")["bit_depth"] == 16


def test_the_view_is_what_the_model_sees(folder):
    for name in ("good.png", "deep.tif"):
        facts = scan_image(folder / name, ModelView.from_config(VIEW))
        np.testing.assert_array_equal(facts.pop("outline"), outline(reduced(to_gray8(read_image(folder / name)))))
        wanted = ModelView.from_config(VIEW).apply(read_image(folder / name))
        np.testing.assert_array_equal(facts.pop("view"), wanted)
        assert facts == _facts(folder / name)


def test_faults_are_named_without_the_folder_and_have_an_empty_view(folder):
    for name, problem in (("none.png", "unreadable: no such file"), ("black.png", "blank: every pixel is 7"),
                          ("text.png", "unreadable: not an image"), ("cut.png", "unreadable: damaged or truncated")):
        facts = scan_image(folder / name, ModelView(16))
        assert facts["problem"].startswith(problem) and str(folder) not in facts["problem"]
        assert facts["view"].shape == (16, 16) and facts["view"].dtype == np.uint8 and not facts["view"].any()
        assert facts["phash"] == ""
    assert scan_image(folder / "black.png")["width"] == 20  # a blank image is known, a broken one is not
    assert _facts(folder / "text.png") == FACTS | {"problem": scan_image(folder / "text.png")["problem"]}


def test_a_file_is_read_once_and_decoded_once(folder, monkeypatch):
    read = []

    def spy(path):
        read.append(path)
        return file_content(path)

    monkeypatch.setattr("xray_debug.data.scan.file_content", spy)
    monkeypatch.setattr("xray_debug.data.images.file_content", spy)
    before = DECODES.total
    scan_image(folder / "good.png", ModelView(16))
    assert read == [folder / "good.png"] and DECODES.total == before + 1


def test_the_worker_gives_what_single_files_give(folder):
    worker = pickle.loads(pickle.dumps(ScanWorker(folder, VIEW.model_dump())))
    worker.open()
    names = ["deep.tif", "black.png", "good.png"]
    found = worker([{"image_id": name, "path": name} for name in names])
    for name, facts in zip(names, found, strict=True):
        alone = scan_image(Path(folder, name), ModelView.from_config(VIEW))
        np.testing.assert_array_equal(facts.pop("view"), alone.pop("view"))
        np.testing.assert_array_equal(facts.pop("outline"), alone.pop("outline"))
        assert facts == alone
    plain = ScanWorker(str(folder))
    plain.open()
    assert set(plain([{"path": "good.png"}])[0]) == {*FACTS, "outline"}

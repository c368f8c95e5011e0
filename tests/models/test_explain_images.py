"""explain-image: one film, or several by several methods, in one picture."""

import json

import numpy as np
import pytest
from PIL import Image
from training_fixture import CLASSES, tiny, toy

from xray_debug.config import ConfigError
from xray_debug.data.images import ImageError
from xray_debug.models import save_checkpoint
from xray_debug.models.explain_images import MOST, Way, explain_images, presets_of, ways_of

IGOS, QUICK = Way("igos_pp"), Way("igos_pp", "quick")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_checkpoint(tiny(3, classes=3), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    names = [tmp_path_factory.mktemp("films") / name for name in ("a.png", "b.png")]
    for name, image in zip(names, toy(2)[0], strict=True):
        Image.fromarray(image).resize((80, 64)).save(name)
    return names


def test_one_image_one_picture(folder, films, tmp_path):
    out = tmp_path / "out.png"
    (line,) = explain_images(films[:1], folder, [IGOS], None, out, mask_size=4)
    assert line.split(" ")[0] in CLASSES and "deletion" in line and "insertion" in line
    with Image.open(out) as picture:
        assert picture.size == (1352, 357)
    (asked,) = explain_images(films[:1], folder, [IGOS], CLASSES[2], out, mask_size=4)
    assert asked.startswith(CLASSES[2])
    with pytest.raises(ConfigError, match="ending in .png"):
        explain_images(films[:1], folder, [IGOS], None, tmp_path / "out.jpg")


def test_several_images_and_ways_side_by_side(folder, films, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("xray_debug.models.explain_images.compare_figure", lambda rows, path: drawn.extend(rows))
    ways = [QUICK, Way("gradient"), Way("gradcam")]
    lines = explain_images(films, folder, ways, None, tmp_path / "out.png", mask_size=4)
    assert [line.partition(":")[0] for line in lines] == [f"{film.name}, {way.name}" for way in ways for film in films]
    assert [row.title for row in drawn] == ["a.png", "b.png"]
    for number, row in enumerate(drawn):
        assert [found.name for found in row.maps] == ["igos_pp quick", "gradient", "gradcam"]
        for way, found in zip(ways, row.maps, strict=True):
            monkeypatch.setattr("xray_debug.models.explain_images.explain_figure", lambda view, *given: given)
            (alone,) = explain_images(films[number : number + 1], folder, [way], None, tmp_path / "x.png", mask_size=4)
            assert f"deletion {found.deletion:.3f}, insertion {found.insertion:.3f}" in alone
            assert alone.startswith(row.caption)  # the same class and probability in each column
            assert np.ptp(found.saliency) > 0


def test_masks_that_hardly_moved_are_named(folder, films, tmp_path, monkeypatch):
    monkeypatch.setattr(Way, "options", property(lambda way: {"area_weight": 1e4}))
    (line,) = explain_images(films[:1], folder, [IGOS], None, tmp_path / "out.png", mask_size=4)
    assert line.endswith(", the masks hardly moved")


def test_a_film_that_says_no_more_than_its_blurred_one_is_named(folder, tmp_path):
    film = tmp_path / "even.png"
    Image.fromarray(np.full((40, 40), 90, np.uint8)).save(film)
    (line,) = explain_images([film], folder, [Way("gradient")], None, tmp_path / "out.png", mask_size=4)
    probability = line.split(" ")[1]
    assert f" {probability} (blurred {probability}), deletion {probability}, insertion {probability}, " in line
    assert line.endswith(", the blurred film says about the same: there is nothing to explain")


def test_ways():
    assert ways_of(["igos_pp"], []) == [IGOS]
    assert ways_of(["igos_pp", "gradcam", "igos_pp"], ["default", "quick"]) == [
        Way("igos_pp", "default"), QUICK, Way("gradcam")]  # fmt: skip
    with pytest.raises(ConfigError, match="rise does not take preset; it takes"):
        ways_of(["rise", "gradient"], ["paper"])
    with pytest.raises(ConfigError, match="preset: expected one of .* got 'papre'"):
        ways_of(["igos_pp"], ["papre"])
    with pytest.raises(ConfigError, match="explain.method: unknown explanation method 'grad'"):
        ways_of(["igos_pp", "grad"], [])


def test_a_film_that_cannot_be_read_is_named(folder, films, tmp_path):
    (tmp_path / "no.png").write_bytes(b"no picture")
    for name, words in (("no.png", "no.png"), ("absent.png", "absent.png: no such file")):
        with pytest.raises(ImageError, match=words):
            explain_images([films[0], tmp_path / name], folder, [IGOS], None, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_too_many_images(folder, films, tmp_path):
    with pytest.raises(ConfigError, match=f"images: expected 1 to {MOST}, got {MOST + 1}"):
        explain_images([films[0]] * (MOST + 1), folder, [IGOS], None, tmp_path / "out.png")


def test_map_curves_and_facts_as_files(folder, films, tmp_path):
    told = []
    (line,) = explain_images(films[:1], folder, [QUICK], CLASSES[1], tmp_path / "out.png", mask_size=4,
                             data=tmp_path / "data", progress=lambda *call: told.append(call))  # fmt: skip
    facts = json.loads((tmp_path / "data" / "explanation.json").read_text())
    assert (facts["image"], facts["width"], facts["height"]) == ("a.png", 80, 64)
    assert (facts["target"], facts["method"], facts["preset"], facts["mask_size"]) == (
        CLASSES[1], "igos_pp", "quick", 4)  # fmt: skip
    assert facts["probabilities"][1] == pytest.approx(facts["probability"], abs=1e-5)
    assert sum(facts["probabilities"]) == pytest.approx(1, abs=1e-5) and facts["classes"] == CLASSES
    assert facts["view"]["size"] == 32
    assert f"deletion {facts['deletion']:.3f}, insertion {facts['insertion']:.3f}" in line
    saliency = np.load(tmp_path / "data" / "map.npy", allow_pickle=False)
    assert saliency.shape == (4, 4) and 0 <= saliency.min() < saliency.max() <= 1
    curves = np.loadtxt(tmp_path / "data" / "curves.csv", delimiter=",", skiprows=1)
    assert curves.shape == (51, 3) and curves[[0, -1], 0].tolist() == [0, 1]
    for column, name in ((1, "deletion"), (2, "insertion")):
        area = float(((curves[1:, column] + curves[:-1, column]) / 2 * np.diff(curves[:, 0])).sum())
        assert area == pytest.approx(facts[name], abs=1e-4)
    assert curves[0, 1] == pytest.approx(facts["probability"], abs=1e-5)  # nothing is deleted yet
    with Image.open(tmp_path / "data" / "film.png") as film, Image.open(films[0]) as original:
        assert np.array_equal(np.asarray(film), np.asarray(original))
    assert told == [("load the model", 0, 1), ("igos_pp", 1, 2), ("igos_pp", 2, 2), ("deletion and insertion", 0, 1)]


def test_files_of_one_map_alone_and_in_a_new_folder(folder, films, tmp_path):
    with pytest.raises(ConfigError, match="expected one image and one method, got 2 and 1"):
        explain_images(films, folder, [QUICK], None, tmp_path / "out.png", data=tmp_path / "data")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        explain_images(films[:1], folder, [QUICK], None, tmp_path / "out.png", data=tmp_path / "full")


def test_a_large_film_is_kept_small(folder, tmp_path):
    Image.fromarray(np.arange(3000 * 40, dtype=np.uint32).astype(np.uint8).reshape(40, 3000)).save(tmp_path / "w.png")
    explain_images([tmp_path / "w.png"], folder, [QUICK], None, tmp_path / "o.png", mask_size=4, data=tmp_path / "d")
    with Image.open(tmp_path / "d" / "film.png") as film:
        assert film.size == (2048, 27)
    facts = json.loads((tmp_path / "d" / "explanation.json").read_text())
    assert (facts["width"], facts["height"]) == (3000, 40)


def test_presets():
    assert presets_of("igos_pp") == presets_of("igos") == ["default", "paper", "quick"]
    assert presets_of("gradcam") == []

"""The pictures that the browser is sent, each against what it stands for."""

import threading

import cv2
import numpy as np
import pytest
from review_fixture import write_run

from xray_debug.cleaning.erase import clean_image, spared
from xray_debug.config import CleanConfig
from xray_debug.data.images import Film, GreyWindow, to_gray8
from xray_debug.data.overlay import heat_overlay
from xray_debug.data.view import ModelView
from xray_debug.review.pictures import Pictures, cleaned_layer, heat_layer, layers_of, png, thumbnail
from xray_debug.review.view import ViewError, load_run


def decoded(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_films_png_is_the_film_bit_for_bit():
    film = np.random.default_rng(0).integers(0, 256, (41, 67), np.uint8)
    assert (decoded(png(film)) == film).all()
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    assert (decoded(png(colours)) == colours[..., [2, 1, 0, 3]]).all()


@pytest.mark.parametrize("kind", ["grey", "sixteen", "colour"])
def test_film_and_patch_together_are_the_cleaned_film(kind):
    rng = np.random.default_rng(1)
    pixels = {"grey": rng.integers(0, 256, (90, 120), np.uint8), "sixteen": rng.integers(0, 4000, (90, 120), np.uint16),
              "colour": rng.integers(0, 256, (90, 120, 3), np.uint8)}[kind]  # fmt: skip
    film, config, boxes = Film(pixels, GreyWindow.of(pixels)), CleanConfig(), [[10, 20, 40, 33], [80, 60, 119, 88]]
    layer, (x, y) = cleaned_layer(film, boxes, config)
    laid, place = film.gray.copy(), (slice(y, y + layer.shape[0]), slice(x, x + layer.shape[1]))
    laid[place] = np.where(layer[..., 3] == 255, layer[..., 0], laid[place])
    cleaned, region = clean_image(pixels, boxes, config)
    assert (laid == to_gray8(cleaned, film.window)).all()
    assert set(np.unique(layer[..., 3])) <= {0, 255} and (layer[..., 3] == 255).sum() == region.sum()


def test_a_letter_that_stays_is_not_laid_over():
    """A box grows by a margin, which ends where a kept letter begins, as in the cleaned files."""
    pixels = np.random.default_rng(3).integers(0, 256, (60, 90), np.uint8)
    film, boxes, kept = Film(pixels, GreyWindow.of(pixels)), [[20, 20, 40, 40]], [[41, 20, 60, 40]]
    config = CleanConfig(dilation=0.2, min_dilation=3)
    layer, (x, y) = cleaned_layer(film, boxes, config, kept)
    laid = np.zeros(pixels.shape, bool)
    laid[y : y + layer.shape[0], x : x + layer.shape[1]] = layer[..., 3] == 255
    region = clean_image(pixels, boxes, config)[1]
    assert region[20:40, 41:60].any() and not laid[20:40, 41:60].any()
    assert (laid == spared(pixels, pixels, region, boxes, kept)[1]).all()


def test_without_boxes_nothing_is_laid_and_a_film_that_cannot_be_cleaned_says_so():
    film = Film(np.zeros((20, 30), np.uint8), GreyWindow())
    assert cleaned_layer(film, [], CleanConfig())[0].size == 0
    with pytest.raises(ValueError, match="nothing is left to fill it in from"):
        cleaned_layer(film, [[0, 0, 30, 20]], CleanConfig())


@pytest.mark.parametrize("opacity", [0.3, 1.0])
def test_heat_over_the_film_is_the_overlay_of_everywhere_else(opacity):
    rng = np.random.default_rng(2)
    film, saliency = rng.integers(0, 256, (96, 128), np.uint8), rng.random((7, 7), np.float32) * 0.6
    layer = heat_layer(saliency, ModelView(64), 96, 128).astype(float)
    alpha = opacity * layer[..., 3:] / 255
    laid = (1 - alpha) * film[..., None] + alpha * layer[..., :3]
    assert np.abs(laid - heat_overlay(film, ModelView(64).map_to_image(saliency, 96, 128), opacity)).max() < 2


def test_heat_is_where_the_model_sees_and_nowhere_else():
    layer = heat_layer(np.ones((5, 5), np.float32), ModelView(64, crop_top=0.25), 80, 100)
    assert (layer[:20, :, 3] == 0).all() and (layer[20:, :, 3] == 255).all()
    assert max(heat_layer(np.ones((5, 5), np.float32), ModelView(64), 3000, 40).shape) == 512


def test_a_thumbnail_keeps_the_shape_and_shows_the_boxes():
    small = thumbnail(np.full((50, 100), 90, np.uint8), np.array([[20, 10, 60, 30]]))
    assert small.shape == (150, 150, 3) and (small[:37] == 0).all() and (small[75, 5] == 90).all()
    assert (small[37 + 15, 40] == (255, 64, 200)).all()


def test_a_damaged_map_is_a_problem_of_its_own(tmp_path):
    store = write_run(tmp_path / "run")
    run = load_run(store)
    assert layers_of(run, "a.png").heat is not None and layers_of(run, "c.png").heat is None
    assert layers_of(run, "c.png").map_problem == ""
    next(store.path("maps").iterdir()).write_bytes(b"no table")
    layers = layers_of(load_run(store), "a.png")
    assert layers.heat is None and "a.png is damaged" in layers.map_problem and layers.picture


def test_what_is_kept_is_bounded_and_made_once(tmp_path):
    run, pictures = load_run(write_run(tmp_path / "run")), Pictures(most=60)
    made = []

    def make(name: str) -> bytes:
        made.append(name)
        return name.encode() * 20

    for name in "abcabdc":  # three fit; d takes the place of c, which was used longest ago
        pictures.get(name, lambda name=name: make(name))
    assert made == list("abcdc") and pictures.kept == 60
    assert Pictures().cleaned(run, "a.png", [[5, 6, 20, 16]]).at == (3, 4)


def test_two_threads_that_want_the_same_get_the_same():
    pictures, found = Pictures(), []
    threads = [threading.Thread(target=lambda: found.append(pictures.get("a", lambda: b"x" * 10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"x" * 10] * 8 and pictures.kept == 10


def test_the_next_pictures_are_made_ahead_and_a_fault_waits_until_it_is_asked_for(tmp_path):
    run, pictures = load_run(write_run(tmp_path / "run")), Pictures()
    pictures.ahead(run, {"a.png": [[5, 6, 20, 16]], "damaged.png": []})
    pictures._ahead.shutdown(wait=True)
    assert pictures.kept > 0
    with pytest.raises(ValueError, match="damaged.png"):
        pictures.layers(run, "damaged.png")
    with pytest.raises(ViewError):
        pictures.layers(load_run(_leading_out(tmp_path)), "a.png")


def _leading_out(tmp_path):
    store = write_run(tmp_path / "out")
    store.write_table("manifest", store.manifest().assign(path="../x.png"))
    return store

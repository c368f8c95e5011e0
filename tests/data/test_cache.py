"""The image cache: decoded once, resumed, and never stopped by a bad image."""

import cv2
import numpy as np
import pytest

from xray_debug.data import cache as dataset
from xray_debug.data.cache import build_cache
from xray_debug.data.images import ModelView, read_image

VIEW = ModelView(32)


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{i}.png" for i in range(7)]
    for file in files:
        cv2.imwrite(str(file), rng.integers(0, 256, (40, 50), dtype=np.uint8))
    return files


@pytest.fixture
def decoded(monkeypatch):
    """The paths that were decoded, in order."""
    seen = []

    def spy(path):
        seen.append(path)
        return read_image(path)

    monkeypatch.setattr(dataset, "read_image", spy)
    return seen


def test_rows_are_what_the_model_sees(paths, tmp_path):
    images, problems = build_cache(paths, VIEW, tmp_path / "c" / "cache.npy")
    assert images.shape == (7, 32, 32) and images.dtype == np.uint8 and not problems
    for path, row in zip(paths, images, strict=True):
        np.testing.assert_array_equal(row, VIEW.apply(read_image(path)))
    assert isinstance(images, np.memmap) and not images.flags.writeable


def test_a_second_call_decodes_nothing(paths, tmp_path, decoded):
    first, _ = build_cache(paths, VIEW, tmp_path / "cache.npy")
    assert sorted(decoded) == paths
    decoded.clear()
    seen = []
    second, _ = build_cache(paths, VIEW, tmp_path / "cache.npy", progress=lambda *a: seen.append(a))
    assert not decoded and seen == [(7, 7)]
    np.testing.assert_array_equal(first, second)


def test_only_a_changed_image_is_decoded_again(paths, tmp_path, decoded):
    build_cache(paths, VIEW, tmp_path / "cache.npy")
    decoded.clear()
    cv2.imwrite(str(paths[3]), np.full((30, 30), 77, np.uint8))
    images, _ = build_cache(paths, VIEW, tmp_path / "cache.npy")
    assert decoded == [paths[3]]
    assert (images[3] == 77).all()


@pytest.mark.parametrize("change", ["view", "order"])
def test_another_view_or_list_starts_again(paths, tmp_path, decoded, change):
    build_cache(paths, VIEW, tmp_path / "cache.npy")
    decoded.clear()
    view, files = (ModelView(32, crop_top=0.1), paths) if change == "view" else (VIEW, paths[::-1])
    images, _ = build_cache(files, view, tmp_path / "cache.npy")
    assert len(decoded) == 7
    np.testing.assert_array_equal(images[0], view.apply(read_image(files[0])))


def test_an_interrupted_build_goes_on(paths, tmp_path, decoded, monkeypatch):
    monkeypatch.setattr(dataset, "SAVE_EVERY", 2)

    def stop(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cache(paths, VIEW, tmp_path / "cache.npy", workers=1, progress=stop)
    decoded.clear()
    images, problems = build_cache(paths, VIEW, tmp_path / "cache.npy")
    assert sorted(decoded) == paths[4:] and not problems
    for path, row in zip(paths, images, strict=True):
        np.testing.assert_array_equal(row, VIEW.apply(read_image(path)))


def test_bad_images_are_named_and_stop_nothing(paths, tmp_path):
    paths[1].write_bytes(b"not an image")
    paths[4].unlink()
    for _ in range(2):  # the second call knows it from the index
        images, problems = build_cache(paths, VIEW, tmp_path / "cache.npy")
        assert list(problems) == [1, 4]
        assert all(str(paths[i]) in text and "\n" not in text for i, text in problems.items())
        assert not images[1].any() and not images[4].any() and images[0].any()
    cv2.imwrite(str(paths[4]), np.full((9, 9), 200, np.uint8))
    images, problems = build_cache(paths, VIEW, tmp_path / "cache.npy")
    assert list(problems) == [1] and (images[4] == 200).all()


def test_a_damaged_index_or_array_is_built_again(paths, tmp_path, decoded):
    file = tmp_path / "cache.npy"
    build_cache(paths, VIEW, file)
    for broken, content in ((file.with_suffix(".json"), b"[1, 2"), (file, b"\x93NUMPY"), (file, b"")):
        broken.write_bytes(content)
        decoded.clear()
        images, _ = build_cache(paths, VIEW, file)
        assert len(decoded) == 7
        np.testing.assert_array_equal(images[6], VIEW.apply(read_image(paths[6])))


def test_no_images_and_a_wrong_name(tmp_path):
    images, problems = build_cache([], VIEW, tmp_path / "cache.npy")
    assert images.shape == (0, 32, 32) and problems == {}
    with pytest.raises(ValueError, match="cache.bin: expected the name of a .npy file"):
        build_cache([], VIEW, tmp_path / "cache.bin")

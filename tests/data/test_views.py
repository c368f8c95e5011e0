"""Views on disk are the array they were cut from, and nothing more is read or kept open than asked."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.data import views as module
from xray_debug.data.views import Views

RNG = np.random.default_rng(0)


def write_parts(folder, array, length):
    files = []
    for start in range(0, max(len(array), 1), length):
        files.append(folder / f"part-{len(files):06d}.view.npy")
        np.save(files[-1], array[start:start + length])
    return files


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """(count, length) -> (array, Views of it cut into parts of `length`), each made once."""
    made = {}

    def make(count, length):
        if (count, length) not in made:
            array = RNG.integers(0, 256, (count, 3, 3), dtype=np.uint8)
            made[count, length] = array, Views(write_parts(tmp_path_factory.mktemp("parts"), array, length))
        return made[count, length]

    return make


sizes = st.tuples(st.integers(1, 12), st.integers(1, 5))


def indices(count):
    number = st.integers(-count, count - 1)
    bound = st.none() | st.integers(-count - 2, count + 2)
    many = st.lists(number, max_size=2 * count)
    return st.one_of(
        number, number.map(np.int64), st.builds(slice, bound, bound, st.none() | st.sampled_from([-3, -1, 1, 2])),
        many, many.map(lambda rows: np.array(rows, np.int64)), many.map(lambda rows: np.array(rows, np.int32)),
        st.lists(st.booleans(), min_size=count, max_size=count).map(np.array),
        st.just(np.arange(count).reshape(1, -1)))


@settings(max_examples=300, deadline=None)
@given(sizes, st.data())
def test_indexing_is_numpy_indexing(cut, size, data):
    array, views = cut(*size)
    index = data.draw(indices(size[0]))
    plain = np.array(index, np.int64) if isinstance(index, list) and not index else index
    assert (len(views), views.shape, views.dtype) == (len(array), array.shape, array.dtype)
    for some in (views, Views.of(array)):
        found = some[index]
        assert isinstance(found, np.ndarray) and found.dtype == np.uint8
        np.testing.assert_array_equal(found, array[plain])
        assert found.shape == array[plain].shape


@settings(max_examples=100, deadline=None)
@given(sizes, st.data())
def test_rows_are_views_again(cut, size, data):
    array, views = cut(*size)
    first = data.draw(indices(size[0]).filter(lambda index: np.ndim(np.arange(size[0])[index]) == 1))
    array, views = array[first], views.rows(first)
    assert views.shape == array.shape
    np.testing.assert_array_equal(views[:], array)
    np.testing.assert_array_equal(np.array(list(views)).reshape(array.shape), array)
    if len(array):
        second = data.draw(indices(len(array)).filter(lambda index: not isinstance(index, list)))
        np.testing.assert_array_equal(views[second], array[second])


@settings(max_examples=30, deadline=None)
@given(sizes, st.data())
def test_the_digest_is_of_the_bytes_however_they_are_cut(cut, size, data):
    array, views = cut(*size)
    rows = data.draw(st.lists(st.integers(0, size[0] - 1)))
    for chosen, expected in ((None, array), (rows, array[np.array(rows, np.int64)])):
        wanted = hashlib.blake2b(expected.tobytes(), digest_size=16).hexdigest()
        assert views.digest(chosen) == Views.of(array).digest(chosen) == wanted
        assert (views if chosen is None else views.rows(chosen)).digest() == wanted


def test_blocks_join_seamlessly(cut, monkeypatch):
    array, views = cut(11, 4)
    whole = views.digest()
    monkeypatch.setattr(module, "BLOCK", 3)
    assert views.digest() == whole
    np.testing.assert_array_equal(list(views), array)


def test_pickled_views_read_the_same_files(cut):
    array, views = cut(9, 4)
    again = pickle.loads(pickle.dumps(views))
    np.testing.assert_array_equal(again[:], array)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(views.rows([7, 0])))[:], array[[7, 0]])
    assert len(pickle.dumps(views)) < 2000  # names, not rows
    big = Views.of(np.zeros((400, 50, 50), np.uint8))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(big))[3], big[3])


def test_no_more_is_read_than_asked_and_no_file_stays_open(cut, monkeypatch):
    _, views = cut(12, 5)
    seen, opened = [], []
    fill = module._fill

    def spy(file, target):
        seen.append(target.size)
        opened.append(file)
        fill(file, target)

    monkeypatch.setattr(module, "_fill", spy)
    views.rows([1, 2])
    assert not seen
    views[[3, 4, 5]]
    assert seen == [2 * 9, 9]  # neighbours in one part are one read
    views[::6]
    assert sum(seen) == 5 * 9 and all(file.closed for file in opened)


def test_what_comes_out_is_the_callers_own(cut):
    array, views = cut(6, 4)
    for some in (views, Views.of(array)):
        before = array.copy()
        some[1:3][...] = 0
        some[0][...] = 0
        np.testing.assert_array_equal(array, before)
        np.testing.assert_array_equal(some[:], before)


@pytest.mark.parametrize("index", [6, -7, [0, 6], np.ones(5, bool), (0, 0), 1.5])
def test_what_is_no_row_is_an_index_error(cut, index):
    _, views = cut(6, 4)
    with pytest.raises(IndexError):
        views[index]


def test_rows_need_one_axis(cut):
    with pytest.raises(IndexError, match="one axis"):
        cut(6, 4)[1].rows(3)


def test_files_that_are_no_views_are_named(tmp_path):
    with pytest.raises(ValueError, match="at least one file"):
        Views([])
    for name, array in (("float", np.zeros((2, 3, 3))), ("flat", np.zeros((2, 3), np.uint8)),
                        ("order", np.zeros((2, 3, 4), np.uint8, order="F"))):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(ValueError, match=f"{name}.npy: expected"):
            Views([tmp_path / f"{name}.npy"])
    (tmp_path / "text.npy").write_text("hello, this is no array")
    with pytest.raises(ValueError, match="text.npy: not an .npy file"):
        Views([tmp_path / "text.npy"])
    with pytest.raises(FileNotFoundError):
        Views([tmp_path / "none.npy"])
    with pytest.raises(ValueError, match="expected uint8"):
        Views.of(np.zeros((2, 3, 3)))


def test_parts_that_do_not_fit_each_other_are_named(tmp_path):
    array = RNG.integers(0, 256, (9, 3, 3), dtype=np.uint8)
    files = write_parts(tmp_path, array, 3)
    np.save(files[1], array[:2])
    views = Views(files)
    np.testing.assert_array_equal(views[[0, 8]], array[[0, 8]])
    with pytest.raises(ValueError, match=r"part-000001.view.npy: expected 155 bytes \(3 views\), got 146"):
        views[:]
    np.save(files[2], array[:4])
    with pytest.raises(ValueError, match="part-000002.view.npy: expected at most 3 views"):
        Views(files)


def test_no_image_at_all(tmp_path):
    for views in (Views(write_parts(tmp_path, np.zeros((0, 4, 4), np.uint8), 3)), Views.of(np.zeros((0, 4, 4), "u1"))):
        assert len(views) == 0 and views.shape == (0, 4, 4)
        assert views[:].shape == views[[]].shape == (0, 4, 4) and list(views) == []
        assert views.digest() == hashlib.blake2b(digest_size=16).hexdigest()

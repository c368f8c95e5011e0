"""Finding label files and images in a folder."""

import os

import pytest
from covidx_fixture import make_dataset, picture

from xray_debug.config import PrepareConfig
from xray_debug.data.formats.covidx import Covidx, LabelError, find_dataset, find_split
from xray_debug.data.formats.covidx_files import ImageFolder
from xray_debug.data.images import write_image


def test_the_usual_layout(tmp_path):
    files = find_dataset(make_dataset(tmp_path / "d"))
    root = tmp_path / "d"
    assert files.splits == {"train": (root / "train_COVIDx.txt", root / "train"),
                            "test": (root / "test_COVIDx.txt", root / "test")}


def test_data_and_labels_folders_and_other_names(tmp_path):
    root = make_dataset(tmp_path / "d")
    for folder in ("data", "labels"):
        (root / folder).mkdir()
    (root / "train").rename(root / "data" / "train")
    (root / "test").rename(root / "competition_test")
    (root / "train_COVIDx.txt").rename(root / "labels" / "Train_covidx9B.TXT")
    (root / "test_COVIDx.txt").rename(root / "test.txt")
    (root / "README.txt").write_text("train and test")
    files = find_dataset(root)
    assert files.splits["train"] == (root / "labels" / "Train_covidx9B.TXT", root / "data" / "train")
    assert files.splits["test"] == (root / "test.txt", root / "competition_test")


def test_of_two_test_folders_the_one_with_the_images(tmp_path):
    root = make_dataset(tmp_path / "d")
    (root / "test").rename(root / "competition_test")
    (root / "test").mkdir()
    assert find_dataset(root).splits["test"][1] == root / "competition_test"


def test_a_dataset_with_its_own_val(tmp_path):
    root = make_dataset(tmp_path / "d")
    (root / "val").mkdir()
    assert "val" not in find_dataset(root).splits
    (root / "val.txt").write_text("9 v.png normal\n")
    assert find_dataset(root).splits["val"] == (root / "val.txt", root / "val")


def test_several_label_files_need_a_choice(tmp_path):
    root = make_dataset(tmp_path / "d")
    (root / "train_COVIDx8A.txt").write_text("1 a.png normal\n")
    with pytest.raises(LabelError) as caught:
        find_dataset(root)
    for part in ("train_COVIDx.txt", "train_COVIDx8A.txt", "prepare.train_labels"):
        assert part in str(caught.value)
    assert find_dataset(root, train_labels="train_COVIDx8A.txt").splits["train"][0] == root / "train_COVIDx8A.txt"


@pytest.mark.parametrize("given", ["../own.txt", "absolute", "labels/../../own.txt", "../d/../own.txt"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_label_file_outside_the_dataset_is_refused(tmp_path, split, given):
    """What lies there is in no fingerprint: edited labels would stay up to date."""
    root = make_dataset(tmp_path / "d")
    (root / "labels").mkdir()
    (tmp_path / "own.txt").write_text((root / f"{split}_COVIDx.txt").read_text())
    given = str(tmp_path / "own.txt") if given == "absolute" else given
    with pytest.raises(LabelError, match=f"prepare.{split}_labels: expected a file inside the dataset"):
        find_dataset(root, **{f"{split}_labels": given})
    inside = str(root / f"{split}_COVIDx.txt")
    assert find_dataset(root, **{f"{split}_labels": inside}).splits[split][0] == root / f"{split}_COVIDx.txt"


@pytest.mark.parametrize("name", ["train", "Train", "test", "TEST", "", ".", "..", "a/b", "a\\b", "C:x", "a\0b"])
def test_a_further_test_set_has_a_name_that_can_be_a_folder_of_its_own(tmp_path, name):
    """prepare says so, and not stage clean, hours later."""
    root = make_dataset(tmp_path / "d")
    with pytest.raises(LabelError, match="prepare.extra_tests: expected a plain name other than train and test"):
        Covidx().rows(root, PrepareConfig(extra_tests={name: "."}))
    assert Covidx().rows(root, PrepareConfig(extra_tests={"again": "."}))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(LabelError, match="no such dataset folder"):
        find_dataset(tmp_path / "none")
    root = make_dataset(tmp_path / "d")
    with pytest.raises(LabelError, match="prepare.test_labels: no label file nope.txt"):
        find_dataset(root, test_labels="nope.txt")
    (root / "test").rename(root / "elsewhere")
    with pytest.raises(LabelError, match="no image folder for test, expected test or data/test"):
        find_dataset(root)
    (root / "test_COVIDx.txt").unlink()
    with pytest.raises(LabelError, match=r"no label file for test, expected \*test\*COVIDx\*.txt"):
        find_dataset(root)
    assert find_split(root, "test") is None


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train").mkdir()
    for name in ("COVID-1.png", "A.PNG", "b.jpeg", "two words.png", "c.png", "c.jpg", "C-1.png", "C_1.png"):
        write_image(tmp_path / "train" / name, picture(0))
    return ImageFolder(tmp_path / "train", tmp_path)


@pytest.mark.parametrize(("written", "found", "differs"), [
    ("COVID-1.png", "COVID-1.png", ""), ("COVID(1).png", "COVID-1.png", "brackets"),
    ("COVID 1.png", "COVID-1.png", "brackets"),
    ("a.png", None, ""), ("A.png", "A.PNG", "case of the suffix"), ("b.png", "b.jpeg", "the suffix"),
    ("b", "b.jpeg", "the suffix"), ("two_words.jpg", "two words.png", "and the suffix"), ("d.png", None, "")])
def test_names_are_resolved_by_declared_rules_only(folder, written, found, differs):
    name, problem, note = folder.resolve(written)
    assert name == found
    assert (problem == "") == (found is not None)
    assert differs in note and (note == "") == (differs == "")


def test_several_fitting_files_are_a_problem(folder):
    assert folder.resolve("c.tif")[1] == "missing: no file c.tif in train/, and several fit: c.jpg, c.png"
    assert folder.resolve("C(1).png")[1].endswith("several fit: C-1.png, C_1.png")
    assert folder.resolve("c.png") == ("c.png", "", "")


def test_links_may_not_leave_the_dataset(tmp_path):
    root = make_dataset(tmp_path / "d")
    write_image(tmp_path / "secret.png", picture(5))
    os.symlink(tmp_path / "secret.png", root / "train" / "out.png")
    os.symlink(root / "test" / "test-000.png", root / "train" / "in.png")
    images = ImageFolder(root / "train", root)
    assert images.resolve("out.png") == (None, "outside: the link leaves the dataset", "")
    assert images.resolve("out.jpg")[0] is None
    assert images.resolve("in.png") == ("in.png", "", "")

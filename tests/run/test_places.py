import os

import pytest

from xray_debug.run.folder import Run, RunError
from xray_debug.run.places import check_place, is_run

STAGES = ["prepare", "train"]


def contents(folder) -> dict:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def data(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        (tmp_path / "data" / split / "film.png").write_bytes(b"film")
    return tmp_path / "data"


def at(tmp_path, data, place):
    """The folders that a person could give as --out."""
    if place == "through a link":
        (tmp_path / "link").symlink_to(data, target_is_directory=True)
        return tmp_path / "link" / "run"
    if place == "the target of a link in the data":
        (tmp_path / "elsewhere").mkdir()
        (data / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        return tmp_path / "elsewhere" / "run"
    return {"the data": data, "in the data": data / "runs" / "x", "around the data": tmp_path,
            "with dots": data / "train" / ".." , "its folder of a split": data / "train"}[place]  # fmt: skip


@pytest.mark.parametrize("place", ["the data", "in the data", "around the data", "with dots", "its folder of a split",
                                   "through a link", "the target of a link in the data"])  # fmt: skip
def test_an_output_on_an_input_is_refused_untouched(tmp_path, data, place):
    out, before = at(tmp_path, data, place), contents(tmp_path)
    with pytest.raises(RunError, match="lies on, in or around the dataset"):
        check_place(out, data, STAGES)
    assert contents(tmp_path) == before and not (tmp_path / "data" / "runs").exists()


def test_a_folder_that_holds_something_else_is_refused(tmp_path, data):
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "pipeline.yaml").write_text("mine")
    with pytest.raises(RunError, match="papers: is neither empty nor a run folder"):
        check_place(tmp_path / "papers", data, STAGES)
    with pytest.raises(RunError, match="expected a folder, found a file"):
        check_place(tmp_path / "papers" / "pipeline.yaml", data, STAGES)


def test_new_empty_and_run_folders_are_taken(tmp_path, data):
    run = tmp_path / "run"
    check_place(run, data, STAGES)
    run.mkdir()
    check_place(run, data, STAGES)
    with Run(run).locked():
        (run / "pipeline.yaml").write_text("")
    assert is_run(run, STAGES)
    check_place(run, data, STAGES)
    check_place(tmp_path / "data-2", data, STAGES)  # its name begins as the data's does


def test_what_is_read_may_not_lie_where_a_stage_is_replaced(tmp_path, data):
    run = tmp_path / "run"
    with Run(run).locked():
        (run / "train").mkdir()
    (run / "train" / "boxes.csv").write_text("")
    with pytest.raises(RunError, match=r"audit.regions: .*boxes.csv lies in a folder that a stage"):
        check_place(run, data, STAGES, {"audit.regions": run / "train" / "boxes.csv"})
    check_place(run, data, STAGES, {"audit.regions": tmp_path / "boxes.csv"})


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_what_a_run_makes_is_its_users_alone(tmp_path):
    before = os.umask(0o022)
    try:
        run = Run(tmp_path / "run")
        with run.locked(part=(1, 2)):
            run.log("began")
            (run.folder / "table").write_text("patients")
            (run.folder / "folder").mkdir()
        (tmp_path / "after").write_text("")
    finally:
        os.umask(before)
    assert all(not path.stat().st_mode & 0o077 for path in (run.folder, *run.folder.rglob("*")))
    assert (tmp_path / "after").stat().st_mode & 0o044  # as it was before

"""The pages beside that of the cases, in a browser, with the real programs: way in, end, one image explained."""

import os
from pathlib import Path

import pytest
from browser_fixture import grave_faults
from cli_fixture import call
from review_run_fixture import add_audit, add_found, drawn_films, pipeline, write_dataset
from review_server_fixture import ROOT, WAIT, Case, Server

from xray_debug.config import dump_config
from xray_debug.data.files import write_json, write_text
from xray_debug.review.behind import behind
from xray_debug.review.decisions import ReviewDB
from xray_debug.review.explanations import PREFIX
from xray_debug.run.further import case_map
from xray_debug.run.store import Store


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was prepared, with a model that was not trained; regions and cases are the phantom's own."""
    from training_fixture import tiny

    from xray_debug.models import save_checkpoint

    folder = tmp_path_factory.mktemp("ways")
    known = write_dataset(folder / "data", drawn_films(4), 12, 6)
    settings = pipeline(folder / "data")
    settings.train.view.size, settings.explain.options = 32, {"preset": "quick"}
    write_text(folder / "ways.yaml", dump_config(settings))
    call("run", folder / "ways.yaml", "--only", "prepare", "--out", folder / "run", check=0)
    store = Store(folder / "run")
    add_found(store, known)
    add_audit(store, known, flagged=3)
    save_checkpoint(tiny(3, classes=3), store.path("model"))
    for stage in ("train", "detect", "audit"):
        write_json(store.folder / stage / "stage.json", {"made_by": "xray-debug", "stage": stage})
    return store


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    temporary = tmp_path_factory.mktemp("temporary")
    server = Server(run.folder, environment={"TMPDIR": str(temporary)})
    server.temporary = temporary
    yield server
    server.stop()
    assert not list(temporary.glob(f"{PREFIX}*"))  # films go away with the app


@pytest.fixture
def open_page(browser, server):
    opened = []

    def open_(view: str, **options) -> Case:
        opened.append(Case(browser, f"{server.address}?view={view}", **options))
        return opened[-1]

    yield open_
    for case in opened:
        case.settled()
        assert case.faults == [] and grave_faults(case.page) == []
        case.close()


def seen(case: Case, text: str) -> None:
    case.page.get_by_text(text).first.wait_for(timeout=WAIT)


def press(case: Case, name: str) -> None:
    case.still()
    case.page.get_by_role("button", name=name, exact=True).click(timeout=WAIT)


def drop(case: Case, film: Path) -> None:
    """Drops a file on the page; waits until the script has it, in place of the one before."""
    with case.page.expect_response(lambda found: "upload_file" in found.url and found.request.method == "PUT"):
        case.page.set_input_files("input[type=file]", film)
    case.settled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_without_a_run_the_demo_is_offered_and_the_runs_here_are_opened(browser, run, tmp_path, scheme):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(run.folder, target_is_directory=True)
    server = Server(None, where=tmp_path)
    try:
        case = Case(browser, server.address, color_scheme=scheme)
        seen(case, "xray-debug demo")
        assert case.page.get_by_role("button", name="Start the demo").is_enabled()
        case.settled()
        assert grave_faults(case.page) == []
        press(case, "Open")
        case.ready()
        assert "run=mine" in case.page.url
        press(case, "Runs")
        seen(case, "xray-debug run runs/mine/pipeline.yaml --out runs/mine")
        case.settled()
        assert case.faults == [] and grave_faults(case.page) == []
        case.close()
    finally:
        server.stop()


def test_one_image_is_explained_and_the_page_may_be_reloaded_meanwhile(open_page, run, server):
    case = open_page("explain")
    film = run.dataset_root() / "test" / "test-00001.png"
    seen(case, "Drop a radiograph first.")
    drop(case, film)
    press(case, "Explain")
    seen(case, "Progress of this step")
    case.settled()
    assert grave_faults(case.page) == []
    case.page.reload()
    seen(case, "Area under deletion")
    case.page.get_by_alt_text("The radiograph under its saliency map").wait_for(timeout=WAIT)
    with case.page.expect_download() as waiting:
        case.page.get_by_role("button", name="Curves (CSV)").click()
    assert Path(waiting.value.path()).read_text().startswith("share,deletion,insertion\n0.0,")
    assert waiting.value.suggested_filename == "test-00001.curves.csv"
    case.settled()
    assert grave_faults(case.page) == []
    (folder,) = server.temporary.glob(f"{PREFIX}*")
    press(case, "Remove this explanation")
    seen(case, "appear here")
    assert not folder.exists()


def test_a_wrong_file_gets_a_sentence_at_once_and_an_explanation_can_be_stopped(open_page, run, server, tmp_path):
    case = open_page("explain", color_scheme="dark")
    name = "<img src=x onerror=alert(1)> *film*.png"
    (tmp_path / name).write_bytes(b"MZ no film")
    seen(case, "Drop a radiograph first.")
    drop(case, tmp_path / name)
    press(case, "Explain")
    seen(case, f"{name}: not an image that can be read, expected PNG, JPEG, TIFF or DICOM")
    assert not list(server.temporary.glob(f"{PREFIX}*"))  # no program was started
    drop(case, run.dataset_root() / "test" / "test-00001.png")
    press(case, "Explain")
    press(case, "Stop")
    seen(case, "The explanation was stopped after")


def test_the_dataset_follows_from_the_page_at_the_end(open_page, run):
    review = ReviewDB(run.review_file)
    review.decide("test-00000.png", "reject", None, "ada")
    review.decide("test-00000.png", "approve", None, "bob")
    case = open_page("summary")
    seen(case, "Stage clean is not yet run.")
    press(case, "Make it")
    seen(case, "Progress of this step")
    case.page.reload()  # it goes on, and is found again
    seen(case, "It is as decided.")
    assert behind(run).decisions == []
    review.decide("train-00001.png", "reject", None, "ada")
    case.page.reload()
    seen(case, "It is behind: 1 decision is newer than it is, and 1 image will change.")
    press(case, "Make it anew")
    seen(case, "It is as decided.")
    assert behind(run).decisions == []
    case.settled()
    with case.page.expect_download() as waiting:
        case.page.get_by_role("button", name="The decisions as CSV").click()
    lines = Path(waiting.value.path()).read_text().splitlines()
    assert [line.split(",")[1:3] for line in lines[1:]] == [
        ['"test-00000.png"', '"reject"'], ['"test-00000.png"', '"approve"'], ['"train-00001.png"', '"reject"']]


def test_a_missing_map_is_computed_and_shown(browser, run, server):
    with Case(browser, f"{server.address}?case=test-00002.png") as case:
        assert case_map(run, "test-00002.png").saliency is None
        press(case, "Compute the map")
        case.until(lambda: case_map(run, "test-00002.png").saliency is not None)
        case.page.get_by_text("has no saliency map").wait_for(state="detached", timeout=WAIT)
        case.settled()
        assert case.page.get_by_text("No map").count() == 0 and case.faults == []


def test_nothing_was_left_beside_the_films(run):
    assert {path.suffix for path in run.dataset_root().rglob("*") if path.is_file()} == {".png", ".txt"}


@pytest.mark.skipif("XRAY_DEBUG_PICTURES" not in os.environ, reason="XRAY_DEBUG_PICTURES=RUN draws docs/app-*.png")
def test_pictures_of_the_documentation(browser):
    """Of a finished run of the demo: its films are synthetic."""
    store = Store(Path(os.environ["XRAY_DEBUG_PICTURES"]))
    film = store.image_file(store.manifest().set_index("image_id").loc[sorted(store.explained())[0], "path"])
    place = store.folder.resolve()
    server = Server(place.relative_to(place.parents[1]), where=place.parents[1])  # no path of a machine in a picture
    try:
        with Case(browser, server.address) as case:
            press(case, "Explain one image")
            seen(case, "Drop a radiograph first.")
            drop(case, film)
            press(case, "Explain")
            seen(case, "Area under deletion")
            case.page.get_by_alt_text("The radiograph under its saliency map").wait_for(timeout=WAIT)
            case.settled()
            case.page.screenshot(path=ROOT / "docs" / "app-explain.png")
            press(case, "Summary")
            seen(case, "The decisions as CSV")
            case.settled()
            case.page.screenshot(path=ROOT / "docs" / "app-summary.png")
            assert case.faults == []
    finally:
        server.stop()

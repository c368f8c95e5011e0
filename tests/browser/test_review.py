"""The page of cases in a browser: what a reviewer does with keys, mouse and finger, and what becomes of it."""

import base64
import os
from pathlib import Path

import numpy as np
import pytest
from browser_fixture import grave_faults
from cli_fixture import call
from review_run_fixture import SIZE, add_audit, add_found, drawn_films, phantom_run, pipeline, write_dataset
from review_server_fixture import Case, Server, serving

from xray_debug.cleaning.erase import clean_image
from xray_debug.config import CleanConfig, dump_config
from xray_debug.data.files import write_text
from xray_debug.data.images import read_image
from xray_debug.data.overlay import heat_overlay
from xray_debug.review.decisions import ReviewDB
from xray_debug.run.store import Store

SIZES = ((1280, 800), (820, 1180))
MANY = int(os.environ.get("XRAY_DEBUG_DECISIONS", "24"))  # of two browsers together; 1000 for the whole


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return phantom_run(tmp_path_factory.mktemp("review"), train=20, test=90, flagged=60)


@pytest.fixture(scope="module")
def server(prepared):
    with serving(prepared.folder) as found:
        yield found


@pytest.fixture
def open_case(browser, server):
    """Opens a case; `more` is the rest of the address."""
    opened = []

    def open_case(name: str = "", more: str = "&reviewer=ann", ready: bool = True, **options) -> Case:
        case = Case(browser, f"{server.address}?{f'case={name}' if name else ''}{more}", **options)
        opened.append(case)
        if ready:
            case.ready(name or None)
            case.until(lambda: np.allclose(case.view, case.fitted(), atol=0.5))  # the page has its last form
        return case

    yield open_case
    for case in opened:
        assert case.faults == []
        case.close()


def decided(store: Store, name: str) -> tuple:
    row = ReviewDB(store.review_file).of(name)
    return (None, None) if row is None else (row["decision"], row["boxes"])


def film_of(store: Store, name: str) -> np.ndarray:
    return read_image(store.dataset_root() / name.partition("-")[0] / name)


def seen_film(case: Case) -> np.ndarray:
    """The film on the screen, RGB, a pixel of it on one of the screen."""
    case.page.keyboard.press("1")
    case.settled()
    data = case.page.locator(".editor canvas").evaluate(
        """(canvas) => { const [scale, left, top] = JSON.parse(canvas.closest(".editor").dataset.view);
        const seen = canvas.getContext("2d").getImageData(left, top, 256, 256).data, parts = [];
        for (let at = 0; at < seen.length; at += 8192) parts.push(String.fromCharCode(...seen.subarray(at, at + 8192)));
        return btoa(parts.join("")); }""")
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(SIZE, SIZE, 4)[..., :3]


# ------------------------------------------------------------------------------------------------- keys


def test_fifty_cases_are_decided_with_keys_alone(open_case, prepared):
    keys = {"a": "approve", "x": "reject", "e": "exclude", "s": "edit"}
    case, wanted = open_case(more="reviewer=ann&show=flagged"), {}
    for at in range(50):
        key = list(keys)[at % 4]
        wanted[case.name] = keys[key]
        case.key(key)
    found = {row["image_id"]: row for row in ReviewDB(prepared.review_file).latest() if row["image_id"] in wanted}
    assert {name: row["decision"] for name, row in found.items()} == wanted and len(wanted) == 50
    assert {row["reviewer"] for row in found.values()} == {"ann"}


def test_undo_and_redo_lead_back_to_the_case(open_case, prepared):
    case = open_case("train-00001.png", "&reviewer=ida&show=all")
    case.key("x")
    second = case.name
    case.key("a")
    assert decided(prepared, "train-00001.png")[0] == "reject" and decided(prepared, second)[0] == "approve"
    assert case.key("u") == second and decided(prepared, second)[0] is None
    assert case.key("u") == "train-00001.png" and decided(prepared, "train-00001.png")[0] is None
    case.key("y", away=False)
    case.until(lambda: decided(prepared, "train-00001.png")[0] == "reject")
    assert case.key("y") == second and decided(prepared, second)[0] == "approve"
    case.key("n")
    case.key("u")
    case.until(lambda: decided(prepared, second)[0] is None)


def test_undo_takes_changed_boxes_back_before_any_decision(open_case, prepared):
    case = open_case("train-00003.png", "&reviewer=uma&show=all")
    case.key("x")
    second, found, events = case.name, case.boxes, ReviewDB(prepared.review_file).count()
    case.drag((100, 120), (140, 170))
    case.settled()
    assert case.boxes == [*found, [100, 120, 140, 170]]
    case.page.keyboard.press("u")
    case.settled()
    assert (case.name, case.boxes) == (second, found) and ReviewDB(prepared.review_file).count() == events
    assert case.key("u") == "train-00003.png" and decided(prepared, "train-00003.png")[0] is None


def test_on_a_phone_nothing_is_cut_off(open_case):
    case = open_case("train-00004.png", "&show=all", size=(390, 844))
    shown = [*case.page.locator(".tools > *").all(), *case.page.locator(".st-key-bar button, .st-key-reviewer").all(),
             *case.page.locator(".st-key-answers button").all()]  # fmt: skip
    bounds = [found for one in shown if (found := one.bounding_box())]
    assert len(bounds) >= 11 + 6 + 6
    assert all(found["x"] >= 0 and found["x"] + found["width"] <= 390 for found in bounds)
    tools = [one.bounding_box() for one in case.page.locator(".tools > *").all()]
    for one, after in zip(tools, tools[1:], strict=False):  # beside each other, or in rows
        assert one["x"] + one["width"] <= after["x"] + 1 or one["y"] + one["height"] <= after["y"] + 1


def test_enter_in_a_text_field_decides_nothing(open_case, prepared):
    case = open_case("train-00002.png", "&show=all")
    before = ReviewDB(prepared.review_file).count()
    for place in ("note", "search", "reviewer"):
        field = case.page.locator(f".st-key-{place} input")
        field.fill("ax" if place != "search" else "train")
        field.press("Enter")
        case.settled()
        field.press("Enter")
        case.settled()
    for _ in range(3):
        case.page.keyboard.press("Enter")
    case.settled()
    assert ReviewDB(prepared.review_file).count() == before and case.name == "train-00002.png"
    assert "reviewer=ax" in case.page.url and "search=train" in case.page.url


def test_a_note_and_the_name_are_kept_with_the_decision(open_case, prepared):
    case = open_case("train-00003.png", "&show=all&reviewer=ann")
    case.page.locator(".st-key-note input").fill("the letter L, a and x are text here")
    case.page.locator(".st-key-note input").press("Enter")
    case.settled()
    case.key("x")
    row = ReviewDB(prepared.review_file).of("train-00003.png")
    assert (row["decision"], row["reviewer"], row["note"]) == ("reject", "ann", "the letter L, a and x are text here")
    assert case.page.locator(".st-key-note input").input_value() == ""


def test_who_says_no_name_is_asked_once(open_case, prepared):
    case = open_case("train-00011.png", "&show=all")
    case.key("x")
    assert "without a name" in case.page.locator(".st-key-told").inner_text()
    second = case.name
    case.key("u")
    case.key("x")
    assert case.name == second and case.page.locator(".st-key-told").count() == 0
    case.key("u")
    assert decided(prepared, "train-00011.png")[0] is None


def test_a_key_held_down_decides_once(open_case, prepared):
    case = open_case("train-00004.png", "&show=all&reviewer=held")
    for _ in range(20):
        case.page.keyboard.down("a")
    case.page.keyboard.up("a")
    case.settled()
    assert [event.reviewer for event in ReviewDB(prepared.review_file).events()].count("held") == 1


# ------------------------------------------------------------------------------------------------- boxes


def test_boxes_are_drawn_moved_resized_and_deleted_in_exact_pixels(open_case, prepared):
    case = open_case("train-00005.png", "&reviewer=ann&show=all")
    found = case.boxes
    case.drag((30, 150), (70, 181))
    assert case.boxes == [*found, [30, 150, 70, 181]]
    case.drag((50, 165), (60, 160))  # by its inside
    assert case.boxes[-1] == [40, 145, 80, 176]
    case.drag((80, 176), (101, 190))  # by its corner
    assert case.boxes[-1] == [40, 145, 101, 190]
    case.page.keyboard.press("ArrowLeft")
    case.page.keyboard.press("Shift+ArrowDown")
    assert case.boxes[-1] == [39, 145, 100, 191] and case.name == "train-00005.png"
    case.drag((200, 200), (240, 230))
    case.page.keyboard.press("Delete")
    assert case.boxes == [*found, [39, 145, 100, 191]]
    case.key("s")
    assert decided(prepared, "train-00005.png") == ("edit", [*found, [39, 145, 100, 191]])
    case.page.go_back()
    case.ready("train-00005.png")
    assert case.boxes == [*found, [39, 145, 100, 191]]  # shown again, not the detector's


def test_a_box_cannot_leave_the_film(open_case, prepared):
    case = open_case("train-00006.png", "&reviewer=ann&show=all")
    case.page.keyboard.press("-")
    case.page.keyboard.press("-")
    case.settled()
    case.drag((240, 240), (300, 290))
    assert case.boxes[-1] == [240, 240, 256, 256]
    case.drag((250, 250), (20, 400))
    assert case.boxes[-1] == [10, 240, 26, 256]
    case.key("s")
    assert decided(prepared, "train-00006.png")[1][-1] == [10, 240, 26, 256]


def test_a_finger_draws_and_two_fingers_zoom(open_case):
    case = open_case("train-00007.png", "&show=all", has_touch=True)
    count, touch = len(case.boxes), case.page.context.new_cdp_session(case.page)

    def send(kind: str, *fingers) -> None:
        points = [{"id": at, "x": x, "y": y} for at, (x, y) in enumerate(fingers)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", case.place(60, 120))
    send("touchMove", case.place(75, 140))
    send("touchMove", case.place(90, 160))
    send("touchEnd")
    case.settled()
    assert len(case.boxes) == count + 1 and case.boxes[-1] == [60, 120, 90, 160]
    scale = case.view[0]
    stays, moves, there = case.place(100, 100), case.place(150, 150), case.place(180, 180)
    case.editor.locator("canvas").evaluate(
        "(canvas) => canvas.addEventListener('pointerdown', (event) => { canvas.last = event.pointerId; })")
    send("touchStart", stays)
    send("touchStart", stays, moves)
    send("touchMove", stays, there)
    case.editor.locator("canvas").evaluate(  # the second finger is lifted, which the protocol has no words for
        "(canvas) => canvas.dispatchEvent(new PointerEvent('pointerup', { pointerId: canvas.last }))")
    send("touchMove", moves, there)  # and the first goes on
    send("touchEnd")
    case.settled()
    assert case.view[0] > 1.2 * scale and len(case.boxes) == count + 1


def test_opacity_zero_is_the_film_bit_for_bit_and_heat_is_the_overlay(open_case, prepared):
    name = "test-00000.png"
    case = open_case(name, "&show=all&reviewer=look")
    case.page.keyboard.press("b")
    film = film_of(prepared, name)
    assert (seen_film(case) == film[..., None]).all()
    case.page.keyboard.press("h")
    hot = seen_film(case)
    wanted = heat_overlay(film, prepared.saliency(name), 0.5)
    assert np.abs(hot.astype(int) - wanted).mean() < 1.5 and (hot != film[..., None]).any()
    case.page.locator("[data-set=heat]").fill("0")
    assert (seen_film(case) == film[..., None]).all()
    case.page.locator("[data-set=window]").fill("128")
    low, high = 64, 192
    assert np.abs(seen_film(case)[..., 0] - ((film.astype(float) - low) * 256 / (high - low)).clip(0, 255)).max() <= 1


def test_the_cleaned_film_is_what_clean_makes_and_follows_the_boxes(open_case, prepared):
    name = "train-00008.png"
    case = open_case(name, "&show=all&reviewer=look")
    film, config = film_of(prepared, name), CleanConfig()
    case.page.keyboard.down("v")
    case.until(lambda: case.editor.get_attribute("data-cleaned") == "shown")
    assert (seen_film(case) == clean_image(film, case.boxes, config)[0][..., None]).all()
    case.page.keyboard.up("v")
    case.page.keyboard.press("0")
    case.settled()
    case.drag((100, 100), (130, 160))
    case.page.keyboard.down("v")
    case.until(lambda: case.editor.get_attribute("data-cleaned") == "shown")
    cleaned = clean_image(film, case.boxes, config)[0]
    assert (seen_film(case) == cleaned[..., None]).all() and (cleaned[110:150, 105:125] != film[110:150, 105:125]).any()
    case.page.keyboard.up("v")


@pytest.fixture(scope="module")
def cleanable(tmp_path_factory):
    """A run whose stage prepare was really done, so that `clean` can follow."""
    folder = tmp_path_factory.mktemp("clean")
    known = write_dataset(folder / "data", drawn_films(4), 12, 6)
    write_text(folder / "review.yaml", dump_config(pipeline(folder / "data")))
    call("run", folder / "review.yaml", "--out", folder / "run", "--only", "prepare", check=0)
    store = Store(folder / "run")
    add_found(store, known)
    add_audit(store, known, flagged=3)
    return store


def test_what_is_drawn_is_erased_from_the_dataset(browser, cleanable):
    drawn, kept, left_out = "train-00001.png", "train-00002.png", "train-00003.png"
    with serving(cleanable.folder) as server, Case(browser, f"{server.address}?case={drawn}&show=all") as case:
        found = case.boxes
        case.drag((60, 120), (100, 150))
        case.key("s")
        for name, key in ((kept, "x"), (left_out, "e")):
            case.page.goto(f"{server.address}?case={name}&show=all")
            case.ready(name)
            case.key(key)
        assert case.faults == []
    assert decided(cleanable, drawn) == ("edit", [*found, [60, 120, 100, 150]])
    call("clean", "--run", cleanable.folder, check=0)
    out, film = cleanable.path("cleaned") / "train", film_of(cleanable, drawn)
    wanted = clean_image(film, [*found, [60, 120, 100, 150]], CleanConfig())[0]
    assert (read_image(out / drawn) == wanted).all() and (wanted[125:145, 65:95] != film[125:145, 65:95]).any()
    assert (read_image(out / kept) == film_of(cleanable, kept)).all()


# ------------------------------------------------------------------------------------------------- the address


def test_it_opens_on_the_first_undecided_case_and_a_copied_link_opens_the_same(open_case, browser, server):
    case = open_case(more="reviewer=link&reason=probability changes")
    first = case.name
    case.key("ArrowRight")
    case.key("ArrowRight")
    other = open_case(case.name, "&" + case.page.url.partition("?")[2].replace(f"case={case.name}", ""))
    assert other.page.locator(".st-key-steps").inner_text() == case.page.locator(".st-key-steps").inner_text()
    assert "probability changes" in other.page.locator(".st-key-steps").inner_text()
    assert other.page.locator(".st-key-reviewer input").input_value() == "link"
    case.page.reload()
    assert case.ready() == other.name != first
    assert case.page.locator(".st-key-reviewer input").input_value() == "link"


def test_the_slash_searches_by_name(open_case):
    case = open_case("test-00010.png", "&show=all")
    case.page.keyboard.press("/")
    case.page.keyboard.type("train-0001")
    case.page.keyboard.press("Enter")
    case.until(lambda: case.name.startswith("train-0001"))
    case.until(lambda: "of 10" in case.page.locator(".st-key-steps").inner_text())


# ------------------------------------------------------------------------------------------------- more than one


def test_two_browsers_lose_no_decision_and_a_conflict_is_shown(browser, tmp_path):
    """Two people press at the same time, again and again on the same case: whoever comes second is told."""
    store = phantom_run(tmp_path, train=0, test=MANY + 4, flagged=MANY + 4, drawn=2, maps=0)
    with serving(store.folder) as server, Case(browser, server.address + "?reviewer=one") as one, \
            Case(browser, server.address + "?reviewer=two") as two:  # fmt: skip
        taken, told = {one: [], two: []}, 0
        while len(taken[one]) + len(taken[two]) < MANY:
            names = {person: person.name for person in (one, two)}
            for person, key in ((one, "a"), (two, "x")):
                person.page.keyboard.press(key)
            for person, name in names.items():
                if person.outcome(name):
                    taken[person].append(name)
                else:
                    told += 1
                    assert "Not saved: somebody has decided" in person.page.locator(".st-key-told").inner_text()
                    person.key("n")
        assert one.faults == two.faults == []
    events = ReviewDB(store.review_file).events()
    for reviewer, person in (("one", one), ("two", two)):
        assert [event.image_id for event in events if event.reviewer == reviewer] == taken[person]
    assert told and len({event.image_id for event in events}) == len(events)  # the second was never taken in silence


def test_after_a_conflict_the_other_decision_is_seen_and_can_be_answered(browser, server, prepared):
    name = "train-00009.png"
    with Case(browser, f"{server.address}?case={name}&reviewer=cat&show=all") as case:
        ReviewDB(prepared.review_file).decide(name, "edit", [[1, 2, 30, 40]], "dan", "only the corner")
        case.page.keyboard.press("a")
        case.page.get_by_text("Not saved: somebody has decided").wait_for()
        assert 'dan: boxes corrected ("only the corner")' in case.page.locator(".st-key-told").inner_text()
        case.until(lambda: case.boxes == [[1, 2, 30, 40]])
        case.key("x")
        assert decided(prepared, name)[0] == "reject" and case.faults == []


def test_a_killed_server_loses_nothing_that_was_shown_as_done(browser, tmp_path):
    store = phantom_run(tmp_path, train=0, test=12, flagged=12, drawn=2, maps=0)
    first = Server(store.folder)
    try:
        case, done = Case(browser, first.address + "?reviewer=ann"), []
        case.ready()
        for _ in range(3):
            done.append(case.name)
            case.key("a")
        first.kill()
        here = case.name
        second = Server(store.folder, port=first.port)
        try:
            case.page.goto(case.page.url)
            assert case.ready() == here
            case.key("x")
        finally:
            second.kill()
    finally:
        first.kill()
    rows = {row["image_id"]: row["decision"] for row in ReviewDB(store.review_file).latest()}
    assert rows == {**dict.fromkeys(done, "approve"), here: "reject"}


# ------------------------------------------------------------------------------------------------- what is seen


def test_film_and_buttons_are_seen_together_for_twelve_cases(open_case):
    case, tops = open_case(more="reviewer=see&show=all"), {size: set() for size in SIZES}
    for _ in range(12):  # the eight films that were drawn, and some of them again
        for size in SIZES:
            case.resize(*size)
            film = case.page.locator(".editor canvas").bounding_box()
            assert min(film["width"], film["height"]) >= 650
            for place in (".editor", ".st-key-numbers", ".st-key-answers", ".st-key-note", ".st-key-why"):
                box, what = case.page.locator(place).first.bounding_box(), (place, size, case.name)
                assert box["x"] >= 0 and box["y"] >= 0, what
                assert box["x"] + box["width"] <= size[0] and box["y"] + box["height"] <= size[1], what
            assert case.page.evaluate("""document.querySelector('[data-testid="stMain"]').scrollTop""") == 0
            tops[size].add(round(case.page.locator(".st-key-answers").bounding_box()["y"]))
        case.key("ArrowRight")
    assert all(max(places) - min(places) <= 2 for places in tops.values()), tops  # the buttons stay where they are


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_of_access(open_case, scheme):
    case = open_case("test-00001.png", "&show=all", color_scheme=scheme)
    assert grave_faults(case.page, scheme == "dark") == []
    case.page.keyboard.press("?")
    case.page.get_by_role("dialog").wait_for()
    assert grave_faults(case.page, scheme == "dark") == []
    case.page.keyboard.press("Escape")
    case.page.get_by_text("All that was measured").click()
    case.page.get_by_test_id("stDataFrame").first.wait_for()
    case.settled()
    assert grave_faults(case.page, scheme == "dark") == []
    case.page.get_by_role("button", name="Queue", exact=True).click()
    case.thumbnails()
    case.page.get_by_text("Decide all cases of this filter").click()
    case.settled()
    assert grave_faults(case.page, scheme == "dark") == []


def test_keys_do_nothing_while_the_help_is_open(open_case, prepared):
    case = open_case("train-00010.png", "&show=all")
    case.page.keyboard.press("?")
    case.page.keyboard.press("a")
    case.settled()
    case.page.keyboard.press("Escape")
    assert case.name == "train-00010.png" and decided(prepared, "train-00010.png")[0] is None


def test_no_deploy_button_and_the_focus_is_seen(open_case):
    case = open_case("test-00002.png", "&show=all")
    assert case.page.get_by_text("Deploy").count() == 0
    for _ in range(12):
        case.page.keyboard.press("Tab")
        seen = case.page.evaluate("""() => { let at = document.activeElement;
            while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
            const style = getComputedStyle(at); return [at.tagName, style.outlineStyle, style.boxShadow]; }""")
        assert seen[1] != "none" or seen[2] != "none", seen


# ------------------------------------------------------------------------------------------------- the queue


def test_a_filter_leaves_its_cases_and_all_of_them_can_be_decided_at_once(open_case, prepared):
    case = open_case(more="reviewer=all&view=queue&show=others&split=train&by=nobody&page=1", ready=False)
    case.thumbnails()
    review = ReviewDB(prepared.review_file)
    wanted = {f"train-{i:05d}.png" for i in range(20)} - {row["image_id"] for row in review.latest()}
    assert f"{len(wanted)} cases, {len(wanted)} undecided" in case.page.locator(".st-key-pages").inner_text()
    case.page.get_by_text("Decide all cases of this filter").click()
    case.page.get_by_text("Reject", exact=True).click()
    case.settled()
    button = case.page.get_by_role("button", name=f"Reject {len(wanted)} cases")
    button.click()
    case.page.get_by_text(f"{len(wanted)} cases decided").wait_for()
    rows = {row["image_id"] for row in review.latest() if (row["reviewer"], row["decision"]) == ("all", "reject")}
    assert rows == wanted
    review.undo("all")
    assert not any(row["reviewer"] == "all" for row in review.latest())


def test_a_thumbnail_opens_its_case_and_the_filter_stays(open_case):
    case = open_case(more="view=queue&show=flagged&reviewer=thumb&page=2", ready=False)
    case.thumbnails()
    case.page.get_by_role("button", name="Open 26").click()
    case.ready("test-00025.png")
    assert "26 of 60 (flagged)" in case.page.locator(".st-key-steps").inner_text()


# ------------------------------------------------------------------------------------------------- pictures of it


def test_the_pictures_of_the_docs(open_case, tmp_path):
    """Made anew with XRAY_DEBUG_SCREENSHOTS=docs."""
    folder = Path(os.environ.get("XRAY_DEBUG_SCREENSHOTS", tmp_path))
    case = open_case("test-00006.png", "&show=flagged&reviewer=Ada")
    case.page.screenshot(path=folder / "review.png")
    case.drag((30, 120), (110, 190))
    case.settled()
    case.page.screenshot(path=folder / "review-boxes.png")
    case.page.goto(case.page.url.partition("?")[0] + "?view=queue&show=flagged&reviewer=Ada")
    case.page.locator(".st-key-thumbnails img").nth(23).wait_for()
    case.settled()
    case.page.screenshot(path=folder / "review-queue.png")
    shots = [read_image(folder / f"{name}.png") for name in ("review", "review-boxes", "review-queue")]
    assert all(shot.shape == (800, 1280, 3) and shot.std() > 20 for shot in shots)
    assert (shots[0] != shots[1]).any()

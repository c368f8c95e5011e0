"""The review app on a tiny run folder, through Streamlit's own test driver."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from review_fixture import NASTY, write_run
from streamlit.testing.v1 import AppTest

from xray_debug.data.images import read_image
from xray_debug.review.decisions import Locked, ReviewDB
from xray_debug.review.pages.answers import Answers
from xray_debug.review.queue import OF_DECISIONS
from xray_debug.review.view import load_run
from xray_debug.run.parts import write_part

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture
def start(monkeypatch):
    """`start("--run", DIR, case="a.png")`: words of the command line, and the address."""

    def start(*arguments, **address) -> AppTest:
        monkeypatch.setattr("sys.argv", ["app.py", *map(str, arguments)])
        app = AppTest.from_file(str(APP), default_timeout=60)
        for name, value in address.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception
        return app

    return start


def texts(app: AppTest) -> str:
    return "\n".join(element.value for element in app.text)


def markup(app: AppTest) -> list[str]:
    """All that a page may show as Markdown."""
    kinds = (app.markdown, app.caption, app.info, app.warning, app.error, app.success, app.title, app.subheader)
    return [element.value for kind in kinds for element in kind] + [button.label for button in app.button]


def press(app: AppTest, label: str) -> AppTest:
    button(app, label).click().run()
    assert not app.exception
    return app


def button(app: AppTest, label: str):
    return next(b for b in app.button if b.label.startswith(label))


def case(app: AppTest) -> str:
    found = app.query_params["case"]
    return found[0] if isinstance(found, list) else found


def stored(run) -> list[list]:
    rows = ReviewDB(run.review_file).latest()
    return [[row[name] for name in ("image_id", "decision", "boxes", "reviewer", "note")] for row in rows]


# ------------------------------------------------------------------------------------------------- deciding


def test_flagged_cases_come_in_order_and_decisions_are_saved(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder, reviewer="ada")
    assert case(app) == "a.png" and "1 of 3 (flagged), 3 undecided" in texts(app)
    app.text_input(key="note").input("the letter R").run()
    press(app, "Approve")
    assert case(app) == NASTY and "2 of 3 (flagged), 2 undecided" in texts(app)
    assert app.text_input(key="note").value == ""
    press(app, "Reject")
    assert stored(run) == [[NASTY, "reject", None, "ada", ""], ["a.png", "approve", None, "ada", "the letter R"]]
    press(app, "Before")
    assert f"{NASTY} (labelled COVID-19, source cohen, test, rejected by ada)" in texts(app)


def test_exclude_undo_and_redo(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = press(start("--run", run.folder, reviewer="ada"), "Exclude")
    assert stored(run) == [["a.png", "exclude", None, "ada", ""]]
    press(app, "Undo")
    assert stored(run) == [] and case(app) == "a.png" and "not decided" in texts(app)
    press(app, "Redo")
    assert stored(run) == [["a.png", "exclude", None, "ada", ""]] and "excluded by ada" in texts(app)
    press(press(app, "Undo"), "Undo")
    assert [element.value for element in app.info] == ["Nothing of yours to undo."]


def test_boxes_on_the_screen_are_what_is_saved_and_shown_again(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder)
    app.session_state["drafts"] = {"a.png": {"version": 0, "number": 1, "boxes": [[1, 2, 30, 40]]}}
    press(app, "Save boxes")
    assert stored(run) == [["a.png", "edit", [[1, 2, 30, 40]], "", ""]]
    again = start("--run", run.folder, case="a.png")
    press(again, "Save boxes")  # untouched: the reviewer's boxes are on the screen, not the detector's
    assert [event.boxes for event in ReviewDB(run.review_file).events()] == [[[1, 2, 30, 40]]] * 2


def test_approving_changed_boxes_saves_them(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder)
    app.session_state["drafts"] = {"a.png": {"version": 0, "number": 1, "boxes": [[1, 2, 30, 40]]}}
    press(app, "Approve")
    assert stored(run) == [["a.png", "edit", [[1, 2, 30, 40]], "", ""]]


def test_a_box_outside_the_film_is_refused_in_a_sentence(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder)
    app.session_state["drafts"] = {"a.png": {"version": 0, "number": 1, "boxes": [[9000, 2, 9500, 43]]}}
    press(app, "Save boxes")
    assert stored(run) == [] and "expected a box inside the image of 60 x 40 pixels" in texts(app)
    assert [element.value for element in app.error] == ["Not saved."] and case(app) == "a.png"


def test_a_decision_on_an_outdated_view_is_not_taken(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder, reviewer="ada")
    ReviewDB(run.review_file).decide("a.png", "reject", None, "bob **b**", "moved\x1b[2J <b>")
    press(app, "Approve")
    assert stored(run) == [["a.png", "reject", None, "bob **b**", "moved\x1b[2J <b>"]]
    assert [element.value for element in app.warning] == [
        "Not saved: somebody has decided this case since it was shown to you."]  # fmt: skip
    assert r'bob **b**: rejected ("moved\x1b[2J <b>")' in texts(app) and case(app) == "a.png"
    press(app, "Approve")
    assert stored(run)[0][1:4:2] == ["approve", "ada"]


def test_a_decision_that_comes_while_the_page_is_drawn_is_shown_or_is_a_conflict(start, tmp_path, monkeypatch):
    """What the page shows is never older than the version that it vouches for."""
    run = write_run(tmp_path / "run")
    app, version = start("--run", run.folder, reviewer="ada"), ReviewDB.version
    other = ReviewDB(run.review_file)

    def before(review, image_id):
        monkeypatch.setattr(ReviewDB, "version", version)
        other.decide("a.png", "reject", None, "bob")
        return version(review, image_id)

    def after(review, image_id):
        monkeypatch.setattr(ReviewDB, "version", version)
        found = version(review, image_id)
        other.decide("a.png", "exclude", None, "bob")
        return found

    monkeypatch.setattr(ReviewDB, "version", before)
    app.run()
    assert "rejected by bob" in texts(app)
    monkeypatch.setattr(ReviewDB, "version", after)
    app.run()
    press(app, "Approve")
    assert stored(run) == [["a.png", "exclude", None, "bob", ""]] and "Not saved" in app.warning[0].value


def test_boxes_that_somebody_elses_decision_overtook_are_said_to_be_gone(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder, reviewer="ada", case="a.png")
    drawn = {"a.png": {"version": 0, "number": 1, "boxes": [[1, 2, 30, 40]]}}
    app.session_state["drafts"] = dict(drawn)
    ReviewDB(run.review_file).decide("a.png", "reject", None, "bob")
    app.run()  # whatever makes the page draw itself: here nothing was pressed
    assert [element.value for element in app.warning] == [
        "Your boxes are not shown: somebody has decided this case since you drew them."]  # fmt: skip
    assert "bob: rejected" in texts(app)
    app.run()
    assert not app.warning
    ReviewDB(run.review_file).decide("a.png", "approve", None, "ada")  # in another window of hers
    app.session_state["drafts"] = dict(drawn)
    app.run()
    assert not app.warning and not app.exception


def test_unsaved_boxes_of_one_run_are_not_those_of_another(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other = (write_run(tmp_path / "runs" / name) for name in ("one", "other"))
    for store in (one, other):
        store.pipeline_file.write_text("name: x\n", encoding="utf-8")
    app = start(run="one", case="a.png")
    app.session_state["drafts"] = {"a.png": {"version": 0, "number": 1, "boxes": [[1, 2, 30, 40]]}}
    app.text_input(key="note").input("of one").run()
    app.query_params["run"] = "other"
    press(app.run(), "Approve")
    assert stored(one) == [] and stored(other) == [["a.png", "approve", None, "", ""]]


def test_a_review_file_that_was_taken_away_is_made_again(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder)
    for _ in range(2):
        press(app, "Reject")
        assert len(stored(run)) == 1
        for file in run.folder.glob("review.sqlite*"):
            file.unlink()
        app.query_params["case"] = "a.png"
        app.run()
        assert not app.exception and not app.error and stored(run) == [] and "not decided" in texts(app)


def test_a_second_press_meant_for_the_last_case_decides_nothing(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder)
    approve = button(app, "Approve")
    approve.click().run()
    approve.click().run()
    assert [row[0] for row in stored(run)] == ["a.png"]


def test_when_all_is_decided_it_says_so(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run").folder)
    for _ in range(3):
        press(app, "Reject")
    assert [element.value for element in app.success] == ["Every case of this filter is decided."]


def test_of_cases_decided_before_the_next_one_comes(start, tmp_path):
    """Those that reviewers disagree on, say: none is undecided, and each is decided anew."""
    run = write_run(tmp_path / "run")
    rows = [{"image_id": name, "decision": "reject"} for name in ("a.png", NASTY)]
    ReviewDB(run.review_file).decide_many(rows, "bob")
    app = press(start("--run", run.folder, case="a.png", reviewer="ada", decided="reject"), "Reject")
    assert case(app) == NASTY and not app.success
    press(app, "Reject")
    assert case(app) == NASTY and [e.value for e in app.success] == ["Every case of this filter is decided."]


def test_an_empty_filter_and_a_name_outside_it_are_told(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run").folder, case="a.png")
    app.text_input(key="search").input("c.p").run()
    assert [e.value for e in app.info] == [
        "No case is left by this filter. Without its other fields (page Queue) 1 would be."]  # fmt: skip
    assert case(app) == "a.png" and "Not among the 0 (flagged; name with c.p)" in texts(app)
    press(app, "Next undecided")
    assert [e.value for e in app.info] == ["No case is left by this filter."] and not app.success
    app.text_input(key="search").input("a.p").run()
    assert case(app) == "a.png" and not app.info


def test_boxes_that_are_not_saved_are_said_to_be(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder)
    assert "changed, not saved" not in texts(app)
    app.session_state["drafts"] = {"a.png": {"version": 0, "number": 1, "boxes": [[1, 2, 30, 40]]}}
    assert "not decided; boxes changed, not saved)" in texts(app.run())
    app.session_state["drafts"] = {"a.png": {"version": 0, "number": 2, "boxes": [[5, 6, 20, 16]]}}  # as they were
    assert "changed, not saved" not in texts(app.run())
    press(app, "Save boxes")
    assert "changed, not saved" not in texts(start("--run", run.folder, case="a.png"))


def test_undo_of_many_says_how_many(start, tmp_path):
    run = write_run(tmp_path / "run")
    rows = [{"image_id": name, "decision": "reject"} for name in ("a.png", NASTY)]
    ReviewDB(run.review_file).decide_many(rows, "ada")
    app = press(start("--run", run.folder, reviewer="ada"), "Undo")
    said = "2 decisions that were made at one stroke are {}; this is the last of them."
    assert [e.value for e in app.info] == [said.format("taken back")] and stored(run) == []
    press(app, "Redo")
    assert [e.value for e in app.info] == [said.format("made again")] and len(stored(run)) == 2
    press(press(app, "Exclude"), "Undo")
    assert not app.info and len(stored(run)) == 2


def test_a_run_whose_text_was_not_looked_for_says_so(start, tmp_path):
    run = write_run(tmp_path / "run", audit=False)
    run.path("regions").unlink()
    app = start("--run", run.folder)
    assert "Text was not looked for yet (stage detect), not audited." in texts(app)


# ------------------------------------------------------------------------------------------------- the address


def test_it_opens_on_the_first_undecided_case(start, tmp_path):
    run = write_run(tmp_path / "run")
    ReviewDB(run.review_file).decide("a.png", "approve")
    assert case(start("--run", run.folder)) == NASTY


def test_the_address_holds_case_filter_search_and_reviewer(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder, case="c.png", show="all", search="png", reviewer="eve")
    assert case(app) == "c.png" and "4 of 4 (name with png)" in texts(app)
    assert app.text_input(key="reviewer").value == "eve"
    app.text_input(key="reviewer").input("adam").run()
    assert app.query_params["reviewer"] == "adam"
    app.text_input(key="search").input("A.PNG").run()
    assert case(app) == "a.png" and "1 of 1 (name with A.PNG)" in texts(app) and stored(run) == []


@pytest.mark.parametrize("address", [{"case": "none.png"}, {"show": "x", "class": "y"}, {"page": "1e9", "view": "zz"},
                                     {"case": "<b>", "search": "[", "score": "none"}])  # fmt: skip
def test_an_address_that_means_nothing_is_no_fault(start, tmp_path, address):
    app = start("--run", write_run(tmp_path / "run").folder, **address)
    assert case(app) in ("a.png", NASTY) and all("<b>" not in value for value in markup(app))


def test_a_proxy_names_the_reviewer_and_the_page_cannot(start, tmp_path, monkeypatch):
    import streamlit as st

    run = write_run(tmp_path / "run")
    monkeypatch.setattr(type(st.context), "headers", {"X-Forwarded-User": "dr.<b>who</b>"})
    monkeypatch.setattr("xray_debug.review.pages.shell.open_to_all", lambda: False)
    app = start("--run", run.folder, "--user-header", "X-Forwarded-User", reviewer="mallory")
    assert app.text_input(key="given-reviewer").disabled
    press(app, "Approve")
    assert stored(run)[0][3] == "dr.<b>who</b>"


# ------------------------------------------------------------------------------------------------- what is shown


def test_a_damaged_image_and_a_case_without_map_do_not_stop_the_review(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder, case=NASTY)
    assert "This case has no saliency map" in texts(app)
    press(app, "After")
    assert case(app) == "damaged.png" and button(app, "After").disabled
    press(app, "Exclude")
    assert [row[:2] for row in stored(run)] == [["damaged.png", "exclude"]]


def test_a_damaged_map_is_called_damaged(start, tmp_path):
    run = write_run(tmp_path / "run")
    rows = [{"image_id": "a.png", "saliency": np.full((7, 7), np.nan, np.float32)}]
    write_part(run.path("maps"), 0, rows, "fake")
    app = start("--run", run.folder, case="a.png")
    assert "This case's saliency map is damaged." in [element.value for element in app.warning]


def test_the_sentence_and_the_four_numbers(start, tmp_path):
    run = write_run(tmp_path / "run")
    cases = pd.DataFrame({
        "image_id": ["a.png", "c.png"], "label": "normal", "predicted": "normal", "flagged": [True, False],
        "kind": ["decision", ""], "probability": [0.91, 0.8], "p_text_removed": [0.2, 0.79],
        "decision_text_removed": ["COVID-19", "normal"], "p_text_only": [0.7, 0.1], "p_control_removed": [0.9, np.nan],
        "control_effect": [0.01, 0.0], "effect": [0.71, 0.01], "removed_by": ["blurred", "inpainted"]})  # fmt: skip
    run.write_table("cases", cases)
    app = start("--run", run.folder, case="a.png")
    assert "Without its text the model no longer says normal (from 91 % to 20 %) but COVID-19" in texts(app)
    assert [(m.label, m.value) for m in app.metric] == [
        ("As it is", "91 %"), ("Without text", "20 %"), ("Text alone", "70 %"), ("Controls", "90 %")]
    app = start("--run", run.folder, case="c.png", show="all")
    assert "Not flagged: without its text the probability of normal goes from 80 % to 79 %" in texts(app)
    assert app.metric[3].value == "–"


@pytest.mark.parametrize(("name", "seen"), [
    ("<script>alert(1)<∕script>.png", None), ("<img src=x onerror=alert(1)>.png", None), ("[∕x] [bold].png", None),
    (":red[all clear] $x^2$ `a`.png", None), ("# title.png", None), ("![x](y) [z](javascript:w).png", None),
    ("&lt;b&gt;.png", None), ("{{7*7}} {x} %s.png", None), ("'; DROP TABLE decisions; --.png", None),
    ("\x1b[2J\x1b]0;owned\x07.png", r"\x1b[2J\x1b]0;owned\x07.png"), ("two\nlines.png", r"two\x0alines.png"),
    ("a\u202egnp.exe.png", r"a\u202egnp.exe.png"), ("胸" * 83 + "ab.png", None), ("a\u200bb.png", r"a\u200bb.png"),
])  # fmt: skip
def test_a_hostile_name_is_plain_text_and_can_be_decided_on(start, tmp_path, name, seen):
    run = write_run(tmp_path / "run", nasty=name)
    app = start("--run", run.folder, case=name)
    first = f"{seen or name} (labelled COVID-19, source cohen, test"
    assert any(line.startswith(first) for line in texts(app).splitlines())
    assert seen is None or name not in texts(app)
    press(app, "Reject")
    assert [row[:2] for row in stored(run)] == [[name, "reject"]]
    queue = start("--run", run.folder, view="queue")
    assert (seen or name) in texts(queue).splitlines()
    for page in (app, queue):
        assert not any(name in value or name.partition(".")[0] in value for value in markup(page))


def test_a_hostile_name_of_an_image_that_cannot_be_shown_is_plain_text(start, tmp_path, monkeypatch):
    """The reason goes to the browser as a text of the packet, which the component never reads as HTML."""
    from xray_debug.review.pages import editor

    sent = []
    monkeypatch.setattr(editor, "_component", lambda data, **_: sent.append(data))
    name = "<b>[∕x]\x1b[2J.png"
    run = write_run(tmp_path / "run", nasty=name)
    (run.folder / "data" / name).write_bytes(b"no image")
    app = start("--run", run.folder, case=name)
    head = json.loads(sent[-1][4 : 4 + int.from_bytes(sent[-1][:4], "little")])
    assert head["problem"].startswith("The image cannot be shown.")
    assert r"<b>[∕x]\x1b[2J.png: not an image" in head["problem"]
    assert head["film"] == [0, 0] and "\x1b" not in texts(app)
    assert "innerHTML" not in (editor.SOURCES / "editor.js").read_text(encoding="utf-8")


def test_the_packet_holds_what_the_editor_needs(start, tmp_path, monkeypatch):
    from xray_debug.review.pages import editor

    sent = []
    monkeypatch.setattr(editor, "_component", lambda data, **_: sent.append(data))
    run = write_run(tmp_path / "run")
    start("--run", run.folder, case="a.png")
    length = int.from_bytes(sent[-1][:4], "little")
    head, body = json.loads(sent[-1][4 : 4 + length]), sent[-1][4 + length :]
    pictures = {name: body[head[name][0] :][: head[name][1]] for name in ("film", "heat", "patch")}
    film = cv2.imdecode(np.frombuffer(pictures["film"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert (film == read_image(run.folder / "data" / "a.png")).all()
    assert pictures["heat"].startswith(b"\x89PNG") and pictures["patch"].startswith(b"\x89PNG")
    assert head["boxes"] == head["found"] == [[5, 6, 20, 16]] and (head["version"], head["at"]) == (0, [3, 4])
    start("--run", run.folder, case="damaged.png")
    head = json.loads(sent[-1][4 : 4 + int.from_bytes(sent[-1][:4], "little")])
    assert head["boxes"] == [] and head["others"] == [{"box": [0, 0, 9, 9], "kind": "device"}]


def test_without_audit_and_maps_images_with_boxes_are_shown(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run", audit=False, maps=False).folder)
    assert "1 of 3, 3 undecided" in texts(app) and "The detector marked this film (1 box)" in texts(app)


def test_the_record_is_shown_without_escapes(start, tmp_path):
    run = write_run(tmp_path / "run")
    ReviewDB(run.review_file).decide("a.png", "reject", None, "eve\u202e", "moved\x1b[2J <b>")
    app = start("--run", run.folder, case="a.png")
    assert not len(app.dataframe)  # drawn only where the expander is open
    app.session_state["more"] = True
    history = app.run().dataframe[-1].value
    assert history[["decision", "reviewer", "note"]].to_numpy().tolist() == [
        ["reject", r"eve\u202e", r"moved\x1b[2J <b>"]]  # fmt: skip


# ------------------------------------------------------------------------------------------------- the queue


def test_the_queue_filters_with_counts_and_opens_a_case(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder, view="queue", show="all")
    assert "of 1 page; 4 cases, 4 undecided" in texts(app)
    app.multiselect(key="filter-show").select("others").run()
    assert app.query_params["show"] == "others" and "1 case, 1 undecided" in texts(app)
    press(app, "No filter")
    assert "4 cases" in texts(app)
    press(app, "Open 4")
    assert case(app) == "c.png" and app.query_params["view"] == "cases"


def test_a_filter_is_decided_at_once_and_taken_back_at_once(start, tmp_path):
    run = write_run(tmp_path / "run")
    ReviewDB(run.review_file).decide("a.png", "reject", None, "bob")
    app = start("--run", run.folder, view="queue", reviewer="ada")
    assert "2 cases with 0 boxes; 0 of them decided before." in texts(app)
    app.checkbox(key="bulk-also").check().run()
    assert "3 cases with 1 box; 1 of them decided before." in texts(app)
    app.checkbox(key="bulk-also").uncheck().run()
    press(app, "Approve 2 cases")
    assert [row[1:4:2] for row in stored(run)] == [["approve", "ada"], ["reject", "bob"], ["approve", "ada"]]
    app = start("--run", run.folder, reviewer="ada")
    press(app, "Undo")
    assert [row[0] for row in stored(run)] == ["a.png"]


def test_a_filter_is_left_out_at_once(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder, view="queue", reviewer="ada")
    app.radio(key="bulk").set_value("exclude").run()
    press(app, "Exclude 3 cases")
    assert {row[1] for row in stored(run)} == {"exclude"} and len(stored(run)) == 3


def test_all_at_once_is_refused_where_somebody_decided_meanwhile(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder, view="queue")
    ReviewDB(run.review_file).decide("a.png", "reject", None, "bob")
    press(app, "Approve 3 cases")
    assert len(stored(run)) == 1 and "Not saved" in app.warning[0].value


def test_no_decision_of_another_session_is_missed_in_whatever_order_sessions_look(tmp_path):
    """Sessions share what they know of the decisions; each decides, and looks when it comes to it."""
    run = write_run(tmp_path / "run")
    review, view = ReviewDB(run.review_file), load_run(run)
    shared = Answers(view, review)
    rng = np.random.default_rng(0)
    for step in range(120):
        name = view.queue.names[rng.integers(4)]
        match rng.integers(4):
            case 0:
                review.undo(["ada", "bob"][step % 2])
            case 1:
                review.decide_many([{"image_id": n, "decision": "reject"} for n in ("a.png", "c.png")], "bob")
            case _:
                review.decide(name, ["approve", "exclude"][rng.integers(2)], reviewer=["ada", "bob"][rng.integers(2)])
        if rng.integers(3):
            found, fresh = shared.now(), Answers(view, review).now()
            assert found.last == fresh.last == review.last()
            assert found.rows == fresh.rows and all(
                getattr(found, column).tolist() == getattr(fresh, column).tolist() for column in OF_DECISIONS)


def test_a_decision_that_came_while_others_were_read_is_seen_at_the_next_look(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run")
    review, view = ReviewDB(run.review_file), load_run(run)
    shared, read = Answers(view, review), review.of
    shared.now()
    review.decide("a.png", "reject", reviewer="ada")

    def of(image_id):
        monkeypatch.setattr(review, "of", read)
        ReviewDB(run.review_file).decide("c.png", "exclude", reviewer="bob")
        return read(image_id)

    monkeypatch.setattr(review, "of", of)
    first = shared.now()
    assert set(first.rows) == {"a.png"}
    assert set(shared.now().rows) == {"a.png", "c.png"}
    assert set(first.rows) == {"a.png"}  # a session that goes through them is not disturbed


# ------------------------------------------------------------------------------------------------- what goes wrong


def test_a_locked_review_file_says_so(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder)
    holder = sqlite3.connect(run.review_file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        press(app, "Approve")
    finally:
        holder.close()
    assert [element.value for element in app.error][:1] == ["Not saved."] and "review.sqlite" in texts(app)
    assert stored(run) == []


def test_a_search_while_the_decisions_cannot_be_read_says_so(start, tmp_path, monkeypatch):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder)

    def locked(review):
        raise Locked(f"{review.path}: the review file is locked by another program")

    monkeypatch.setattr(ReviewDB, "last", locked)
    app.text_input(key="search").input("a.p").run()
    assert not app.exception and [element.value for element in app.error] == ["The decisions cannot be read."]
    assert "the review file is locked" in texts(app)


def test_a_damaged_review_file_says_so(start, tmp_path):
    run = write_run(tmp_path / "run")
    run.review_file.write_bytes(b"no database at all" * 100)
    app = start("--run", run.folder)
    assert app.error and "review.sqlite" in texts(app)


def test_a_missing_run_is_one_sentence(start, tmp_path):
    assert "expected a run folder" in texts(start("--run", tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "pipeline.yaml").write_text("name: x")
    assert "stage prepare has not run" in texts(start("--run", tmp_path / "empty"))


def test_the_app_needs_no_torch(tmp_path):
    run = write_run(tmp_path / "run")
    code = "\n".join(["import sys", f"sys.argv = ['app.py', '--run', {str(run.folder)!r}]",
                      "from streamlit.testing.v1 import AppTest",
                      f"app = AppTest.from_file({str(APP)!r}, default_timeout=60).run()",
                      "assert not app.exception and len(app.metric) == 4",
                      "next(b for b in app.button if b.label == 'Approve').click().run()",
                      "app.query_params['view'] = 'queue'", "app.run()", "assert not app.exception",
                      "print('torch' in sys.modules)"])  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=APP.parent)
    assert done.stdout.split()[-1] == "False"


@pytest.mark.parametrize(("address", "open_"), [(None, True), ("localhost", False), ("10.0.0.7", False)])
def test_a_page_that_nobody_has_given_an_address_is_not_shown(start, tmp_path, monkeypatch, address, open_):
    """Streamlit listens on all of them then; whoever wants that must say so."""
    from xray_debug.review.pages import shell

    run, real = write_run(tmp_path / "run"), shell.st.get_option
    monkeypatch.setattr(shell.st, "get_option", lambda name: address if name == "server.address" else real(name))
    monkeypatch.setattr(type(shell.st.context), "headers", {"Host": "here:8501"})
    app = start("--run", run.folder)
    assert [("xray-debug review --run DIR" in error.value) for error in app.error] == [True] * open_
    assert ("a.png" in texts(app)) != open_


def test_the_editor_comes_with_the_package():
    """What the wheel must hold beside the modules."""
    from xray_debug.review.pages.editor import SOURCES

    assert SOURCES.is_relative_to(APP.parent / "xray_debug")
    assert sorted(file.name for file in SOURCES.iterdir()) == ["editor.css", "editor.html", "editor.js"]

"""The review app on a tiny run folder, through Streamlit's own test driver."""

import subprocess
import sys
from pathlib import Path

import pytest
from review_fixture import NASTY, write_run
from streamlit.testing.v1 import AppTest

from xray_debug.review.decisions import ReviewDB

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture
def start(monkeypatch):
    def start(*arguments) -> AppTest:
        monkeypatch.setattr("sys.argv", ["app.py", *map(str, arguments)])
        return AppTest.from_file(str(APP), default_timeout=30).run()

    return start


def texts(app: AppTest) -> str:
    return "\n".join(element.value for element in app.text)


def button(app: AppTest, label: str):
    return next(b for b in app.button if b.label.startswith(label))


def test_flagged_cases_come_in_order_and_decisions_are_saved(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder)
    assert not app.exception
    assert "Case 1 of 3: a.png (not decided)" in texts(app)
    assert "reasons: text alone" in texts(app)
    assert app.dataframe[0].value["measure"].tolist() == ["rank", "effect"]
    app.text_input[0].input("ada")
    app.text_input[1].input("the letter R")
    button(app, "Approve").click().run()
    assert not app.exception
    assert "Case 2 of 3" in texts(app)
    stored = ReviewDB(run.review_file).decisions()
    assert stored[["image_id", "decision", "reviewer", "note"]].values.tolist() == [
        ["a.png", "approve", "ada", "the letter R"]
    ]
    button(app, "Reject").click().run()
    button(app, "Previous").click().run()
    assert f"{NASTY} (reject)" in texts(app)
    assert ReviewDB(run.review_file).decisions()["reviewer"].tolist() == ["ada", "ada"]


def test_edited_boxes_are_saved(start, tmp_path):
    run = write_run(tmp_path / "run")
    app = start("--run", run.folder)
    button(app, "Save my boxes").click().run()
    stored = ReviewDB(run.review_file).decisions()
    assert stored[["decision", "boxes"]].values.tolist() == [["edit", [[5, 6, 20, 16]]]]


def test_opacity_and_all_cases(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run").folder)
    app.slider[0].set_value(0.0).run()
    assert not app.exception
    app.toggle[0].set_value(False).run()
    assert "Case 1 of 4: a.png" in texts(app)


def test_a_damaged_image_and_a_case_without_map_do_not_stop_the_review(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run").folder)
    button(app, "Next").click().run()
    assert any("no saliency map" in element.value for element in app.info)
    button(app, "Next").click().run()
    assert not app.exception
    assert "damaged.png" in texts(app)
    assert any("cannot be shown" in element.value for element in app.warning)
    assert button(app, "Next").disabled


def test_file_names_are_never_markup(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run").folder)
    button(app, "Next").click().run()
    assert NASTY in texts(app)
    for element in [*app.markdown, *app.caption, *app.info, *app.warning, *app.title]:
        assert "script" not in element.value


@pytest.mark.parametrize(("name", "seen"), [
    ("<script>alert(1)<∕script>.png", None), ("<img src=x onerror=alert(1)>.png", None), ("[∕x] [bold].png", None),
    (":red[all clear] $x^2$ `a`.png", None), ("# title.png", None), ("![x](y) [z](javascript:w).png", None),
    ("&lt;b&gt;.png", None), ("{{7*7}} {x} %s.png", None), ("'; DROP TABLE decisions; --.png", None),
    ("\x1b[2J\x1b]0;owned\x07.png", r"\x1b[2J\x1b]0;owned\x07.png"), ("two\nlines.png", r"two\x0alines.png"),
    ("a\u202egnp.exe.png", r"a\u202egnp.exe.png"), ("胸" * 83 + "ab.png", None), ("a\u200bb.png", r"a\u200bb.png"),
])  # fmt: skip
def test_a_hostile_name_is_plain_text_and_can_be_decided_on(start, tmp_path, name, seen):
    run = write_run(tmp_path / "run", nasty=name)
    app = start("--run", run.folder)
    button(app, "Next").click().run()
    assert not app.exception
    assert f"Case 2 of 3: {seen or name} (not decided)" in texts(app).splitlines()
    assert seen is None or name not in texts(app)
    for element in [*app.markdown, *app.caption, *app.info, *app.warning, *app.title, *app.error]:
        assert name not in element.value and name.partition(".")[0] not in element.value
    button(app, "Reject").click().run()
    assert not app.exception
    stored = ReviewDB(run.review_file).decisions()
    assert stored[["image_id", "decision"]].values.tolist() == [[name, "reject"]]


def test_a_hostile_name_of_an_image_that_cannot_be_shown_is_plain_text(start, tmp_path):
    name = "<b>[∕x]\x1b[2J.png"
    run = write_run(tmp_path / "run", nasty=name)
    (run.folder / "data" / name).write_bytes(b"no image")
    app = start("--run", run.folder)
    button(app, "Next").click().run()
    assert not app.exception and [element.value for element in app.warning] == ["The image cannot be shown."]
    assert r"<b>[∕x]\x1b[2J.png: not an image" in texts(app) and "\x1b" not in texts(app)


def test_without_audit_and_maps_images_with_boxes_are_shown(start, tmp_path):
    app = start("--run", write_run(tmp_path / "run", audit=False, maps=False).folder)
    assert not app.exception
    assert "Case 1 of 2: a.png" in texts(app)
    assert any("not been audited" in element.value for element in app.info)


def test_a_missing_run_is_one_sentence(start, tmp_path):
    assert "xray-debug review --run DIR" in start().error[0].value
    assert "expected a run folder, found nothing" in texts(start("--run", tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "stage prepare has not run" in texts(start("--run", tmp_path / "empty"))


def test_the_app_needs_no_torch(tmp_path):
    run = write_run(tmp_path / "run")
    code = "\n".join(["import sys", f"sys.argv = ['app.py', '--run', {str(run.folder)!r}]",
                      "from streamlit.testing.v1 import AppTest",
                      f"app = AppTest.from_file({str(APP)!r}, default_timeout=60).run()",
                      "assert not app.exception and app.slider[0].value == 0.5",
                      "print('torch' in sys.modules)"])  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=APP.parent)
    assert done.stdout.split()[-1] == "False"


def test_a_reviewers_name_and_note_are_shown_without_escapes(start, tmp_path):
    run = write_run(tmp_path / "run")
    ReviewDB(run.review_file).decide("a.png", "reject", None, "eve\u202e", "moved\x1b[2J <b>")
    app = start("--run", run.folder)
    assert not app.exception
    history = app.dataframe[-1].value
    assert history[["decision", "reviewer", "note"]].to_numpy().tolist() == [
        ["reject", r"eve\u202e", r"moved\x1b[2J <b>"]]  # fmt: skip


@pytest.mark.parametrize(("address", "open_"), [(None, True), ("localhost", False), ("10.0.0.7", False)])
def test_a_page_that_nobody_has_given_an_address_is_not_shown(start, tmp_path, monkeypatch, address, open_):
    """Streamlit listens on all of them then; whoever wants that must say so."""
    from xray_debug.review.pages import cases

    run, real = write_run(tmp_path / "run"), cases.st.get_option
    monkeypatch.setattr(cases.st, "get_option", lambda name: address if name == "server.address" else real(name))
    monkeypatch.setattr(type(cases.st.context), "headers", {"Host": "here:8501"})
    app = start("--run", run.folder)
    assert not app.exception
    assert [("xray-debug review --run DIR" in error.value) for error in app.error] == [True] * open_
    assert ("a.png" in texts(app)) != open_

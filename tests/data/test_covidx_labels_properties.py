"""Any text at all as a label file: every line becomes a row or a problem, and nothing leaves the image folder."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.data.classes import CLASS_SETS
from xray_debug.data.formats.covidx_labels import LabelError, parse_labels, read_labels, write_labels

CLASSES = {name for names in CLASS_SETS for name in names}
WORDS = st.sampled_from(["COVID-19", "covid-19 ", "normal", "positive", "a.png", "../a.png", "C:\\a.png",
                         "/etc/passwd", "\t",
                         " ", "\r\n", "\n", "\0", "\u202e",
                         "\ufeff", "\u2028", "\u00a0", "rsna", "..", "x" * 300])  # fmt: skip
TEXTS = st.lists(WORDS | st.text(max_size=8), max_size=30).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXTS | st.binary(max_size=200))
def test_any_file_gives_safe_rows_problems_or_one_sentence(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("labels") / "train.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        parsed = parse_labels(file)
    except LabelError as error:
        assert re.search(r"not UTF-(8|16) text", str(error)) and "\n" not in str(error)
        return
    lines = [row[-1] for row in parsed.rows] + [line for line, _ in parsed.problems]
    assert len(set(lines)) == len(lines)  # a line is one thing
    for patient, image, label, source, _ in parsed.rows:
        assert label in CLASSES and patient and source == source.strip()
        assert not re.search(r"[/\\\x00-\x1f]", image) and image not in ("", ".", "..") and len(image.encode()) <= 255


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_what_was_read_is_written_and_read_again_alike(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("labels")
    (folder / "a.txt").write_bytes(content.encode("utf-8", "surrogatepass"))
    try:
        frame = parse_labels(folder / "a.txt").frame()
        write_labels(folder / "b.txt", frame)
    except LabelError:
        return
    again = read_labels(folder / "b.txt")
    assert again.drop(columns="line").equals(frame.drop(columns="line"))


GOOD = ("p", "a.png", "COVID-19", "s", 1)


@pytest.mark.parametrize(("content", "rows"), [
    ("\ufeffp a.png COVID-19 s".encode(), [GOOD]), (b"p a.png covid-19 s\r\n", [GOOD]),
    (b"p\ta.png\tCOVID-19 \ts\r", [GOOD]), ("p a.png COVID-19 s\n".encode("utf-16"), [GOOD]),
    ("p a.png COVID-19\u00a0 s".encode(), [GOOD]),
], ids=["BOM", "CRLF and case", "tabs and spaces", "UTF-16", "no-break space"])  # fmt: skip
def test_the_same_line_however_it_is_encoded(tmp_path, content, rows):
    (tmp_path / "l.txt").write_bytes(content)
    parsed = parse_labels(tmp_path / "l.txt")
    assert parsed.rows == rows and parsed.problems == []


@pytest.mark.parametrize(("line", "problem"), [
    ("p a\0.png normal", "control character"), ("p a\x81.png normal", "control character"),
    ("p\ta\u2028.png\tnormal", "control character"), ("p ../a.png normal", "leaves the image folder"),
    ("p /etc/a.png normal", "leaves the image folder"), ("p C:a.png normal", "leaves the image folder"),
    (f"p {'a' * 252}.png normal", "has 256 bytes, expected at most 255"),
    (f"p {'ä' * 126}.png normal", "has 256 bytes"),
    ("p a.png COVID\u201119", "no class"), ("p a.png COVID-19\u200b", "no class"), ("x" * 1_000_000, "no class"),
], ids=["NUL", "C1", "line separator", "traversal", "absolute", "drive", "long", "long in UTF-8", "other hyphen",
        "zero width", "huge line"])  # fmt: skip
def test_a_line_that_cannot_be_used_is_named(tmp_path, line, problem):
    (tmp_path / "l.txt").write_text(line + "\np a.png normal\n", encoding="utf-8", newline="")
    parsed = parse_labels(tmp_path / "l.txt")
    assert [row[:3] for row in parsed.rows] == [("p", "a.png", "normal")]
    ((number, found),) = parsed.problems
    assert number == 1 and re.search(problem, found) and len(found) < 500


def test_a_mark_from_right_to_left_is_part_of_the_name(tmp_path):
    """It means no other file: the one without it is not found for it."""
    (tmp_path / "l.txt").write_text("p a\u202e.png normal\n", encoding="utf-8")
    assert parse_labels(tmp_path / "l.txt").rows[0][1] == "a\u202e.png"

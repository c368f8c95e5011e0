"""Label files: every published version, every odd line, and the way back."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.data.classes import CLASS_SETS
from xray_debug.data.formats.covidx import LabelError, parse_labels, read_labels, write_labels

SHARED = Path(__file__).parents[3] / "shared" / "covidx-labels"
REAL = sorted(SHARED.glob("*.txt"))


def _read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "train_COVIDx.txt"
    path.write_bytes(text.encode(encoding))
    return read_labels(path)


@pytest.mark.skipif(not REAL, reason="the published label files are not here")
def test_every_published_file_has_one_row_per_line(tmp_path):
    assert len(REAL) == 16
    for path in REAL:
        frame, lines = read_labels(path), path.read_text().splitlines()
        assert list(frame["line"]) == list(range(1, len(lines) + 1)), path.name
        assert any(set(frame["label"]) <= set(names) for names in CLASS_SETS), path.name
        assert frame["image_id"].str.contains(r"\.(?:png|jpe?g)$", case=False).all(), path.name
        assert not frame["image_id"].str.contains(" ").any()
        words = [line.split() for line in lines]  # nothing of a line is lost
        assert (frame["patient_id"] + frame["image_id"] == [
            " ".join(w[:-1 - (s != "")]).replace(f" {i}", i) for w, s, i in
            zip(words, frame["source"], frame["image_id"], strict=True)]).all(), path.name
        write_labels(tmp_path / "again.txt", frame)
        pd.testing.assert_frame_equal(read_labels(tmp_path / "again.txt"), frame)


@pytest.mark.skipif(not REAL, reason="the published label files are not here")
def test_a_published_file_counts_as_its_authors_say():
    frame = read_labels(SHARED / "train_COVIDx8A.txt")
    assert frame["label"].value_counts().to_dict() == {"normal": 7966, "pneumonia": 5475, "COVID-19": 2158}
    assert (frame["patient_id"] == "COVID 386").sum() == 1


@pytest.mark.parametrize(("line", "expected"), [
    ("1 a.png normal", ("1", "a.png", "normal", "")),
    ("1 a.png normal rsna", ("1", "a.png", "normal", "rsna")),
    ("COVID 1 COVID(1).png COVID-19 sirm", ("COVID 1", "COVID(1).png", "COVID-19", "sirm")),
    ("COVID 1 COVID 1.png COVID-19 sirm", ("COVID 1", "COVID 1.png", "COVID-19", "sirm")),
    ("COVID-00001 COVID-00001.png positive sirm", ("COVID-00001", "COVID-00001.png", "positive", "sirm")),
    ("my patient a.jpeg positive cohen", ("my patient", "a.jpeg", "positive", "cohen")),
    ("7\tmy file.png\tnegative\trsna", ("7", "my file.png", "negative", "rsna")),
    ("7\ta.png  level2 \t ricord  ", ("7", "a.png", "level2", "ricord")),
    ("7 A.PNG covid-19 rnsa", ("7", "A.PNG", "COVID-19", "rsna")),
    ("7 no-suffix Normal rsna", ("7", "no-suffix", "normal", "rsna")),
    ("normal normal.png normal rsna", ("normal", "normal.png", "normal", "rsna")),
    ("7 x.1.2.840.png.jpg pneumonia", ("7", "x.1.2.840.png.jpg", "pneumonia", ""))])
def test_a_line_is_read_from_the_right(tmp_path, line, expected):
    frame = _read(tmp_path, line + "\n")
    assert tuple(frame.iloc[0])[:4] == expected


@pytest.mark.parametrize(("text", "encoding"), [
    ("1 a.png normal s\r\n\r\n2 b.png normal s\r\n", "utf-8"), ("\ufeff1 a.png normal s\n\n2 b.png normal s", "utf-8"),
    ("1 a.png normal s\n\n2 b.png normal s\n", "utf-16"), ("1 a.png normal s\r\r2 b.png normal s", "utf-8")])
def test_line_ends_blank_lines_and_byte_order_marks(tmp_path, text, encoding):
    frame = _read(tmp_path, text, encoding)
    assert list(frame["line"]) == [1, 3]
    assert list(frame["image_id"]) == ["a.png", "b.png"]
    assert list(frame["source"]) == ["s", "s"]


@pytest.mark.parametrize(("line", "what"), [
    ("1 a.png sick rsna", "no class, expected one of normal"), ("a.png normal", "expected a patient"),
    ("1 a.png normal rsna and more", "expected one word (the source)"),
    ("1 ../a.png normal", "leaves the image folder"),
    ("1 /etc/a.png normal", "leaves the image folder"), ("1 ..\\a.png normal", "leaves the image folder"),
    ("1 C:a.png normal", "leaves the image folder"), ("1 sub/a.png normal s", "leaves the image folder"),
    ("1 a.png huh normal", "right after the file name"), ("1 a\0b.png normal", "control character")])
def test_all_bad_lines_are_reported_at_once(tmp_path, line, what):
    with pytest.raises(LabelError) as caught:
        _read(tmp_path, f"1 ok.png normal\n{line}\nnothing\n")
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith(f"{tmp_path / 'train_COVIDx.txt'}:2: ")
    assert what in caught.value.problems[0]
    assert "and 1 more" in str(caught.value)


def test_good_lines_beside_bad_ones_are_not_lost(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("1 a.png normal rnsa\nnothing\n2 b.png normal\n")
    parsed = parse_labels(path)
    assert list(parsed.frame()["image_id"]) == ["a.png", "b.png"]
    assert [line for line, _ in parsed.problems] == [2]
    assert parsed.notes == [(1, "source rnsa read as rsna")]


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"1 a.png normal\n2 \xff\xff.png normal\n")
    with pytest.raises(LabelError, match=r"a\.txt:2: not UTF-8"):
        read_labels(tmp_path / "a.txt")
    with pytest.raises(LabelError, match="cannot be read"):
        read_labels(tmp_path / "none.txt")


def test_an_empty_file_has_no_rows(tmp_path):
    frame = _read(tmp_path, "")
    assert len(frame) == 0
    assert list(frame.columns) == ["patient_id", "image_id", "label", "source", "line"]


names = st.lists(st.text("abcXYZ019()-_.é", min_size=1, max_size=5), min_size=1, max_size=3).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(names, names.map(lambda name: name + ".png"),
                               st.sampled_from([name for group in CLASS_SETS for name in group]),
                               st.sampled_from(["", "rsna", "two words"])), max_size=6))
def test_what_is_written_reads_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("labels") / "test_COVIDx.txt"
    frame = pd.DataFrame(rows, columns=["patient_id", "image_id", "label", "source"])
    write_labels(path, frame)
    assert [tuple(row)[:4] for row in read_labels(path).itertuples(index=False)] == rows


@pytest.mark.parametrize("row", [
    ("1", "a.png", "sick", ""), ("", "a.png", "normal", ""), ("1", "../a.png", "normal", ""),
    ("1", "a\nb.png", "normal", ""), ("1", "a\tb.png", "normal", "")])
def test_a_row_that_would_not_read_back_is_refused(tmp_path, row):
    frame = pd.DataFrame([row], columns=["patient_id", "image_id", "label", "source"])
    with pytest.raises(LabelError, match="cannot be written"):
        write_labels(tmp_path / "a.txt", frame)
    with pytest.raises(ValueError, match="missing source"):
        write_labels(tmp_path / "a.txt", frame.drop(columns="source"))
    assert not (tmp_path / "a.txt").exists()

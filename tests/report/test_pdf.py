"""report.pdf: a bounded number of pages, the same bytes each time, whatever the names are."""

from __future__ import annotations

import json
import re

import pytest
from report_fixture import STAGES, make_run, small_config

from xray_debug.report.paper import Paper, written
from xray_debug.report.pdf import PAGES, render_pdf
from xray_debug.report.report import write_report
from xray_debug.run.store import Store

NAMES = ["肺炎 🫁", "דלקת ריאות", "الالتهاب الرئوي", "W" * 400, "a\nb\tc\x00", "$x_1$ **b** __u__ --s-- <b>&amp;",
         "", " "]  # fmt: skip


def pages(data: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", data))


@pytest.fixture(scope="module")
def written_report(tmp_path_factory):
    config = small_config(report={"bootstrap": 100, "max_flagged": 3})
    store = make_run(tmp_path_factory.mktemp("runs") / "fake", config)
    path = write_report(store, config, STAGES)
    return json.loads(path.read_text(encoding="utf-8")), path.parent


def renamed(value, name: str):
    """The report with every class, source and image called `name` and a number."""
    text = json.dumps(value)
    for number, old in enumerate(("normal", "pneumonia", "COVID-19", "nih", "cohen", "actmed", "reversed")):
        text = text.replace(json.dumps(old)[1:-1], json.dumps(f"{name}{number}")[1:-1])
    return json.loads(text)


def test_it_is_a_pdf_with_few_pages_and_the_same_bytes(written_report):
    report, folder = written_report
    data = (folder / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF") and 1 < pages(data) <= PAGES
    assert render_pdf(report, folder) == data


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind_do_not_break_it(written_report, name):
    report, folder = written_report
    odd = renamed(report, name)
    for case in odd["flagged"]:
        case["image_id"], case["reasons"] = name, f"Without its text {name * 3}."
    odd["name"] = name
    data = render_pdf(odd, folder)
    assert pages(data) <= PAGES and data == render_pdf(odd, folder)


def test_what_finds_no_room_is_named(written_report, monkeypatch):
    report, folder = written_report
    much = report | {"table4": report["table4"] * 40, "headline": report["headline"] * 20,
                     "not_shown": report["not_shown"] * 60}  # fmt: skip
    said, write = [], Paper.write
    monkeypatch.setattr(Paper, "write", lambda self: said.append((self.page, self.left_out)) or write(self))
    render_pdf(much, folder)
    assert said[0][0] == PAGES and "Before and after cleaning in numbers" in said[0][1] and "Glossary" in said[0][1]
    render_pdf(report, folder)
    assert said[1][1] == []


@pytest.mark.parametrize(("text", "shown"), [
    ("plain", "plain"), ("a\n b", "a b"), ("肺", "\\u80ba"), ("\udcff", "\\udcff"), ("\x00", "\\u0000"), ("é", "é"),
    ("abc שלום", "abc םולש"), ("x" * 500, "x" * 266 + " … " + "x" * 100),
])  # fmt: skip
def test_any_text_is_written_with_what_the_font_has(text, shown):
    assert written(text) == shown


def test_an_empty_report_is_a_page(tmp_path):
    assert pages(write_report(Store(tmp_path), small_config(), STAGES).with_name("report.pdf").read_bytes()) == 1

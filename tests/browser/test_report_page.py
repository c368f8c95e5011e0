"""The report's page as a person sees it: on a screen, on a phone, at night, on paper."""

from __future__ import annotations

import re

import pytest
from browser_fixture import grave_faults
from report_fixture import STAGES, make_run, small_config

from xray_debug.report.report import write_report

OPEN = "document.querySelectorAll('details').forEach(part => part.open = true)"


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    store = make_run(tmp_path_factory.mktemp("runs") / "fake", small_config(report={"bootstrap": 100}))
    return write_report(store, small_config(report={"bootstrap": 100}), STAGES).with_name("report.html").as_uri()


@pytest.fixture
def opened(browser, address):
    """Opens the page in a window of this size; closed after the test."""
    contexts = []

    def opened(width: int, height: int, scheme: str = "light"):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()


def test_answer_scores_and_cases_are_on_the_first_screen(opened):
    page = opened(1280, 800)
    for place in (".answer", ".plot", ".strongest"):
        box = page.locator(place).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 800, place
    assert page.locator(".strongest article").count() == 3 and page.locator("details.part[open]").count() == 0


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")])
def test_nothing_is_cut_off_and_axe_finds_no_grave_fault(opened, width, scheme):
    page = opened(width, 800, scheme)
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert grave_faults(page, colours_alone=scheme == "dark") == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 25, 31)"
    assert dark == (scheme == "dark")


def test_a_picture_opens_large_and_closes_again(opened):
    page = opened(1280, 800)
    page.click(".strongest img")
    large = page.locator("#large-1")
    assert large.bounding_box() == {"x": 0, "y": 0, "width": 1280, "height": 800}
    assert large.locator("img").first.bounding_box()["width"] > 300
    page.click("#large-1 .close")
    assert page.locator("#large-1").bounding_box()["height"] < 400
    assert page.evaluate("document.getElementById('case-1').closest('details').open")


def test_a_link_of_the_page_opens_what_is_folded(opened):
    page = opened(1280, 800)
    page.click("text=Glossary")
    assert page.evaluate("document.getElementById('glossary').closest('details').open")


def test_on_paper_everything_is_open_and_short(opened):
    page = opened(1280, 800)
    page.emulate_media(media="print")
    assert all(box.is_visible() for box in page.locator(".body:not(#settings)").all())
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4", prefer_css_page_size=True))) <= 7

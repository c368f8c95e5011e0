"""Chromium for the tests of what a person sees: found on this machine, never downloaded by a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--force-color-profile=srgb")  # fmt: skip
OF_COLOURS = ("color-contrast", "link-in-text-block")  # of the rules that axe-core asks unasked


def find_browser() -> str | None:
    """The browser's program: XRAY_DEBUG_BROWSER, or a Chromium on the path; None: there is none (playwright's own, if
    it was installed, is found by playwright)."""
    asked = os.environ.get("XRAY_DEBUG_BROWSER")
    return asked or next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator:
    """A headless browser of playwright's sync interface; the test is skipped with a reason where none can be had."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        program = find_browser()
        if program is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium on this machine: install one (Debian: apt-get install chromium), or name it in "
                        "XRAY_DEBUG_BROWSER")  # fmt: skip
        browser = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        yield browser
        browser.close()


def grave_faults(page, colours_alone: bool = False) -> list[str]:
    """What axe-core finds on the page that is serious or critical, one line for each rule, with the first places.

    `colours_alone`: by its rules of colours, where the same page was looked at by all of them in other colours.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    options = {"resultTypes": ["violations"]} | (
        {"runOnly": {"type": "rule", "values": list(OF_COLOURS)}} if colours_alone else {})  # fmt: skip
    found = axe.Axe().run(page, options=options).response["violations"]
    return [f"{fault['id']} ({fault['impact']}): {fault['help']}: "
            + "; ".join(" ".join(map(str, node["target"])) for node in fault["nodes"][:5])
            for fault in found if fault["impact"] in ("serious", "critical")]  # fmt: skip

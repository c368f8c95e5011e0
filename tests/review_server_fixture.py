"""The review app as a person starts it, and a page of the browser on it that keeps what went wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from traffic_fixture import Traffic

ROOT = Path(__file__).parents[1]
WAIT = 180_000  # milliseconds: the machine may be busy, and a page may wait for a program that loads torch
TYPED = 400  # milliseconds of the page: the editor waits a quarter of a second for more of the same

DRAWN = """document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === "notRunning" """
SHOWN = """(() => {
    const find = (root) => root.querySelector(".editor")
        ?? [...root.querySelectorAll("*")].map((e) => e.shadowRoot && find(e.shadowRoot)).find(Boolean);
    const editor = find(document), name = new URLSearchParams(location.search).get("case");
    return editor?.dataset.ready && editor.dataset.case === name && (wanted ?? name) === name;
})()"""  # the film of the address's case, and no newer one on its way
LATER = """async (wanted) => {
    await new Promise((done) => setTimeout(done));  // what a handler puts off to the next turn is sent
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return Boolean(%s);
}"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


class Server:
    """`xray-debug review` on a run (or on none), started in the folder `where`; `kill` ends it as a crash would."""

    def __init__(self, run: Path | None, *more: str, port: int | None = None, where: Path | None = None,
                 environment: dict | None = None):  # fmt: skip
        self.port = port or free_port()
        given = ["--run", str(run)] if run else []
        command = [sys.executable, "-m", "xray_debug", "review", *given, "--port", str(self.port), *more]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "STREAMLIT_SERVER_HEADLESS": "true"} | (environment or {})
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True, cwd=where)  # fmt: skip
        self.wait()

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}/"

    def wait(self) -> None:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}_stcore/health", timeout=5):
                return
            if self.process.poll() is not None:
                raise RuntimeError(f"the review app ended with {self.process.returncode}")
            time.sleep(0.1)
        raise RuntimeError("the review app did not start")

    def stop(self) -> None:
        """Ends it as Ctrl-C would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=30)
        self.kill()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def serving(run: Path, *more: str) -> Iterator[Server]:
    server = Server(run, *more)
    try:
        yield server
    finally:
        server.kill()


class Case:
    """The page of cases in a browser. `faults`: errors of the console and of scripts."""

    def __init__(self, browser, address: str, size=(1280, 800), **options):
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.faults: list[str] = []
        self.page.on("console", lambda said: said.type == "error" and self.faults.append(said.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.traffic = Traffic(self.page)
        self.page.goto(address)

    def close(self) -> None:
        self.context.close()

    def __enter__(self) -> Case:
        self.ready()
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def editor(self):
        return self.page.locator(".editor")

    def ready(self, name: str | None = None) -> str:
        """Waits until the film of a case (`name`, or any) is drawn, and the page to its end; its name."""
        self.until(lambda: self._ended(f"{SHOWN} && {DRAWN}", name), every=10)
        return self.name

    def still(self) -> None:
        """Waits until the script has ended with all that the page has sent, and the page is drawn to its end."""
        self.until(lambda: self._ended(DRAWN), every=10)

    def _ended(self, seen: str, wanted: str | None = None) -> bool:
        ended = not self.traffic.open and self.page.evaluate(LATER % seen, wanted)
        return ended and not self.traffic.open  # nothing was sent meanwhile

    @property
    def name(self) -> str:
        return self.editor.get_attribute("data-case")

    @property
    def boxes(self) -> list[list[int]]:
        return json.loads(self.editor.get_attribute("data-boxes"))

    @property
    def view(self) -> list[float]:
        """Scale, left and top of the film on the stage, in CSS pixels."""
        return json.loads(self.editor.get_attribute("data-view"))

    def fitted(self) -> list[float]:
        """What `view` is when a film of 256 x 256 pixels fills the stage."""
        stage = self.page.locator(".stage").bounding_box()
        scale = min(stage["width"], stage["height"]) / 256
        return [scale, (stage["width"] - 256 * scale) / 2, (stage["height"] - 256 * scale) / 2]

    def until(self, true: Callable[[], bool], every: int = 50) -> None:
        """Waits for what the page or the review file must come to; `every`: milliseconds between two looks."""
        end = time.monotonic() + WAIT / 1000
        while not true():
            assert time.monotonic() < end, f"it did not come to that; the page: {self.page.inner_text('body')[:2000]}"
            self.page.wait_for_timeout(every)

    def settled(self) -> None:
        """Waits until nothing moves any more: what was typed is sent, and the page is drawn."""
        self.page.evaluate("(wait) => new Promise((done) => setTimeout(done, wait))", TYPED)
        self.still()

    def resize(self, width: int, height: int) -> None:
        """Another size of the window; waits until the film fills its place in it."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.wait_for_function("([w, h]) => innerWidth === w && innerHeight === h", arg=[width, height])
        self.still()
        self.until(lambda: self.view == self.fitted())

    def thumbnails(self) -> None:
        """Waits until the page of the queue is drawn to its end."""
        self.page.locator(".st-key-thumbnails img").first.wait_for()
        self.still()

    def outcome(self, before: str) -> bool:
        """After a decision on `before`: whether it was taken (another case is there) or a conflict is shown."""
        found = self.page.wait_for_function("""before => new URLSearchParams(location.search).get("case") !== before
            ? "taken" : document.querySelector(".st-key-told") && "told" """, arg=before).json_value()  # fmt: skip
        self.ready()
        return found == "taken"

    def key(self, key: str, away: bool = True) -> str:
        """Presses a key on a page that is drawn to its end; `away`: and waits for another case.

        The buttons are new ones for every state of a case: a key that comes while they are exchanged is for the old
        ones, which is right for a person who has not seen the new state, and not what these tests are about.
        """
        before = self.ready()
        self.page.keyboard.press(key)
        if away:
            self.page.wait_for_function(
                "before => new URLSearchParams(location.search).get('case') !== before", arg=before)  # fmt: skip
        else:
            self.settled()
        return self.ready()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel edge of the film is on the screen."""
        scale, left, top = self.view
        bounds = self.page.locator(".editor canvas").bounding_box()
        return bounds["x"] + left + x * scale, bounds["y"] + top + y * scale

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """From one pixel edge of the film to another, with the mouse."""
        self.page.mouse.move(*self.place(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*((a + b) / 2 for a, b in zip(start, end, strict=True))))
        self.page.mouse.move(*self.place(*end))
        self.page.mouse.up()

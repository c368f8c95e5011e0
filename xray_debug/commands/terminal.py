"""What a person sees of a command: sentences, progress, how it ends. Only this, cli.py and app.py talk to one.

With --json-lines another program reads it: one JSON mapping a line on stdout, of one of these shapes:

    {"say": "a sentence"}
    {"doing": "explain", "done": 3, "total": 12}    at most ten a second
    {"error": "a sentence"}
    {"exit": 0}                                     the last one; without it the process was killed
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xray_debug.data.files import FULL, NO_ROOM
from xray_debug.data.shown import shown

out, err = Console(emoji=False), Console(stderr=True, emoji=False)
INTERRUPTED, TERMINATED = 130, 143  # what a shell expects of a program ended by SIGINT, SIGTERM


def lines_wanted() -> bool:
    """Whether --json-lines was given."""
    return out.quiet


def write_line(**values: Any) -> None:
    """One line for the program that reads."""
    print(json.dumps(values), flush=True)


def say(text: str) -> None:
    if lines_wanted():
        write_line(say=shown(text, keep="\n"))
    out.print(shown(text, keep="\n"), markup=False, highlight=False, soft_wrap=True)


def say_aside(text: str) -> None:
    if lines_wanted():
        write_line(say=shown(text, keep="\n"))
    err.print(shown(text, keep="\n"), markup=False, highlight=False, soft_wrap=True)


OFTEN = 0.1  # seconds between two lines of progress


def progress_line(description: str) -> Callable[[int, int], None]:
    """A callback(done, total) that writes lines, not too many; the last one always."""
    description, last = shown(description), 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        if done >= total or time.monotonic() - last >= OFTEN:
            last = time.monotonic()
            write_line(doing=description, done=done, total=total)

    return report


SELDOM = 60.0  # seconds between two sentences of progress where nobody sees a bar: a batch job's log


def progress_sentence(description: str) -> Callable[[int, int], None]:
    """A callback(done, total) that says now and then how far the work is; nothing of what is done sooner than that."""
    begun = last = time.monotonic()
    first: tuple[float, int] | None = None  # a run that goes on has much of it already

    def report(done: int, total: int) -> None:
        nonlocal last, first
        now = time.monotonic()
        if first is None:
            first = (now, done)
        if done < total and now - last >= SELDOM:
            last, (start, had) = now, first
            left = f", about {minutes((now - start) / (done - had) * (total - done))} to go" if done > had else ""
            say_aside(f"{description}: {done:,} of {total:,} in {minutes(now - begun)}{left}")

    return report


def minutes(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable]:
    """Gives `start(description) -> callback(done, total)`; bars, or sentences where stderr is no terminal, go there."""
    if lines_wanted() or not err.is_terminal:
        yield progress_line if lines_wanted() else progress_sentence
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bars:

        def start(description: str) -> Callable[[int, int], None]:
            task, description = None, shown(description)

            def report(done: int, total: int) -> None:
                nonlocal task
                if task is None:
                    task = bars.add_task(description, total=total)
                bars.update(task, completed=done, total=total)
                if done >= total:
                    bars.remove_task(task)
                    task = None

            return report

        yield start


class Terminated(KeyboardInterrupt):
    """SIGTERM: as Ctrl-C, with another exit status."""


class Stopped(Exception):  # noqa: N818  asked for, no error
    """Work was stopped by Ctrl-C or SIGTERM; `status` is what a shell expects."""

    def __init__(self, status: int):
        super().__init__("stopped; what is done is kept, and the same command goes on where it was")
        self.status = status


_signals: list[int] = []  # that came, the first of which decides the exit status


def _stop(number: int, frame: object) -> None:
    _signals.append(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def bad_request(error: BaseException) -> bool:
    """Whether the user asked for something impossible (exit status 2) rather than a run having failed (1)."""
    return isinstance(error, (ValueError, ImportError, FileNotFoundError))


def one_sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    text = ("\n" if type(error).__name__ == "ConfigError" else " ").join(filter(None, lines)) or type(error).__name__
    if isinstance(error, OSError) and error.errno in FULL or "disk is full" in text:
        return f"{text}: {NO_ROOM}"
    return (
        text
        if isinstance(error, (ValueError, RuntimeError, TypeError, ImportError))
        else f"{type(error).__name__}: {text}"
    )


def leave(status: int) -> None:
    """Ends the process at once: no waiting for threads that are still at an image, nor for what was imported to be
    taken apart, which takes longer than all else of a stop (4.6 of 4.8 s in the middle of training, all cores busy)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    """A library's warning as a sentence, without the line of source that Python adds."""
    say_aside(f"warning: {' '.join(str(message).split())}")


def run_command(command: Callable[[], int]) -> None:
    """Runs a command to its end: one sentence on stderr instead of a traceback, unless --debug, and an exit status."""
    debug = _taken("--debug")
    out.quiet = err.quiet = _taken("--json-lines")
    if not debug:
        warnings.showwarning = show_warning
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        status = command()
        if _signals:  # Typer makes an exit status of it
            raise KeyboardInterrupt
    except (Stopped, KeyboardInterrupt) as error:
        status = error.status if isinstance(error, Stopped) else 128 + (_signals or [signal.SIGINT])[0]
        _ignore_signals()
        say_aside(str(error) if isinstance(error, Stopped) else "stopped")
        _told_exit(status)
        leave(status)
    except Exception as error:
        if debug:
            traceback.print_exc()
        elif lines_wanted():
            write_line(error=shown(one_sentence(error), keep="\n"))
        else:
            say_aside(f"xray-debug: {one_sentence(error)}")
        status = 2 if bad_request(error) else 1
    _told_exit(status)
    sys.exit(status)


def _taken(option: str) -> bool:
    """Whether `option` was given, before or after the command; it is taken out."""
    given = option in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != option]
    return given


def _told_exit(status: int) -> None:
    if lines_wanted():
        write_line(exit=status)


def run_beside(command: list[str], patience: float = 10.0) -> int:
    """Runs another program to its end; its exit status. Where this one is stopped, that one has time to tidy up.

    Ctrl-C at a terminal goes to both; SIGTERM to this one alone, so that it is handed on.
    """
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt as error:
        _ignore_signals()
        if isinstance(error, Terminated):
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        if process.poll() is None:
            process.kill()
        raise


def stop_status(error: BaseException) -> int:
    return TERMINATED if isinstance(error, Terminated) else INTERRUPTED


def _ignore_signals() -> None:
    """While the sentence is printed: a second Ctrl-C would print a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def share_of(text: str | None) -> tuple[int, int] | None:
    """ "2/8" as (2, 8)."""
    from xray_debug.config import ConfigError

    if text is None:
        return None
    left, _, right = text.partition("/")
    if not (left.isdecimal() and right.isdecimal() and 1 <= int(left) <= int(right)):
        raise ConfigError(f"--part {text}: expected I/N with 1 <= I <= N, for example 2/8")
    return int(left), int(right)

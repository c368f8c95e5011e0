"""The command line without a process of its own, which would load torch anew for every sentence."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import pytest

from xray_debug import cli
from xray_debug.commands import terminal


def call(*arguments: object, check: int | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """`xray-debug ARGUMENTS` in the folder `cwd` (None: where the test is): its exit status, and what it said.

    `check`: the exit status that is expected. What the command changes of the process is put back.
    """
    words, out, err = list(map(str, arguments)), io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    quiet = terminal.out.quiet, terminal.err.quiet
    try:
        with contextlib.ExitStack() as around:
            around.enter_context(mock.patch.dict(os.environ, {"COLUMNS": "200"}))
            around.enter_context(mock.patch.object(sys, "argv", ["xray-debug", *words]))
            around.enter_context(contextlib.chdir(cwd or os.getcwd()))
            around.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            around.enter_context(contextlib.redirect_stdout(out))
            around.enter_context(contextlib.redirect_stderr(err))
            ended = around.enter_context(pytest.raises(SystemExit))
            cli.main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        terminal.out.quiet, terminal.err.quiet = quiet
    status = ended.value.code or 0
    assert check in (None, status), err.getvalue()
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())

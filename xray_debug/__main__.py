"""Where the program begins: Ctrl-C and SIGTERM are answered before anything else is imported."""

import os
import signal
import sys


def _leave(number: int, frame: object) -> None:
    os.write(2, b"stopped; nothing was begun\n")
    os._exit(128 + number)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from xray_debug.cli import main as command

    sys.exit(command())


if __name__ == "__main__":
    main()

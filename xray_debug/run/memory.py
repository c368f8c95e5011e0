"""How much memory a stage took: this process and its children, watched from a thread, on every system."""

from __future__ import annotations

import threading

import psutil

EVERY = 0.2  # seconds between two looks


class MemoryWatch:
    """Context whose `peak_mb` is the largest resident memory seen inside it, children included, MiB."""

    def __enter__(self) -> MemoryWatch:
        self.peak_mb, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while True:
            total = 0
            try:
                for process in [me, *me.children(recursive=True)]:
                    try:
                        total += process.memory_info().rss
                    except psutil.Error:  # it has just ended
                        continue
            except psutil.Error:
                pass
            self.peak_mb = max(self.peak_mb, round(total / 2**20, 1))
            if self._stop.wait(EVERY):
                return

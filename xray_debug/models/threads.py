"""How many threads torch computes with, for a while."""

from __future__ import annotations

import contextlib

import torch


@contextlib.contextmanager
def threads_of(count: int):
    """torch's threads set to `count`, and back."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_thread():
    """torch with one thread, and back."""
    return threads_of(1)

"""Whether half the bits are faster here: a short measurement, the same question on every machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from xray_debug.models.threads import one_thread

FASTER = 1.25  # bfloat16 must win by so much: then noise of the clock does not settle the matter
ROUNDS = 5


def bf16_is_faster(make: Callable[[torch.dtype], Callable[[], object]], faster: float = FASTER) -> bool:
    """Times `make(float32)()` and `make(bfloat16)()` by turns, after one call each; the quickest of ROUNDS counts.

    Processor time of one thread, so that other work on the machine does not settle the matter.

    Where the first call in bfloat16 takes four times as long, the CPU emulates it, and the question is settled.
    """
    calls = {dtype: make(dtype) for dtype in (torch.float32, torch.bfloat16)}
    times = {dtype: [] for dtype in calls}
    with torch.inference_mode(), one_thread():
        for turn in range(ROUNDS + 2):
            for dtype, call in calls.items():
                start = time.thread_time()
                call()
                if turn:  # the first call prepares kernels
                    times[dtype].append(time.thread_time() - start)
            exact, half = (min(times[dtype], default=0.0) for dtype in calls)
            if turn == 1 and half > 4 * exact:
                return False
    return exact >= faster * half

"""Processor time per element of every activation, forward and backward, on 32 K floats in cache.

FASTNN_CPU=avx2 FASTNN_NUM_THREADS=1 python bench/activations.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

import fastnn as fnn
from fastnn import functional as F
from fastnn.ops import activation

SIZE = 32768
OPTIONS: dict[str, Callable] = {
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "maxout": lambda x: F.maxout(x, 2),
    "prelu": lambda x: F.prelu(x, np.full(1, 0.25, np.float32)),
}


def fastest(call: Callable, repeat: int = 30) -> float:
    """ns per element of the fastest of some runs."""
    best = np.inf
    for _ in range(repeat):
        start = time.thread_time_ns()
        for _ in range(20):
            call()
        best = min(best, (time.thread_time_ns() - start) / 20)
    return best / SIZE


def main() -> None:
    x = fnn.randn(SIZE)
    leaf = fnn.randn(SIZE)
    leaf.requires_grad = True
    for name in sys.argv[1:] or sorted({*activation.__all__, *OPTIONS}):
        function = OPTIONS.get(name) or getattr(F, name)
        y = function(leaf)
        gradient, backward = fnn.ones(*y.shape)._array, y._node.backward
        times = fastest(lambda f=function: f(x)), fastest(lambda b=backward, g=gradient: b(g))
        print(f"{name:12} {times[0]:6.3f} {times[1]:6.3f}", flush=True)


if __name__ == "__main__":
    main()

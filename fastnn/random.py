"""The random stream: a seed and a counter (Philox; Salmon et al., SC'11).

A draw reserves a range of counters, and each element is computed from its own counter, so that
results depend on the seed and the order of draws, never on threads or CPU targets.
"""

from __future__ import annotations

import threading

_lock = threading.Lock()
_seed = 0
_offset = 0


def manual_seed(seed: int) -> None:
    """Restarts the random stream that initializers, dropout, `rand` and `randn` draw from.

    Parameters
    ----------
    seed : int
        In [0, 2^64). The stream starts at 0 when fastnn is imported.
    """
    global _seed, _offset
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"manual_seed: seed must be an int, got {type(seed).__name__}")
    value = seed.__index__()
    if not 0 <= value < 1 << 64:
        raise ValueError(f"manual_seed: seed must be in [0, 2**64), got {seed}")
    with _lock:
        _seed, _offset = value, 0


def reserve(count: int) -> tuple[int, int]:
    """(seed, first counter) for `count` elements of at most two 32-bit words each."""
    global _offset
    with _lock:
        start = _offset
        _offset += count // 2 + 1
        return _seed, start


def get_rng_state() -> tuple[int, int]:
    """(seed, counter) of the stream, for `set_rng_state`."""
    return _seed, _offset


def set_rng_state(state: tuple[int, int]) -> None:
    """Puts the stream back to where `get_rng_state` found it."""
    global _seed, _offset
    seed, offset = int(state[0]), int(state[1])
    if not (0 <= seed < 1 << 64 and 0 <= offset < 1 << 64):
        raise ValueError(f"set_rng_state: expected two ints in [0, 2**64), got {state}")
    with _lock:
        _seed, _offset = seed, offset

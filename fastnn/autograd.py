"""Whether operations are recorded on the tape, which is in _bridge/tape.pxi."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ._core import Array

Backward = Callable[..., Sequence[Array | None]]
_F = TypeVar("_F", bound=Callable[..., Any])


class _Mode(threading.local):
    enabled = True


_mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded."""
    return _mode.enabled


class no_grad:
    """Context manager and decorator: operations of this thread are not recorded inside.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x = fnn.ones(2, requires_grad=True)
    >>> with fnn.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __enter__(self) -> None:
        self._before = _mode.enabled
        _mode.enabled = False

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._before

    def __call__(self, function: _F) -> _F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with no_grad():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]

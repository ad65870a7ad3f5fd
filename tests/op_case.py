"""What a row of the op table (cases.py) is: its inputs, its oracle's answer, its tolerances."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import reference as ref
from compare import assert_close

Array = np.ndarray
Domain = Callable[[np.random.Generator, tuple], Array]


# ---- inputs -------------------------------------------------------------------------------------


def normal(rng, shape):
    return rng.standard_normal(shape)


def spread(rng, shape):
    """Normal times 4: reaches the flat parts of sigmoid and tanh."""
    return 4 * rng.standard_normal(shape)


def offset(rng, shape):
    """1000 + noise, where a careless sum of squares cancels."""
    return 1000 + rng.standard_normal(shape)


def away(rng, shape):
    """At least 0.1 from the kink at 0."""
    return rng.uniform(0.1, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def positive(rng, shape):
    return rng.uniform(0.25, 3.0, shape)


def distinct(rng, shape):
    """No two values closer than the finite-difference step, for maxima."""
    size = int(np.prod(shape))
    return rng.permutation(np.linspace(-2.0, 2.0, max(size, 2))[:size]).reshape(shape)


def ties(rng, shape):
    """Small whole numbers with zeros and repeats, for tie rules and exact kinks."""
    return rng.integers(-2, 3, shape).astype(np.float64)


def labels(classes: int) -> Domain:
    return lambda rng, shape: rng.integers(0, classes, shape)


@dataclass(frozen=True)
class Input:
    """One argument: its shape, how to draw it, and whether a gradient is asked for."""

    shape: tuple[int, ...]
    draw: Domain = normal
    grad: bool = True


@dataclass(frozen=True)
class Case:
    """One row of the table.

    forward, backward: (rtol, atol) in eps. Where `sums` names a direction, the bound is instead
    `sum_c`·√terms·eps·Σ|a||b|, found by running the oracle on absolute values and on ones.
    smooth: finite differences make sense at these inputs.
    """

    op: str
    label: str
    call: Callable
    oracle: Callable[..., ref.Oracle]
    inputs: tuple[Input, ...]
    forward: tuple[float, float] = (2, 0)
    backward: tuple[float, float] = (8, 8)
    sums: frozenset[str] = frozenset()
    sum_c: float = 2.0
    smooth: bool = True
    _cache: dict = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.op}[{self.label}]"

    def arrays(self, dtype) -> list[Array]:
        """Seeded inputs; floating-point ones in `dtype`, labels as they are."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        drawn = [i.draw(rng, i.shape) for i in self.inputs]
        return [np.asarray(a, dtype=dtype if a.dtype.kind == "f" else None) for a in drawn]

    def truth(self, dtype) -> Truth:
        """What the oracle says about these inputs, computed once."""
        if dtype not in self._cache:
            self._cache[dtype] = Truth(self, dtype)
        return self._cache[dtype]


class Truth:
    """Inputs, dL/dy, and the oracle's value and gradients with their tolerances."""

    def __init__(self, case: Case, dtype) -> None:
        self.arrays = case.arrays(dtype)
        floats = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in self.arrays]
        y, vjp = case.oracle(*floats)
        self.y = np.asarray(y)
        rng = np.random.default_rng(1)
        self.dy = np.asarray(rng.uniform(0.5, 1.5, self.y.shape)).astype(dtype)
        self.dy *= rng.choice([-1, 1], self.y.shape).astype(dtype)
        grads = vjp(self.dy.astype(np.float64))
        self.grads = [g if i.grad else None for g, i in zip(grads, case.inputs, strict=True)]
        eps = np.finfo(dtype).eps
        self.rtol = {"forward": case.forward[0] * eps, "backward": case.backward[0] * eps}
        self.atol = {
            "forward": case.forward[1] * eps,
            "backward": [case.backward[1] * eps] * len(self.grads),
        }
        if not case.sums:
            return
        sizes = [np.abs(a) if a.dtype.kind == "f" else a for a in floats]
        ones = [np.ones(a.shape) if a.dtype.kind == "f" else a for a in floats]
        magnitude, magnitude_vjp = case.oracle(*sizes)
        terms, terms_vjp = case.oracle(*ones)

        def bound(count, total):
            return case.sum_c * np.sqrt(np.maximum(np.abs(count), 1)) * eps * np.abs(total)

        if "forward" in case.sums:
            self.rtol["forward"], self.atol["forward"] = 0.0, bound(terms, magnitude)
        if "backward" in case.sums:
            self.rtol["backward"] = 0.0
            self.atol["backward"] = [
                None if t is None else bound(t, m)
                for t, m in zip(
                    terms_vjp(np.ones(self.y.shape)), magnitude_vjp(np.abs(self.dy)), strict=True
                )
            ]

    def check_value(self, y: Array, name: str) -> None:
        """y is the op's value, within the case's forward tolerance."""
        assert_close(y, self.y, rtol=self.rtol["forward"], atol=self.atol["forward"],
                     dtype=self.dy.dtype, name=f"{name} y")

    def check_grads(self, grads: list[Array | None], name: str) -> None:
        """grads are the gradients that the case asks for, within its backward tolerance."""
        for i, (grad, expected) in enumerate(zip(grads, self.grads, strict=True)):
            if expected is None:
                assert grad is None, f"{name}: unexpected gradient of input {i}"
                continue
            assert_close(grad, expected, rtol=self.rtol["backward"],
                         atol=self.atol["backward"][i], dtype=self.dy.dtype,
                         name=f"{name} grad of input {i}")

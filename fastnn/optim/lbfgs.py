"""L-BFGS: a quasi-Newton method for problems that are computed as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tensor import Tensor, from_numpy
from .optimizer import Optimizer, check_number

Vector = NDArray[Any]
SUFFICIENT_DECREASE, CURVATURE = 1e-4, 0.9  # c1 and c2 of the strong Wolfe conditions
LINE_SEARCH_STEPS = 25


class LBFGS(Optimizer):
    """L-BFGS: descent along H g, H an inverse Hessian from the last steps and gradients.

    Unlike the other optimizers it calls `closure` several times in a step. The loss must be the
    same function each time: all data, no dropout.

    Sources: Nocedal and Wright, "Numerical optimization", 2nd edition, 2006, algorithms 7.4, 7.5
    (L-BFGS), 3.5, 3.6 (line search).

    Parameters
    ----------
    params : iterable of Parameters
        One group.
    lr : float
        Length of a step, or of the first trial of the line search.
    max_iter : int
        Iterations in a step.
    max_eval : int, optional
        Calls of `closure` in a step; default: 5 max_iter / 4.
    tolerance_grad : float
        Ends the step where no element of the gradient is larger.
    tolerance_change : float
        Ends the step where neither the parameters nor the loss change more.
    history_size : int
        How many steps H remembers: it holds twice as many vectors of all parameters.
    line_search_fn : "strong_wolfe" or None

    Raises
    ------
    TypeError, ValueError
        If an option is of another type or out of range, or there are several groups.

    Examples
    --------
    >>> import fastnn as fnn
    >>> w = fnn.nn.Parameter(fnn.tensor([4.0, -3.0]))
    >>> optimizer = fnn.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 1.0) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> w.numpy().round(4).tolist()
    [1.0, 1.0]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        options = {
            "lr": lr, "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        self.check_options(options)
        super().__init__(params, options)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        if self.param_groups:
            raise ValueError("LBFGS: takes one group of parameters")
        super().add_param_group(group)

    def check_options(self, group: dict[str, Any]) -> None:
        for option in ("lr", "tolerance_grad", "tolerance_change"):
            check_number("LBFGS", option, group[option])
        for option in ("max_iter", "max_eval", "history_size"):
            value = group[option]
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"LBFGS: {option} must be an int, got {type(value).__name__}")
            check_number("LBFGS", option, value, 1)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                "LBFGS: line_search_fn must be 'strong_wolfe' or None, "
                f"got {group['line_search_fn']!r}"
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Iterates from where the last step ended; returns what `closure` returned at the start.

        Parameters
        ----------
        closure : callable
            Sets the gradients anew and returns the loss.
        """
        if not callable(closure):
            raise TypeError("LBFGS: step needs a closure that computes loss and gradients")
        group = self.param_groups[0]
        self.check_options(group)
        lr, search = float(group["lr"]), group["line_search_fn"]
        first = closure()
        loss, g = float(first), self._gradient()
        evaluations = 1
        memory = _Memory(self.state.get(group["params"][0], {}), group["history_size"])
        for iteration in range(1, group["max_iter"] + 1):
            if _largest(g) <= group["tolerance_grad"]:
                break
            d = memory.direction(g)
            t = min(1.0, 1.0 / float(np.abs(g).sum())) * lr if memory.iterations == 1 else lr
            slope, before = _dot(g, d), loss
            memory.gradient = g
            if slope > -group["tolerance_change"]:
                break
            calls = 0
            if search is not None:
                start = self._values()

                def at(t: float, start: Any = start, d: Vector = d) -> _Point:
                    """The loss at `start` + t d."""
                    self._move(start, t, d)
                    loss = float(closure())
                    g = self._gradient()
                    return _Point(t, loss, _dot(g, d), g)

                here = _Point(0.0, loss, slope, g)
                point, calls = _line_search(at, here, t, _largest(d), group["tolerance_change"])
                t, loss, g = point.t, point.loss, point.gradient
                self._move(start, t, d)
            else:
                self._move(self._values(), t, d)
                if iteration < group["max_iter"]:  # the next step begins with an evaluation
                    loss, calls = float(closure()), 1
                    g = self._gradient()
            memory.step = t * d
            evaluations += calls
            if (
                evaluations >= group["max_eval"]
                or _largest(memory.step) <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        self.state[group["params"][0]] = memory.state()
        return first

    def _gradient(self) -> Vector:
        """All gradients in one vector; zeros for parameters without one."""
        parts = []
        for p in self.param_groups[0]["params"]:
            if p.grad is not None and not isinstance(p.grad, Tensor):
                raise TypeError(f"LBFGS: .grad must be a Tensor, got {type(p.grad).__name__}")
            parts.append(np.zeros(p.numel(), p.dtype) if p.grad is None else p.grad.numpy().ravel())
        return np.concatenate(parts)

    def _values(self) -> list[Vector]:
        return [p.numpy().copy() for p in self.param_groups[0]["params"]]

    def _move(self, start: list[Vector], t: float, d: Vector) -> None:
        """Sets the parameters to `start` + t d."""
        at = 0
        for p, values in zip(self.param_groups[0]["params"], start, strict=True):
            part = d[at : at + p.numel()].reshape(p.shape)
            np.copyto(p.numpy(), values + part * part.dtype.type(t), casting="same_kind")
            p._array.touch()
            at += p.numel()

    def _copy(self, what: str, key: str, value: Any, parameter: Tensor) -> Any:
        if isinstance(value, Tensor):
            value = value.numpy()
        if not isinstance(value, np.ndarray):
            return value
        count = sum(p.numel() for p in self.param_groups[0]["params"])
        if value.dtype.kind != "f" or value.ndim not in (1, 2) or value.shape[-1] != count:
            raise ValueError(
                f"{what} must be vectors of {count} floats, "
                f"got {value.dtype} of shape {value.shape}"
            )
        return from_numpy(value.copy())


class _Memory:
    """What L-BFGS remembers: the last steps s and changes of the gradient y."""

    def __init__(self, state: dict[str, Any], size: int) -> None:
        def vectors(name: str) -> list[Vector]:
            return list(state[name].numpy()) if name in state else []

        self.size = size
        self.iterations: int = state.get("n_iter", 0)
        self.steps, self.changes = vectors("old_stps"), vectors("old_dirs")
        self.scale: float = state.get("H_diag", 1.0)
        self.gradient = state["prev_flat_grad"].numpy() if "prev_flat_grad" in state else None
        self.step: Vector | None = state["step"].numpy() if "step" in state else None

    def state(self) -> dict[str, Any]:
        """All of it, as the optimizer's state: numbers and Tensors."""
        found: dict[str, Any] = {"n_iter": self.iterations, "H_diag": self.scale}
        if self.steps:
            found["old_stps"] = from_numpy(np.stack(self.steps))
            found["old_dirs"] = from_numpy(np.stack(self.changes))
        for name, vector in (("prev_flat_grad", self.gradient), ("step", self.step)):
            if vector is not None:
                found[name] = from_numpy(vector)
        return found

    def direction(self, g: Vector) -> Vector:
        """-H g, H with the last step taken in."""
        self.iterations += 1
        if self.gradient is not None and self.step is not None:
            y = g - self.gradient
            curvature = _dot(y, self.step)
            if curvature > 1e-10:  # H stays positive definite
                self.steps = [*self.steps, self.step][-self.size :]
                self.changes = [*self.changes, y][-self.size :]
                self.scale = curvature / _dot(y, y)
        d, real = -g, g.dtype.type
        weights = []
        pairs = [(s, y, _dot(y, s)) for s, y in zip(self.steps, self.changes, strict=True)]
        for s, y, curvature in reversed(pairs):
            weight = _dot(s, d) / curvature
            d -= real(weight) * y
            weights.append(weight)
        d *= real(self.scale)
        for (s, y, curvature), weight in zip(pairs, reversed(weights), strict=True):
            d += real(weight - _dot(y, d) / curvature) * s
        return d


class _Point(NamedTuple):
    """A point of the line: where, the loss, its derivative along the line, its gradient."""

    t: float
    loss: float
    slope: float
    gradient: Vector


def _line_search(
    at: Callable[[float], _Point], start: _Point, t: float, reach: float, tolerance: float
) -> tuple[_Point, int]:
    """A point that meets the strong Wolfe conditions, or the best found; and calls of `at`."""

    def rises(point: _Point) -> bool:  # NaN counts as rising
        return not point.loss <= start.loss + SUFFICIENT_DECREASE * point.t * start.slope

    def flat(point: _Point) -> bool:
        return abs(point.slope) <= -CURVATURE * start.slope

    previous, point, calls = start, at(t), 1
    for tried in range(LINE_SEARCH_STEPS):  # forward, until a minimum is enclosed
        if rises(point) or (tried > 1 and point.loss >= previous.loss):
            break
        if flat(point):
            return point, calls
        if point.slope >= 0:
            break
        least, most = point.t + 0.01 * (point.t - previous.t), 10.0 * point.t
        t = _minimum(previous, point, least, most)
        previous, point, calls = point, at(t), calls + 1
    else:
        previous = start
    low, high = (point, previous) if point.loss < previous.loss else (previous, point)
    stuck = False
    while calls <= LINE_SEARCH_STEPS and abs(high.t - low.t) * reach >= tolerance:
        a, b = (low, high) if low.t < high.t else (high, low)
        left, right = a.t, b.t
        t = _minimum(a, b, left, right)
        margin = 0.1 * (right - left)
        near = min(right - t, t - left) < margin
        if near and (stuck or not left < t < right):
            t = right - margin if right - t < t - left else left + margin
            near = False
        stuck = near
        point, calls = at(t), calls + 1
        if rises(point) or point.loss >= low.loss:
            high = point
            if high.loss < low.loss:
                low, high = high, low
            continue
        if flat(point):
            return point, calls
        if point.slope * (high.t - low.t) >= 0:
            high = low
        low = point
    return low, calls


def _minimum(a: _Point, b: _Point, least: float, most: float) -> float:
    """Where the cubic through two points (a before b) has its minimum, within the bounds."""
    chord = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t)
    square = chord * chord - a.slope * b.slope
    if square >= 0.0:
        root = math.sqrt(square)
        bottom = b.slope - a.slope + 2.0 * root
        if bottom != 0.0:
            t = b.t - (b.t - a.t) * ((b.slope + root - chord) / bottom)
            return min(max(t, least), most)
    return 0.5 * (least + most)


def _dot(a: Vector, b: Vector) -> float:
    return float((a * b).sum(dtype=np.float64))  # in one order, whatever the number of threads


def _largest(a: Vector) -> float:
    return float(np.abs(a).max(initial=0.0))

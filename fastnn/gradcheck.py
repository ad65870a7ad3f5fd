"""Gradient check: what backward says against differences of forward.

Each variable is moved along a few random unit directions and along its own gradient; the slope of a
random weighting of the outputs, from central differences in float64, must be the gradient's. Two to
five forward calls for each direction, whatever the size (the idea is Chainer's).

A function with kinks (ReLU, max-pooling) has no slope where a difference spans one. That is seen
from the slopes to the left and to the right: on a smooth function they approach each other as the
step shrinks, across a kink they do not. Such a direction is tried with smaller steps, and then
replaced. It never counts as passed: every variable needs directions that agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .autograd import no_grad
from .nn import Module
from .tensor import Tensor, as_tensor

__all__ = ["GradcheckError", "Report", "gradcheck"]

_DIRECTIONS = 3  # random ones for each variable
_RETRIES = 8  # directions that may be replaced because of kinks, for each variable
_SHRINK = (1.0, 0.1, 0.01)  # steps for a direction that seems to span a kink

Arrays = list[np.ndarray[Any, Any]]


class GradcheckError(AssertionError):
    """Backward does not fit forward, or nothing was checked."""


@dataclass
class Report:
    """What was checked; true, because failing raises."""

    directions: int = 0
    kinks: list[str] = field(default_factory=list)


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
) -> Report:
    """Compares the gradients of a function, or of a Module, with central differences.

    Parameters
    ----------
    fn : callable or Module
        From Tensors to a Tensor or several. Of a Module, the parameters are checked, too.
    inputs : Tensor, array or a sequence of them
        float64. Checked are those with requires_grad; all, if none has it. Integer ones are passed
        on as they are. They are not modified.
    eps : float
        Step, in the norm of the whole variable.
    atol, rtol : float
        |analytic - numeric| <= atol min(1, s) + rtol |numeric|, s the largest slope of the
        variable, so that small gradients are checked as strictly as large ones.

    Returns
    -------
    Report
        How many directions were checked, and which of them met kinks. It is true.

    Raises
    ------
    GradcheckError
        If a gradient differs, is not finite or has a wrong shape; if all gradients are zero, so
        that nothing was checked; or if fn gives different results for the same inputs.
    TypeError
        If an input or a parameter is float32.

    Examples
    --------
    >>> import fastnn as fnn
    >>> bool(fnn.gradcheck(lambda x: x.exp(), fnn.randn(3, dtype="float64")))
    True
    """
    for name, value in (("eps", eps), ("atol", atol), ("rtol", rtol)):
        if not (math.isfinite(value) and value >= 0 and (name != "eps" or value > 0)):
            raise ValueError(f"gradcheck: {name} must be finite and positive, got {value}")
    return _Check(fn, inputs, eps, atol, rtol).run()


class _Check:
    def __init__(
        self, fn: Callable[..., Any], inputs: Any, eps: float, atol: float, rtol: float
    ) -> None:
        self.fn, self.eps, self.atol, self.rtol = fn, eps, atol, rtol
        given = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
        tensors = [as_tensor(x, "gradcheck", f"inputs[{i}]") for i, x in enumerate(given)]
        floats = [t._array.dtype.startswith("float") for t in tensors]
        chosen = [t.requires_grad for t in tensors]
        parameters = list(fn.named_parameters()) if isinstance(fn, Module) else []
        for name, t in [(f"inputs[{i}]", t) for i, t in enumerate(tensors)] + parameters:
            if t._array.dtype == "float32":
                raise TypeError(f"gradcheck: {name} must be float64, got float32; use double()")
        self.args: list[Tensor] = []
        self.variables: list[tuple[str, Tensor]] = []
        for i, t in enumerate(tensors):
            arg = t.detach().clone()
            if floats[i] and (chosen[i] or not any(chosen)):
                self.variables.append((f"inputs[{i}]", arg.requires_grad_()))
            self.args.append(arg)
        self.variables += [(name, p) for name, p in parameters if p.requires_grad]
        if not self.variables:
            raise ValueError("gradcheck: there is no float64 input and no parameter to check")
        self.rng = np.random.default_rng(0)
        self.report = Report()

    def run(self) -> Report:
        grads = [t.grad for _, t in self.variables]
        try:
            analytic = self.analytic()
            for (name, tensor), gradient in zip(self.variables, analytic, strict=True):
                self.check_variable(name, tensor, gradient)
        finally:
            for (_, tensor), grad in zip(self.variables, grads, strict=True):
                tensor.grad = grad
        if not any(np.any(g) for g in analytic):
            raise GradcheckError(
                "gradcheck: all gradients are zero, and so are all slopes: nothing was checked"
            )
        return self.report

    def outputs(self) -> list[Tensor]:
        """The float outputs of fn."""
        result = self.fn(*self.args)
        parts = list(result) if isinstance(result, tuple | list) else [result]
        for part in parts:
            if not isinstance(part, Tensor):
                raise TypeError(f"gradcheck: fn must return Tensors, got {type(part).__name__}")
        floats = [part for part in parts if part._array.dtype.startswith("float")]
        if any(part._array.dtype == "float32" for part in floats):
            raise TypeError("gradcheck: fn must return float64, got float32")
        return floats

    def values(self) -> Arrays:
        with no_grad():
            return [part.numpy().copy() for part in self.outputs()]

    def analytic(self) -> Arrays:
        """Gradients of sum over outputs k of weights[k] * outputs[k], by backward."""
        for _, tensor in self.variables:
            tensor.grad = None
        parts = self.outputs()
        self.weights = [self.rng.standard_normal(part.shape) for part in parts]
        self.base = [part.numpy().copy() for part in parts]
        if not all(np.isfinite(y).all() for y in self.base):
            raise GradcheckError("gradcheck: fn returns NaN or infinity at the inputs")
        again = self.values()
        if any(not np.array_equal(a, b) for a, b in zip(self.base, again, strict=True)):
            raise GradcheckError("gradcheck: fn gives different results for the same inputs")
        # Differences of values of this size are off by about their last bit.
        size = sum(float(np.abs(w * y).sum()) for w, y in zip(self.weights, self.base, strict=True))
        self.noise = 8 * np.finfo(np.float64).eps * size / self.eps
        recorded = [(p, w) for p, w in zip(parts, self.weights, strict=True) if p.requires_grad]
        if not recorded:
            raise GradcheckError("gradcheck: no output depends on a variable: nothing was checked")
        for part, weight in recorded:
            part.backward(np.asarray(weight), retain_graph=True)
        return [self.gradient(name, tensor) for name, tensor in self.variables]

    def gradient(self, name: str, tensor: Tensor) -> np.ndarray[Any, Any]:
        if tensor.grad is None:
            return np.zeros(tensor.shape)
        gradient = tensor.grad.numpy().copy()
        if gradient.shape != tensor.shape or gradient.dtype != np.float64:
            raise GradcheckError(
                f"gradcheck: the gradient of {name} must be float64 of shape {tensor.shape}, "
                f"got {gradient.dtype} of shape {gradient.shape}"
            )
        if not np.isfinite(gradient).all():
            bad = tuple(int(i) for i in np.argwhere(~np.isfinite(gradient))[0])
            raise GradcheckError(f"gradcheck: the gradient of {name} is {gradient[bad]} at {bad}")
        return gradient

    def check_variable(self, name: str, tensor: Tensor, gradient: np.ndarray[Any, Any]) -> None:
        if not gradient.size:
            return
        norm = float(np.linalg.norm(gradient))
        # Along the gradient an error of scale or sign shows best; elsewhere, all other errors.
        wanted = [gradient / norm] if norm > 0 else []
        wanted += [self.direction(tensor.shape) for _ in range(_DIRECTIONS)]
        found: list[tuple[float, float]] = []
        kinks: list[str] = []
        while wanted:
            direction = wanted.pop(0)
            analytic = float(np.vdot(gradient, direction))
            numeric, kink = self.slope(name, tensor, direction, analytic)
            if kink:
                kinks.append(f"{name}: {kink}")
                if len(kinks) > _RETRIES:
                    raise GradcheckError(self.message(name, analytic, numeric, kinks))
                wanted.append(self.direction(tensor.shape))
                continue
            found.append((analytic, numeric))
        scale = min(1.0, max(max(abs(a), abs(n)) for a, n in found))
        for analytic, numeric in found:
            bound = max(self.atol * scale, self.noise) + self.rtol * abs(numeric)
            if not abs(analytic - numeric) <= bound:
                raise GradcheckError(self.message(name, analytic, numeric, kinks))
        self.report.directions += len(found)
        self.report.kinks += kinks

    def direction(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """A random direction of norm 1."""
        v = self.rng.standard_normal(shape)
        return np.asarray(v / np.linalg.norm(v))

    def slope(
        self, name: str, tensor: Tensor, direction: np.ndarray[Any, Any], analytic: float
    ) -> tuple[float, str]:
        """The slope along a direction, and a note if a kink is in the way of every step."""
        first, gap = self.difference(name, tensor, direction, self.eps)
        if abs(first - analytic) <= self.noise + self.rtol * abs(first):
            return first, ""
        # Left and right differ by about step * second derivative, or by the kink, which stays.
        curvature = max(abs(first), abs(analytic)) * 1e-4 + 4 * self.noise
        if gap <= curvature:
            return first, ""
        for shrink in _SHRINK[1:]:
            step = self.eps * shrink
            numeric, smaller = self.difference(name, tensor, direction, step)
            noise, allowed = 4 * self.noise / shrink, self.rtol * abs(numeric)
            if smaller <= max(min(2 * shrink * gap, allowed), noise) and noise < allowed:
                self.report.kinks.append(f"{name}: passed a kink with the step {step:g}")
                return numeric, ""
        return first, f"slopes to the left and right differ by {gap:.3g} at the step {self.eps:g}"

    def difference(
        self, name: str, tensor: Tensor, direction: np.ndarray[Any, Any], step: float
    ) -> tuple[float, float]:
        """(central slope, |slope to the right - slope to the left|)."""
        values, start = tensor.numpy(), tensor.numpy().copy()
        try:
            values[...] = start + step * direction
            above = self.values()
            values[...] = start - step * direction
            below = self.values()
        finally:
            values[...] = start
            tensor._array.touch()
        right = self.weigh(above, self.base) / step
        left = self.weigh(self.base, below) / step
        slope = (right + left) / 2
        if not math.isfinite(slope):
            raise GradcheckError(
                f"gradcheck: fn returns NaN or infinity at the step {step:g} of {name}"
            )
        return slope, abs(right - left)

    def weigh(self, a: Sequence[Any], b: Sequence[Any]) -> float:
        """The weighted outputs at a less those at b: differences first, they lose fewer bits."""
        terms = zip(self.weights, a, b, strict=True)
        return float(sum(np.vdot(w, x - y) for w, x, y in terms))

    def message(self, name: str, analytic: float, numeric: float, kinks: list[str]) -> str:
        error = abs(analytic - numeric) / max(abs(analytic), abs(numeric), 1e-300)
        lines = [
            f"gradcheck: the gradient of {name} is wrong along a direction:",
            f"  analytic (backward)    {analytic:.10g}",
            f"  numeric (differences)  {numeric:.10g}",
            f"  relative error         {error:.3g}",
            f"  allowed                atol {self.atol:g}, rtol {self.rtol:g}",
        ]
        if kinks:
            lines.append("  kinks are suspected; move the inputs away from them if so:")
            lines += [f"    {kink}" for kink in kinks]
        return "\n".join(lines)

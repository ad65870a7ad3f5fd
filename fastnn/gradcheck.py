"""Gradient check: what backward says against differences of forward.

Each variable is moved along a few random unit directions and along its own gradient; the slope of a
random weighting of the outputs, from central differences in float64, must be the gradient's. Two to
five forward calls for each direction, whatever the size (the idea is Chainer's).

A function with kinks (ReLU, max-pooling) has no slope where a difference spans one. That is seen
from the slopes to the left and to the right: on a smooth function they approach each other as the
step shrinks, across a kink they do not. Such a direction is tried with smaller steps, and then
replaced. It never counts as passed: every variable needs directions that agree.

Where a gradient is wrong, or a report is asked for, single elements are compared, too: all of a
small variable; of a large one those that halving leads to, each time into the half whose slope
along random signs is further off. Derivatives are shown of a single output (a loss), otherwise of
the random weighting.
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
_ELEMENTS = 32  # of a variable that are compared one by one

Arrays = list[np.ndarray[Any, Any]]


class GradcheckError(AssertionError):
    """Backward does not fit forward, or nothing was checked."""


@dataclass
class Element:
    """One element of a variable: its derivative by backward and by differences."""

    index: tuple[int, ...]
    analytic: float
    numeric: float
    excess: float  # the difference, as a multiple of what is allowed
    kink: bool = False  # the slopes to the left and to the right differ

    @property
    def relative_error(self) -> float:
        """|analytic - numeric| / max(|analytic|, |numeric|)."""
        return _relative(self.analytic, self.numeric)


@dataclass
class Variable:
    """What was found of one input or parameter."""

    name: str
    shape: tuple[int, ...]
    directions: int = 0
    relative_error: float = 0.0  # the largest error along a direction, of the largest slope
    kinks: list[str] = field(default_factory=list)
    error: str = ""  # why it failed
    compared: int = 0  # elements one by one
    worst: Element | None = None  # of those


@dataclass
class Report:
    """What was checked; true if nothing failed. As a string, a table."""

    variables: list[Variable] = field(default_factory=list)
    error: str = ""  # what failed, in a sentence or more

    @property
    def directions(self) -> int:
        """How many directions were compared."""
        return sum(v.directions for v in self.variables)

    @property
    def kinks(self) -> list[str]:
        """Where kinks were met."""
        return [f"{v.name}: {kink}" for v in self.variables for kink in v.kinks]

    def __bool__(self) -> bool:
        return not self.error

    def __str__(self) -> str:
        titles = ("variable", "shape", "rel. error", "worst element", "backward", "differences", "")
        rows = [titles]
        for v in self.variables:
            w = v.worst
            kinked = "kink?" if v.kinks or (w is not None and w.kink) else ""
            rows.append((
                v.name, str(v.shape), f"{v.relative_error:.1e}",
                "" if w is None else str(w.index), "" if w is None else f"{w.analytic:.6g}",
                "" if w is None else f"{w.numeric:.6g}",
                " ".join(filter(None, ("WRONG" if v.error else "ok", kinked))),
            ))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*table, self.error] if self.error else table)


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    *,
    report: bool = False,
) -> Report:
    """Compares the gradients of a function, or of a Module, with central differences.

    Parameters
    ----------
    fn : callable or Module
        From Tensors to a Tensor or several. Of a Module, the parameters are checked, too.
    inputs : Tensor, array or a sequence of them
        float64. Checked are those with requires_grad; all, if none has it. Integer ones are passed
        on as they are. They are not modified, nor are a Module's buffers.
    eps : float
        Step, in the norm of the whole variable.
    atol, rtol : float
        |analytic - numeric| <= atol min(1, s) + rtol |numeric|, s the largest slope of the
        variable, so that small gradients are checked as strictly as large ones.
    report : bool
        Go through all variables, compare single elements too, and return what was found instead
        of raising GradcheckError; `print` shows it as a table.

    Returns
    -------
    Report
        True if all gradients are right. Its `variables` have the error of each, the worst element
        (of those compared one by one), and where kinks were met.

    Raises
    ------
    GradcheckError
        If a gradient differs, is not finite or has a wrong shape; if nothing was checked, because
        all gradients are zero or lost in the outputs' rounding; or if fn gives different results
        for the same inputs.
    TypeError
        If an input or a parameter is float32.

    Examples
    --------
    >>> import fastnn as fnn
    >>> bool(fnn.gradcheck(lambda x: x.exp(), fnn.randn(3, dtype="float64")))
    True
    >>> x = fnn.tensor([[1.0, 3.0]], dtype="float64")
    >>> found = fnn.gradcheck(lambda x: (x * x.detach()).sum(), x, report=True)
    >>> bool(found), found.variables[0].worst.index
    (False, (0, 1))
    >>> print(str(found).partition("gradcheck")[0].rstrip())
    variable   shape   rel. error  worst element  backward  differences
    inputs[0]  (1, 2)  5.0e-01     (0, 1)         3         6            WRONG
    """
    for name, value in (("eps", eps), ("atol", atol), ("rtol", rtol)):
        if not (math.isfinite(value) and value >= 0 and (name != "eps" or value > 0)):
            raise ValueError(f"gradcheck: {name} must be finite and positive, got {value}")
    return _Check(fn, inputs, eps, atol, rtol, report).run()


class _Check:
    def __init__(
        self, fn: Callable[..., Any], inputs: Any, eps: float, atol: float, rtol: float, full: bool
    ) -> None:
        self.fn, self.eps, self.atol, self.rtol, self.full = fn, eps, atol, rtol, full
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
        self.steepest = 0.0  # slope that was met
        self.report = Report()

    def run(self) -> Report:
        grads = [t.grad for _, t in self.variables]
        buffers = list(self.fn.buffers()) if isinstance(self.fn, Module) else []
        before = [b.numpy().copy() for b in buffers]
        try:
            self.check_all()
        except GradcheckError as error:
            if not self.full:
                raise
            self.report.error = str(error)
        finally:
            for (_, tensor), grad in zip(self.variables, grads, strict=True):
                tensor.grad = grad
            for buffer, values in zip(buffers, before, strict=True):
                buffer.numpy()[...] = values
                buffer._array.touch()
        return self.report

    def check_all(self) -> None:
        analytic = self.analytic()
        for (name, tensor), gradient in zip(self.variables, analytic, strict=True):
            variable = Variable(name, tensor.shape)
            self.report.variables.append(variable)
            self.check_variable(variable, tensor, gradient)
            if variable.error and not self.full:
                raise GradcheckError(variable.error)
        errors = [v.error for v in self.report.variables if v.error]
        if errors:
            raise GradcheckError("\n".join(errors))
        if not any(np.any(g) for g in analytic):
            raise GradcheckError(
                "gradcheck: all gradients are zero, and so are all slopes: nothing was checked"
            )
        if self.noise > 0.1 * self.steepest:
            raise GradcheckError(
                f"gradcheck: rounding of the outputs hides slopes of less than {self.noise:.2g}, "
                f"and the largest is {self.steepest:.2g}: nothing was checked; scale the outputs, "
                "leave out what is constant in them, or take a larger eps"
            )

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
        single = len(parts) == 1 and parts[0].numel() == 1
        self.unit = float(self.weights[0].item()) if single else 1.0  # of the derivatives shown
        self.base = [part.numpy().copy() for part in parts]
        if not all(np.isfinite(y).all() for y in self.base):
            raise GradcheckError("gradcheck: fn returns NaN or infinity at the inputs")
        again = self.values()
        if any(not np.array_equal(a, b) for a, b in zip(self.base, again, strict=True)):
            raise GradcheckError(
                "gradcheck: fn gives different results for the same inputs (a random number, such "
                "as dropout's? Use eval(), or fix it with manual_seed inside of fn)"
            )
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

    def check_variable(
        self, variable: Variable, tensor: Tensor, gradient: np.ndarray[Any, Any]
    ) -> None:
        if not gradient.size:
            return
        norm = float(np.linalg.norm(gradient))
        # Along the gradient an error of scale or sign shows best; elsewhere, all other errors.
        wanted = [gradient / norm] if norm > 0 else []
        wanted += [self.direction(tensor.shape) for _ in range(_DIRECTIONS)]
        found: list[tuple[float, float]] = []
        met: list[str] = []
        wrong: tuple[float, float] | None = None
        while wanted:
            direction = wanted.pop(0)
            analytic = float(np.vdot(gradient, direction))
            numeric, kink = self.slope(variable, tensor, direction, analytic)
            if kink:
                met.append(kink)
                if len(met) > _RETRIES:
                    wrong = analytic, numeric
                    break
                wanted.append(self.direction(tensor.shape))
                continue
            found.append((analytic, numeric))
        variable.directions = len(found)
        variable.kinks += met
        scale = min(1.0, max((max(abs(a), abs(n)) for a, n in found), default=1.0))
        self.allowed = max(self.atol * scale, self.noise)
        bad = [(a, n) for a, n in found if not self.excess(a, n) <= 1]
        wrong = wrong or (bad[0] if bad else None)
        size = max((max(abs(a), abs(n)) for a, n in found), default=0.0)
        self.steepest = max(self.steepest, size)
        variable.relative_error = max((abs(a - n) for a, n in found), default=0.0) / (size or 1.0)
        if wrong or self.full:
            self.compare_elements(variable, tensor, gradient)
        if wrong:
            variable.error = self.message(variable, *wrong)

    def excess(self, analytic: float, numeric: float) -> float:
        """The difference, as a multiple of what is allowed."""
        return abs(analytic - numeric) / (self.allowed + self.rtol * abs(numeric) + 1e-300)

    def compare_elements(
        self, variable: Variable, tensor: Tensor, gradient: np.ndarray[Any, Any]
    ) -> None:
        """Looks for the element that is furthest off."""
        flat, chosen = gradient.reshape(-1), np.arange(gradient.size)
        while chosen.size > _ELEMENTS:
            halves = np.array_split(self.rng.permutation(chosen), 2)
            errors = []
            for half in halves:
                direction = np.zeros(flat.size)
                direction[half] = self.rng.choice([-1.0, 1.0], half.size) / math.sqrt(half.size)
                numeric, _ = self.difference(
                    variable.name, tensor, direction.reshape(gradient.shape), self.eps
                )
                errors.append(abs(numeric - float(flat @ direction)))
            chosen = halves[int(np.argmax(errors))]
        elements = []
        for i in np.sort(chosen):
            direction = np.zeros(flat.size)
            direction[i] = 1.0
            numeric, gap = self.difference(
                variable.name, tensor, direction.reshape(gradient.shape), self.eps
            )
            analytic = float(flat[i])
            elements.append(Element(
                tuple(int(k) for k in np.unravel_index(i, gradient.shape)),
                analytic / self.unit, numeric / self.unit,
                self.excess(analytic, numeric), self.kinked(gap, numeric, analytic),
            ))  # fmt: skip
        variable.compared = len(elements)
        variable.worst = max(elements, key=lambda e: e.excess)

    def kinked(self, gap: float, numeric: float, analytic: float) -> bool:
        """Whether slopes to the left and right that differ by `gap` tell of a kink."""
        # On a smooth function they differ by about step * second derivative.
        return bool(gap > max(abs(numeric), abs(analytic)) * 1e-4 + 4 * self.noise)

    def direction(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """A random direction of norm 1."""
        v = self.rng.standard_normal(shape)
        return np.asarray(v / np.linalg.norm(v))

    def slope(
        self,
        variable: Variable,
        tensor: Tensor,
        direction: np.ndarray[Any, Any],
        analytic: float,
    ) -> tuple[float, str]:
        """The slope along a direction, and a note if a kink is in the way of every step."""
        first, gap = self.difference(variable.name, tensor, direction, self.eps)
        if abs(first - analytic) <= self.noise + self.rtol * abs(first):
            return first, ""
        if not self.kinked(gap, first, analytic):
            return first, ""
        for shrink in _SHRINK[1:]:
            step = self.eps * shrink
            numeric, smaller = self.difference(variable.name, tensor, direction, step)
            noise, allowed = 4 * self.noise / shrink, self.rtol * abs(numeric)
            if smaller <= max(min(2 * shrink * gap, allowed), noise) and noise < allowed:
                variable.kinks.append(f"passed a kink with the step {step:g}")
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

    def message(self, variable: Variable, analytic: float, numeric: float) -> str:
        lines = [
            f"gradcheck: the gradient of {variable.name} is wrong along a direction:",
            f"  analytic (backward)    {analytic / self.unit:.10g}",
            f"  numeric (differences)  {numeric / self.unit:.10g}",
            f"  relative error         {_relative(analytic, numeric):.3g}",
            f"  allowed                atol {self.atol:g}, rtol {self.rtol:g}",
        ]
        worst = variable.worst
        if worst is not None:
            total = math.prod(variable.shape)
            lines += [
                f"  worst element          {worst.index} of {variable.shape}, "
                f"{variable.compared} of {total} compared",
                f"    analytic {worst.analytic:.10g}, numeric {worst.numeric:.10g}, "
                f"relative error {worst.relative_error:.3g}",
            ]
        if variable.kinks or (worst is not None and worst.kink):
            lines.append("  kinks are suspected; move the inputs away from them if so:")
            lines += [f"    {variable.name}: {kink}" for kink in variable.kinks]
            if worst is not None and worst.kink:
                lines.append(f"    at {worst.index} the slopes to the left and right differ")
        return "\n".join(lines)


def _relative(a: float, b: float) -> float:
    return abs(a - b) / max(abs(a), abs(b), 1e-300)

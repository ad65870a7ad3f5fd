"""What `Module.summary` returns: sizes and work of every layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import no_grad
from ..creation import zeros
from ..tensor import Handle, Tensor
from .module import Module

if TYPE_CHECKING:
    from ..profiler import Profile

BATCH = 32  # for which algorithms are named


@dataclass(frozen=True)
class Row:
    """One layer; shapes are those of one sample, of the first output where there are several."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    flops: int
    activation_bytes: int
    algorithm: str = ""
    seconds: float | None = None  # of all its calls in a profile

    @property
    def label(self) -> str:
        """Name and kind."""
        return f"{self.name} ({self.kind})" if self.name else self.kind


@dataclass(frozen=True)
class Summary:
    """Rows in the order of execution, and totals; `str()` is a table. All figures: one sample.

    FLOPs count 2 for each multiply-add of linear and convolution layers and nothing else.
    Activation bytes are those of outputs that do not share their input's memory.
    The algorithm of a convolution, or those of forward, gradient of x and gradient of weight, are
    those of a batch of 32 on this CPU target.
    """

    rows: list[Row]
    parameters: int
    trainable_parameters: int

    @property
    def flops(self) -> int:
        """FLOPs of one forward pass."""
        return sum(row.flops for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all layers' outputs."""
        return sum(row.activation_bytes for row in self.rows)

    def __str__(self) -> str:
        head = ["layer", "output shape", "parameters", "FLOPs", "activation bytes", "algorithm"]
        times = any(row.seconds is not None for row in self.rows)
        body = [
            [
                row.label,
                str(row.output_shape),
                *(f"{n:,}" for n in (row.parameters, row.flops, row.activation_bytes)),
                row.algorithm,
                *([_milliseconds(row.seconds)] if times else []),
            ]
            for row in self.rows
        ]
        total = [
            "total", "",
            *(f"{n:,}" for n in (self.parameters, self.flops, self.activation_bytes)), "",
        ]  # fmt: skip
        if times:
            head.append("ms")
            total.append(_milliseconds(sum(row.seconds or 0.0 for row in self.rows)))
        widths = [max(map(len, column)) for column in zip(head, *body, total, strict=True)]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [_line(head, widths), rule, *(_line(row, widths) for row in body), rule]
        lines.append(_line(total, widths))
        frozen = self.parameters - self.trainable_parameters
        if frozen:
            lines.append(f"{frozen:,} of the parameters are frozen")
        return "\n".join(lines)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.3f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.ljust(width) if i in (0, 1, 5) else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


def _arrays(values: Iterable[Any]) -> list[np.ndarray[Any, Any]]:
    return [value.numpy() for value in values if isinstance(value, Tensor)]


def summarize(model: Module, input_shape: Sequence[int], profile: Profile | None = None) -> Summary:
    """See `Module.summary`."""
    shape = tuple(input_shape)
    if not shape or any(not isinstance(n, int | np.integer) or n < 1 for n in shape):
        raise ValueError(f"summary: input_shape must be positive ints, got {input_shape}")
    parameters = list(model.parameters())
    dtype = parameters[0].dtype if parameters else "float32"
    rows: list[Row] = []
    counted: set[Tensor] = set()

    def add_row(
        name: str, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        own = [p for p in module.parameters(recurse=False) if p not in counted]
        counted.update(own)
        inputs = _arrays((*args, *kwargs.values()))
        outputs = _arrays(output if isinstance(output, tuple | list) else (output,))
        input_shape, output_shape = (a[0].shape if a else () for a in (inputs, outputs))
        made = [y for y in outputs if not any(np.may_share_memory(x, y) for x in inputs)]
        rows.append(
            Row(
                name,
                type(module).__name__,
                output_shape[1:],
                sum(p.numel() for p in own),
                module.flops(input_shape, output_shape),
                sum(y.nbytes for y in made),
                module.algorithm((BATCH, *input_shape[1:])),
            )
        )

    modes = {module: module.training for module in model.modules()}
    hooked: list[tuple[Module, Handle]] = []
    for name, module in model.named_modules():
        # Containers compute nothing of their own; what is inside them has rows.
        if not list(module.children()) or list(module.parameters(recurse=False)):
            hooked.append((module, module._add_hook("call", partial(add_row, name, module))))
    try:
        model.eval()
        with no_grad():
            model(zeros((1, *shape), dtype=dtype))
    finally:
        for module, handle in hooked:
            handle.remove()
            if not module.has_hooks():
                module._hooks = None  # calls take the short way again
        for module, training in modes.items():
            module.training = training
    if profile is not None:
        seconds = {row.name: row.seconds for row in profile.rows("layer")}
        rows = [replace(row, seconds=seconds.get(row.label)) for row in rows]
    return Summary(
        rows,
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
    )

"""Optimizer: parameter groups and state, common to all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import _core
from ..tensor import Tensor, from_numpy


class Optimizer:
    """Base class: subclasses give `defaults` to the constructor and define `rule` (or `step`).

    Parameters
    ----------
    params : iterable of Parameters, or of dicts
        A dict is a group: {"params": [...]} and options that differ from the defaults.
    defaults : dict
        Options of groups.

    Attributes
    ----------
    param_groups : list of dict
        Each with "params" and the options in force; they may be changed between steps.
    state : dict
        What is remembered for each parameter.

    Raises
    ------
    ValueError
        If there are no parameters, one occurs twice, or an option is out of range.
    TypeError
        If something is not a Tensor.
    """

    _counts: tuple[str, ...] = ()  # state that is one float64 number

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor | Mapping) or not isinstance(params, Iterable):
            raise TypeError(
                f"{name}: params must be an iterable of Tensors or dicts, such as "
                f"model.parameters(), got {type(params).__name__}"
            )
        self.defaults = defaults
        self._rules: dict[int, tuple[tuple[Any, ...], _core.UpdateRule]] = {}
        self._initial_lrs: dict[int, float] = {}  # of each group, before its first schedule
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        groups = list(params)
        if not groups:
            raise ValueError(f"{name}: the list of parameters is empty")
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Adds a group {"params": [...]}, with options that differ from the defaults."""
        name = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"{name}: a group must be a dict with 'params', got {group!r}")
        unknown = sorted(set(group) - set(self.defaults) - {"params"})
        if unknown:
            raise ValueError(
                f"{name}: unknown option {unknown[0]!r}; known: {', '.join(sorted(self.defaults))}"
            )
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        if not params:
            raise ValueError(f"{name}: a group without parameters")
        known = {p for g in self.param_groups for p in g["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: parameter {i} must be a Tensor, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{name}: parameter {i} is not a leaf, it was computed")
            if not p._array.dtype.startswith("float"):
                raise TypeError(f"{name}: parameter {i} must be a float Tensor, got {p.dtype}")
            if p in known:
                raise ValueError(f"{name}: parameter {i} of shape {p.shape} occurs twice")
            known.add(p)
        checked = {**self.defaults, **group, "params": params}
        self.check_options(checked)
        self.param_groups.append(checked)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raises ValueError for options out of range."""

    def rule(self, group: dict[str, Any]) -> _core.UpdateRule:
        """The update rule that the options of a group, which are in range, ask for."""
        raise NotImplementedError(f"{type(self).__name__}: rule is not defined")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Called first, to compute gradients; what it returns is returned.
        """
        loss = None if closure is None else closure()
        name = type(self).__name__
        for i, group in enumerate(self.param_groups):
            options = tuple(group.values())
            cached = self._rules.get(i)
            if cached is None or cached[0] != options:  # they may change between steps
                self.check_options(group)
                cached = self._rules[i] = (options, self.rule(group))
            _core.update(name, cached[1], group["params"], self.state, Tensor)
        return loss

    def zero_grad(self) -> None:
        """Forgets all gradients (sets them to None)."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: {name: value}}, "param_groups": [options and "params": [numbers]]}.

        Parameters are numbered through all groups. Tensors share the optimizer's memory.
        """
        number: dict[Tensor, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                number[p] = len(number)
            numbers = [number[p] for p in group["params"]]
            groups.append({**group, "params": numbers})
        state = {number[p]: dict(values) for p, values in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over (copies) what `state_dict` returned for an optimizer of the same shape.

        Raises
        ------
        ValueError
            If groups, parameters or shapes do not fit; nothing was changed.
        """
        name = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise TypeError(f"{name}: expected a dict with 'state' and 'param_groups'")
        groups, states = state_dict["param_groups"], state_dict["state"]
        if not (
            isinstance(groups, list | tuple)
            and all(isinstance(g, Mapping) and "params" in g for g in groups)
            and isinstance(states, Mapping)
            and all(str(k).isdecimal() and isinstance(v, Mapping) for k, v in states.items())
        ):
            raise ValueError(f"{name}: these are not the groups and the state of an optimizer")
        sizes = [len(group["params"]) for group in self.param_groups]
        if [len(group["params"]) for group in groups] != sizes:
            raise ValueError(
                f"{name}: expected groups of {sizes} parameters, "
                f"got {[len(group['params']) for group in groups]}"
            )
        options = []
        for group in groups:
            kept = {key: value for key, value in group.items() if key != "params"}
            if set(kept) != set(self.defaults):
                raise ValueError(
                    f"{name}: expected options {sorted(self.defaults)}, got {sorted(kept)}"
                )
            self.check_options(kept)
            options.append(kept)
        params = [p for group in self.param_groups for p in group["params"]]
        state: dict[Tensor, dict[str, Any]] = {}
        for number, values in states.items():
            if int(number) >= len(params):
                raise ValueError(f"{name}: state for parameter {number} of {len(params)}")
            p = params[int(number)]
            state[p] = {key: self._copy(f"{name}: {key}", key, value, p)
                        for key, value in values.items()}  # fmt: skip
        for group, kept in zip(self.param_groups, options, strict=True):
            group.update(kept)
        self.state = state

    def _copy(self, what: str, key: str, value: Any, parameter: Tensor) -> Any:
        """A copy of state: arrays must have the parameter's shape and dtype, counts be numbers."""
        if isinstance(value, Tensor):
            value = value.numpy()
        if key in self._counts:
            count = np.asarray(value, np.float64)
            if count.size != 1 or not np.isfinite(count).all() or (count < 0).any():
                raise ValueError(f"{what} must be a number of at least 0, got {value}")
            return from_numpy(count.reshape(()).copy())
        if not isinstance(value, np.ndarray):
            return value
        if value.shape != parameter.shape or value.dtype != parameter.dtype:
            raise ValueError(
                f"{what} must be {parameter.dtype} of shape {parameter.shape}, "
                f"got {value.dtype} of shape {value.shape}"
            )
        return from_numpy(value.copy())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rules": {}}  # made anew where needed

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            shown = {**group, "params": len(group["params"])}
            lines.append(f"  group {i}: " + ", ".join(f"{k}={v}" for k, v in shown.items()))
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"


def check_number(
    owner: str,
    name: str,
    value: Any,
    low: float = 0.0,
    *,
    high: float = math.inf,
    below: float = math.inf,
) -> float:
    """A finite number of at least `low`, at most `high` and less than `below`."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{owner}: {name} must be a number, got {type(value).__name__}")
    if not (math.isfinite(value) and low <= value <= high and value < below):
        bound = "" if high == math.inf else f" and at most {high:g}"
        bound = bound if below == math.inf else f" and less than {below:g}"
        raise ValueError(f"{owner}: {name} must be finite and at least {low:g}{bound}, got {value}")
    return float(value)


def check_pair(owner: str, name: str, value: Any) -> None:
    """Two numbers from 0 to less than 1, as betas are."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{owner}: {name} must be a pair of numbers, got {value!r}")
    for number in value:
        check_number(owner, name, number, below=1.0)


def penalties(group: Mapping[str, Any], decoupled: bool = False) -> dict[str, Any]:
    """The options that all rules share, as `UpdateRule` takes them."""
    lr, decay = group["lr"], group["weight_decay"]
    return {
        "lr": lr, "maximize": group["maximize"], "l1": group["l1"],
        "l2": 0.0 if decoupled else decay, "decay": 1.0 - lr * decay if decoupled else 1.0,
    }  # fmt: skip

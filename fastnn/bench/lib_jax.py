# SPDX-License-Identifier: BSD-3-Clause
"""JAX under ``jit``, channels last. Backward kernels are the jitted vector-Jacobian products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .job import Job, Library
from .workloads import BACKWARD, CHECKED_STEPS, LEARNING_RATE, MOMENTUM, NETS, Array

Args = dict[str, Any]
Data = dict[str, Array]

_ACTS: dict[str, Callable[[Any], Any]] = {
    "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "elu": jax.nn.elu,
    "identity": lambda x: x,
}  # fmt: skip


def open_library(threads: int) -> Library:
    """Use JAX as it is; it takes as many threads as the process may use cores."""
    return Jax()


def _conv(x: Any, w: Any, stride: int, pad: int, groups: int) -> Any:
    return lax.conv_general_dilated(
        x, w, (stride, stride), [(pad, pad), (pad, pad)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
    )  # fmt: skip


def _pool(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _loss(x: Any, labels: Any) -> Any:
    return -jnp.mean(jax.nn.log_softmax(x)[jnp.arange(len(labels)), labels])


def _to_hwio(w: Array) -> Array:
    return np.ascontiguousarray(w.transpose(1, 2, 3, 0)) if w.ndim == 4 else w


def _from_hwio(w: Array) -> Array:
    return w.transpose(3, 0, 1, 2) if w.ndim == 4 else w


def _forward(fn: Callable[..., Any], operands: list[Array], name: str) -> Job:
    jitted, args = jax.jit(fn), [jnp.asarray(a) for a in operands]
    jax.block_until_ready(args)

    def run() -> Any:
        return jitted(*args).block_until_ready()

    return Job(run, lambda: {name: np.asarray(run())})


def _backward(fn: Callable[..., Any], leaves: dict[str, Array], dy: Array) -> Job:
    def vjp(dy: Any, *args: Any) -> Any:
        return jax.vjp(fn, *args)[1](dy)

    jitted, args = jax.jit(vjp), [jnp.asarray(a) for a in (dy, *leaves.values())]

    def run() -> Any:
        return jax.block_until_ready(jitted(*args))

    def outputs() -> Data:
        return {n: _from_hwio(np.asarray(g)) if n == "dw" else np.asarray(g)
                for n, g in zip(leaves, run(), strict=True)}  # fmt: skip

    return Job(run, outputs)


class Jax(Library):
    """JAX on the CPU."""

    def __init__(self) -> None:
        self.versions = {"jax": jax.__version__}

    def matmul(self, a: Args, d: Data) -> Job:
        return _forward(jnp.matmul, [d["a"], d["b"]], "c")

    def linear(self, a: Args, d: Data) -> Job:
        return _forward(lambda x, w: x @ w.T, [d["x"], d["w"]], "y")

    def conv(self, a: Args, d: Data) -> Job:
        how = (a["stride"], a["pad"], a["groups"])
        x, w = d["x"], _to_hwio(d["w"])
        if a["direction"] != BACKWARD:
            return _forward(lambda x, w: _conv(x, w, *how), [x, w], "y")
        if a["need_dx"]:
            return _backward(lambda x, w: _conv(x, w, *how), {"dx": x, "dw": w}, d["dy"])
        fixed = jnp.asarray(x)
        return _backward(lambda w: _conv(fixed, w, *how), {"dw": w}, d["dy"])

    def activation(self, a: Args, d: Data) -> Job:
        if a["direction"] != BACKWARD:
            return _forward(_ACTS[a["fn"]], [d["x"]], "y")
        return _backward(_ACTS[a["fn"]], {"dx": d["x"]}, d["dy"])

    def max_pool(self, a: Args, d: Data) -> Job:
        if a["direction"] != BACKWARD:
            return _forward(_pool, [d["x"]], "y")
        return _backward(_pool, {"dx": d["x"]}, d["dy"])

    def cross_entropy(self, a: Args, d: Data) -> Job:
        labels = jnp.asarray(d["labels"])
        if a["direction"] != BACKWARD:
            return _forward(lambda x: _loss(x, labels), [d["x"]], "loss")
        return _backward(lambda x: _loss(x, labels), {"dx": d["x"]}, np.ones((), np.float32))

    def sgd(self, a: Args, d: Data) -> Job:
        params = [jnp.array(p) for p in d["p"]]  # a copy: it is donated
        velocity = [jnp.zeros_like(p) for p in params]
        grads = [jnp.asarray(g) for g in d["g"]]
        update = jax.jit(_sgd, donate_argnums=(0, 1))

        def run() -> None:
            nonlocal params, velocity
            params, velocity = jax.block_until_ready(update(params, velocity, grads))

        def outputs() -> Data:
            for _ in range(CHECKED_STEPS):
                run()
            return {"update": np.stack(params) - d["p"]}

        return Job(run, outputs)

    def step(self, a: Args, d: Data) -> Job:
        layers, act = NETS[a["net"]].layers, _ACTS[a["fn"]]
        x, labels = jnp.asarray(d["x"]), jnp.asarray(d["labels"])
        names = [name for name in d if name[0] in "wb"]
        params = {name: jnp.array(_to_hwio(d[name])) for name in names}
        velocity = {name: jnp.zeros_like(p) for name, p in params.items()}

        def loss_of(params: dict[str, Any], x: Any, labels: Any) -> Any:
            i = 0
            for layer in layers:
                if layer[0] == "conv":
                    x = _conv(x, params[f"w{i}"], 1, layer[3], 1) + params[f"b{i}"]
                elif layer[0] == "linear":
                    x = x @ params[f"w{i}"].T + params[f"b{i}"]
                elif layer[0] == "act":
                    x = act(x)
                elif layer[0] == "pool":
                    x = _pool(x)
                else:
                    x = x.reshape(len(x), -1)
                i += layer[0] in ("conv", "linear")
            return _loss(x, labels)

        def whole(params: Any, velocity: Any, x: Any, labels: Any) -> Any:
            loss, grads = jax.value_and_grad(loss_of)(params, x, labels)
            return loss, *_sgd(params, velocity, grads)

        train = jax.jit(whole, donate_argnums=(0, 1))

        def run() -> Any:
            nonlocal params, velocity
            result = jax.block_until_ready(train(params, velocity, x, labels))
            loss, params, velocity = result
            return loss

        def outputs() -> Data:
            losses = [float(run()) for _ in range(CHECKED_STEPS)]
            updates = {f"update {n}": _from_hwio(np.asarray(params[n])) - d[n] for n in names}
            return {"losses": np.array(losses), **updates}

        return Job(run, outputs)


def _sgd(params: Any, velocity: Any, grads: Any) -> tuple[Any, Any]:
    velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, grads)
    return jax.tree.map(lambda p, v: p - LEARNING_RATE * v, params, velocity), velocity

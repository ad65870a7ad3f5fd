# SPDX-License-Identifier: BSD-3-Clause
"""JAX under ``jit``, channels last. Backward kernels are the jitted vector-Jacobian products."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .job import Job, Library, UnsupportedError
from .nets import NETS, NORM_EPSILON, WITH_PARAMETERS, Layers, parameters
from .workloads import (
    ADAM_EPSILON,
    BACKWARD,
    BETAS,
    CHECKED_STEPS,
    LEARNING_RATE,
    MOMENTUM,
    Array,
)

Args = dict[str, Any]
Data = dict[str, Array]

_ACTS: dict[str, Callable[[Any], Any]] = {
    "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "elu": jax.nn.elu,
    "softplus": jax.nn.softplus, "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False), "identity": lambda x: x,
}  # fmt: skip


def _act(fn: str) -> Callable[[Any], Any]:
    if fn not in _ACTS:
        raise UnsupportedError(f"no activation {fn}")
    return _ACTS[fn]


def open_library(threads: int) -> Library:
    """Use JAX as it is; it takes as many threads as the process may use cores."""
    return Jax()


def _conv(x: Any, w: Any, stride: int, pad: int, groups: int) -> Any:
    return lax.conv_general_dilated(
        x, w, (stride, stride), [(pad, pad), (pad, pad)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
    )  # fmt: skip


def _pool(x: Any, size: int = 2, stride: int = 2) -> Any:
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, "VALID")


def _norm(x: Any, g: Any, b: Any, mean: Any = None, var: Any = None) -> Any:
    """Batch norm with the batch's statistics, or with those given."""
    if mean is None:
        axes = tuple(range(x.ndim - 1))
        mean, var = x.mean(axes), x.var(axes)
    return (x - mean) * lax.rsqrt(var + NORM_EPSILON) * g + b


def _apply(layers: Layers, act: Callable[[Any], Any], p: Any, x: Any, index: Iterator[int]) -> Any:
    """Run layers; ``index`` counts those with parameters. Running statistics are used if there."""
    for layer in layers:
        kind = layer[0]
        i = next(index) if kind in WITH_PARAMETERS else 0
        if kind == "conv":
            _, _, _, stride, pad, groups, bias = layer
            x = _conv(x, p[f"w{i}"], stride, pad, groups)
            x = x + p[f"b{i}"] if bias else x
        elif kind == "norm":
            x = _norm(x, p[f"g{i}"], p[f"b{i}"], p.get(f"m{i}"), p.get(f"v{i}"))
        elif kind == "act":
            x = act(x)
        elif kind == "pool":
            x = _pool(x, *layer[1:])
        elif kind == "mean":
            x = x.mean((1, 2))
        elif kind == "flatten":
            x = x.reshape(len(x), -1)
        elif kind == "linear":
            x = x @ p[f"w{i}"].T + p[f"b{i}"]
        else:
            body = _apply(layer[1], act, p, x, index)
            x = act(body + _apply(layer[2], act, p, x, index))
    return x


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
        self.uses = os.environ.get("XLA_FLAGS") or "all that the CPU has"

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
            return _forward(_act(a["fn"]), [d["x"]], "y")
        return _backward(_act(a["fn"]), {"dx": d["x"]}, d["dy"])

    def max_pool(self, a: Args, d: Data) -> Job:
        if a["direction"] != BACKWARD:
            return _forward(_pool, [d["x"]], "y")
        return _backward(_pool, {"dx": d["x"]}, d["dy"])

    def cross_entropy(self, a: Args, d: Data) -> Job:
        labels = jnp.asarray(d["labels"])
        if a["direction"] != BACKWARD:
            return _forward(lambda x: _loss(x, labels), [d["x"]], "loss")
        return _backward(lambda x: _loss(x, labels), {"dx": d["x"]}, np.ones((), np.float32))

    def norm_relu(self, a: Args, d: Data) -> Job:
        leaves = {"dx": d["x"], "dg": d["g"], "db": d["b"]}
        if a["direction"] != BACKWARD:
            return _forward(lambda *p: jax.nn.relu(_norm(*p)), list(leaves.values()), "y")
        return _backward(lambda *p: jax.nn.relu(_norm(*p)), leaves, d["dy"])

    def adam(self, a: Args, d: Data) -> Job:
        params = [jnp.array(p) for p in d["p"]]
        first, second = ([jnp.zeros_like(p) for p in params] for _ in range(2))
        grads, count = [jnp.asarray(g) for g in d["g"]], jnp.zeros(())
        update = jax.jit(_adam, donate_argnums=(0, 1, 2, 3))

        def run() -> None:
            nonlocal params, first, second, count
            result = jax.block_until_ready(update(params, first, second, count, grads))
            params, first, second, count = result

        def outputs() -> Data:
            for _ in range(CHECKED_STEPS):
                run()
            return {"update": np.stack(params) - d["p"]}

        return Job(run, outputs)

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
        net, act = NETS[a["net"]], _act(a["fn"])
        x, labels = jnp.asarray(d["x"]), jnp.asarray(d["labels"])
        names = list(parameters(net))
        params = {name: jnp.array(_to_hwio(d[name])) for name in names}
        velocity = {name: jnp.zeros_like(p) for name, p in params.items()}

        def loss_of(params: dict[str, Any], x: Any, labels: Any) -> Any:
            return _loss(_apply(net.layers, act, params, x, itertools.count()), labels)

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
            losses = [float(run()) for _ in range(a["checked"])]
            updates = {f"update {n}": _from_hwio(np.asarray(params[n])) - d[n] for n in names}
            return {"losses": np.array(losses), **updates}

        return Job(run, outputs)

    def infer(self, a: Args, d: Data) -> Job:
        net, act = NETS[a["net"]], _act(a["fn"])
        params = {name: jnp.asarray(_to_hwio(v)) for name, v in d.items() if name != "x"}
        return _forward(
            lambda x: _apply(net.layers, act, params, x, itertools.count()), [d["x"]], "logits"
        )


def _sgd(params: Any, velocity: Any, grads: Any) -> tuple[Any, Any]:
    velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, grads)
    return jax.tree.map(lambda p, v: p - LEARNING_RATE * v, params, velocity), velocity


def _adam(params: Any, first: Any, second: Any, count: Any, grads: Any) -> Any:
    b1, b2 = BETAS
    count = count + 1
    first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, grads)
    second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, grads)
    rate, scale = LEARNING_RATE / (1 - b1**count), lax.rsqrt(1 - b2**count)

    def moved(p: Any, m: Any, v: Any) -> Any:
        return p - rate * m / (jnp.sqrt(v) * scale + ADAM_EPSILON)

    return jax.tree.map(moved, params, first, second), first, second, count

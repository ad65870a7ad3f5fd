# SPDX-License-Identifier: BSD-3-Clause
"""NumPy: the textbook way (im2col and BLAS, whole-array expressions), into buffers kept ready.

Written from the formulas and independent of fastnn, it also checks fastnn where no other peer is
installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .isa import blas_in_use, numpy_in_use
from .job import Job, Library, UnsupportedError
from .nets import NETS, NORM_EPSILON, Layer, parameters
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


def open_library(threads: int) -> Library:
    """Use NumPy as it is; its BLAS takes the number of threads from the environment."""
    return NumPy()


# --- the operations -------------------------------------------------------------------------------


def act_forward(fn: str, x: Array, out: Array) -> Array:
    """Write fn(x) to ``out``."""
    if fn == "relu":
        return np.maximum(x, 0, out=out)
    if fn == "tanh":
        return np.tanh(x, out=out)
    if fn == "sigmoid":
        np.exp(np.negative(x, out=out), out=out)
        return np.reciprocal(np.add(out, 1, out=out), out=out)
    if fn == "elu":
        np.expm1(np.minimum(x, 0, out=out), out=out)
        return np.maximum(x, out, out=out)
    if fn == "silu":
        return np.multiply(x, act_forward("sigmoid", x, out), out=out)
    if fn == "softplus":
        np.log1p(np.exp(np.negative(np.abs(x, out=out), out=out), out=out), out=out)
        return np.add(out, np.maximum(x, 0), out=out)
    if fn == "identity":
        np.copyto(out, x)
        return out
    raise UnsupportedError(f"no activation {fn}")


def act_backward(fn: str, x: Array, y: Array, dy: Array, out: Array) -> Array:
    """Write dy · fn'(x), with y = fn(x), to ``out``."""
    if fn == "relu":
        return np.multiply(dy, y > 0, out=out)
    if fn == "tanh":
        np.subtract(1, np.multiply(y, y, out=out), out=out)
    elif fn == "sigmoid":
        np.multiply(np.subtract(1, y, out=out), y, out=out)
    elif fn == "elu":
        np.add(np.minimum(y, 0, out=out), 1, out=out)
    elif fn == "silu":  # σ + y (1 − σ)
        act_forward("sigmoid", x, out)
        out += y * (1 - out)
    elif fn == "softplus":
        act_forward("sigmoid", x, out)
    elif fn == "identity":
        out.fill(1)
    else:
        raise UnsupportedError(f"no activation {fn}")
    return np.multiply(dy, out, out=out)


def conv_forward(x: Array, w: Array, stride: int, pad: int, groups: int) -> Array:
    """Return the convolution of NHWC ``x`` with (K, kh, kw, C / groups) ``w``."""
    x = _padded(x, pad)
    if groups == 1:
        cols, shape = _im2col(x, w.shape[1], stride)
        return (cols @ w.reshape(len(w), -1).T).reshape(*shape, len(w))
    _check_depthwise(w, groups)
    return sum(  # type: ignore[return-value]
        _tap(x, i, j, w.shape[1], stride) * w[:, i, j, 0]
        for i in range(w.shape[1])
        for j in range(w.shape[2])
    )


def conv_backward(
    x: Array, w: Array, dy: Array, stride: int, pad: int, groups: int, need_dx: bool
) -> tuple[Array | None, Array]:
    """Return the gradients of data (if needed) and weights."""
    padded, kernel = _padded(x, pad), w.shape[1]
    dw = np.empty_like(w)
    dx = np.zeros_like(padded) if need_dx else None
    if groups == 1:
        cols, _ = _im2col(padded, kernel, stride)
        flat = dy.reshape(-1, len(w))
        dw[...] = (flat.T @ cols).reshape(w.shape)
        if dx is not None:
            dcols = (flat @ w.reshape(len(w), -1)).reshape(*dy.shape[:3], kernel, kernel, -1)
    else:
        _check_depthwise(w, groups)
    for i in range(kernel):
        for j in range(kernel):
            if groups > 1:
                dw[:, i, j, 0] = (_tap(padded, i, j, kernel, stride) * dy).sum(axis=(0, 1, 2))
            if dx is not None:
                part = dcols[:, :, :, i, j] if groups == 1 else dy * w[:, i, j, 0]
                target = _tap(dx, i, j, kernel, stride)
                target += part
    if dx is not None and pad:
        dx = dx[:, pad:-pad, pad:-pad]
    return dx, dw


def _padded(x: Array, pad: int) -> Array:
    return np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))) if pad else x


def _im2col(x: Array, kernel: int, stride: int) -> tuple[Array, tuple[int, ...]]:
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    shape = windows.shape[:3]
    return windows.reshape(shape[0] * shape[1] * shape[2], -1), shape


def _tap(x: Array, i: int, j: int, kernel: int, stride: int) -> Array:
    """View the inputs that tap (i, j) of the kernel meets."""
    rows, cols = x.shape[1] - kernel + i + 1, x.shape[2] - kernel + j + 1
    return x[:, i:rows:stride, j:cols:stride]


def _check_depthwise(w: Array, groups: int) -> None:
    if not (len(w) == groups and w.shape[3] == 1):
        raise UnsupportedError("groups other than depthwise")


def pool_forward(x: Array) -> Array:
    """Return the maxima of 2×2 windows."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def pool_backward(x: Array, dy: Array) -> Array:
    """Return dy at the first maximum of each window."""
    n, h, w, c = x.shape
    split = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4)
    windows = split.reshape(n, h // 2, w // 2, c, 4)
    dx = np.zeros_like(windows)
    np.put_along_axis(dx, windows.argmax(axis=-1)[..., None], dy[..., None], axis=-1)
    return dx.reshape(split.shape).transpose(0, 1, 4, 2, 5, 3).reshape(x.shape)


def loss_forward(x: Array, labels: Array) -> tuple[float, Array]:
    """Return the mean cross-entropy and the softmax."""
    shifted = x - x.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    picked = shifted[np.arange(len(x)), labels]
    return float(np.mean(np.log(total[:, 0]) - picked)), e / total


def loss_backward(softmax: Array, labels: Array) -> Array:
    """Return (softmax − one-hot) / batch."""
    dx = softmax.copy()
    dx[np.arange(len(dx)), labels] -= 1
    dx /= len(dx)
    return dx


def sgd_update(p: Array, g: Array, v: Array, lr: float) -> None:
    """v ← μ v + g, p ← p − lr v."""
    v *= MOMENTUM
    v += g
    p -= lr * v


def adam_update(p: Array, g: Array, m: Array, v: Array, count: int) -> None:
    """Kingma and Ba (2015), algorithm 1, with the corrections in the step size."""
    b1, b2 = BETAS
    m += (1 - b1) * (g - m)
    v += (1 - b2) * (g * g - v)
    root = np.sqrt(v) / math.sqrt(1 - b2**count) + ADAM_EPSILON
    p -= LEARNING_RATE / (1 - b1**count) * m / root


def norm_forward(x: Array, g: Array, b: Array) -> tuple[Array, Array, Array]:
    """Return batch norm's result, the normalized data, and the scale that it was divided by."""
    axes = tuple(range(x.ndim - 1))
    centred = x - x.mean(axis=axes)
    root = np.sqrt(np.square(centred).mean(axis=axes) + np.float32(NORM_EPSILON))
    centred /= root
    return centred * g + b, centred, root


def norm_backward(normal: Array, root: Array, g: Array, dy: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of data, scale and shift."""
    axes = tuple(range(dy.ndim - 1))
    dg, db = (dy * normal).sum(axis=axes), dy.sum(axis=axes)
    count = dy.size // len(g)
    return g / root * (dy - (normal * dg + db) / count), dg, db


# --- the jobs -------------------------------------------------------------------------------------


def _plain(run: Callable[[], Any], name: str) -> Job:
    return Job(run, lambda: {name: np.asarray(run())})


class NumPy(Library):
    """NumPy with its BLAS."""

    def __init__(self) -> None:
        self.versions = {"numpy": np.__version__}
        self.uses = f"{numpy_in_use()}, {blas_in_use()}"

    def matmul(self, a: Args, d: Data) -> Job:
        out = np.empty((a["m"], a["n"]), np.float32)
        return _plain(lambda: np.matmul(d["a"], d["b"], out=out), "c")

    def linear(self, a: Args, d: Data) -> Job:
        out = np.empty((a["batch"], a["out"]), np.float32)
        return _plain(lambda: np.matmul(d["x"], d["w"].T, out=out), "y")

    def conv(self, a: Args, d: Data) -> Job:
        how = (a["stride"], a["pad"], a["groups"])
        if a["direction"] != BACKWARD:
            return _plain(lambda: conv_forward(d["x"], d["w"], *how), "y")

        def run() -> tuple[Array | None, Array]:
            return conv_backward(d["x"], d["w"], d["dy"], *how, a["need_dx"])

        def outputs() -> Data:
            dx, dw = run()
            return {"dw": dw} if dx is None else {"dx": dx, "dw": dw}

        return Job(run, outputs)

    def activation(self, a: Args, d: Data) -> Job:
        y = np.empty_like(d["x"])
        act_forward(a["fn"], d["x"], y)
        if a["direction"] != BACKWARD:
            return _plain(lambda: act_forward(a["fn"], d["x"], y), "y")
        dx = np.empty_like(y)
        return _plain(lambda: act_backward(a["fn"], d["x"], y, d["dy"], dx), "dx")

    def max_pool(self, a: Args, d: Data) -> Job:
        if a["direction"] != BACKWARD:
            return _plain(lambda: pool_forward(d["x"]), "y")
        return _plain(lambda: pool_backward(d["x"], d["dy"]), "dx")

    def cross_entropy(self, a: Args, d: Data) -> Job:
        if a["direction"] != BACKWARD:
            return _plain(lambda: loss_forward(d["x"], d["labels"])[0], "loss")
        _, softmax = loss_forward(d["x"], d["labels"])
        return _plain(lambda: loss_backward(softmax, d["labels"]), "dx")

    def sgd(self, a: Args, d: Data) -> Job:
        p = d["p"].copy()
        v = np.zeros_like(p)

        def run() -> None:
            for i in range(len(p)):
                sgd_update(p[i], d["g"][i], v[i], LEARNING_RATE)

        def outputs() -> Data:
            for _ in range(CHECKED_STEPS):
                run()
            return {"update": p - d["p"]}

        return Job(run, outputs)

    def norm_relu(self, a: Args, d: Data) -> Job:
        x, g, b = d["x"], d["g"], d["b"]

        def forward() -> Array:
            return np.maximum(norm_forward(x, g, b)[0], 0)

        if a["direction"] != BACKWARD:
            return _plain(forward, "y")
        y, normal, root = norm_forward(x, g, b)

        def backward() -> tuple[Array, Array, Array]:
            return norm_backward(normal, root, g, d["dy"] * (y > 0))

        return Job(backward, lambda: dict(zip(("dx", "dg", "db"), backward(), strict=True)))

    def adam(self, a: Args, d: Data) -> Job:
        p, count = d["p"].copy(), 0
        m, v = np.zeros_like(p), np.zeros_like(p)

        def run() -> None:
            nonlocal count
            count += 1
            for i in range(len(p)):
                adam_update(p[i], d["g"][i], m[i], v[i], count)

        def outputs() -> Data:
            for _ in range(CHECKED_STEPS):
                run()
            return {"update": p - d["p"]}

        return Job(run, outputs)

    def step(self, a: Args, d: Data) -> Job:
        """Train a plain chain of layers: a check of the others, and no competitor."""
        net = NETS[a["net"]]
        if not all(_by_hand(layer) for layer in net.layers):
            raise UnsupportedError("only chains without norms and strides are written by hand")
        act_forward(a["fn"], np.zeros(1), np.zeros(1))  # is there one?
        layers = net.layers
        params = {name: d[name].copy() for name in parameters(net)}
        velocity = {name: np.zeros_like(v) for name, v in params.items()}

        def run() -> float:
            x, saved, i = d["x"], [], 0
            for layer in layers:
                saved.append(x)
                if layer[0] == "conv":
                    x = conv_forward(x, params[f"w{i}"], 1, layer[4], 1) + params[f"b{i}"]
                elif layer[0] == "linear":
                    x = x @ params[f"w{i}"].T + params[f"b{i}"]
                elif layer[0] == "act":
                    x = act_forward(a["fn"], x, np.empty_like(x))
                    saved.append(x)  # after its input
                elif layer[0] == "pool":
                    x = pool_forward(x)
                else:
                    x = x.reshape(len(x), -1)
                i += layer[0] in ("conv", "linear")
            loss, softmax = loss_forward(x, d["labels"])
            g, grads = loss_backward(softmax, d["labels"]), {}
            for layer in reversed(layers):
                x = saved.pop()
                i -= layer[0] in ("conv", "linear")
                if layer[0] == "conv":
                    grads[f"b{i}"] = g.sum(axis=(0, 1, 2))
                    dx, grads[f"w{i}"] = conv_backward(
                        x, params[f"w{i}"], g, 1, layer[4], 1, need_dx=i > 0
                    )
                    g = g if dx is None else dx
                elif layer[0] == "linear":
                    grads[f"b{i}"], grads[f"w{i}"] = g.sum(axis=0), g.T @ x
                    g = g @ params[f"w{i}"] if i else g
                elif layer[0] == "act":
                    g = act_backward(a["fn"], saved.pop(), x, g, np.empty_like(g))
                elif layer[0] == "pool":
                    g = pool_backward(x, g)
                else:
                    g = g.reshape(x.shape)
            for name, p in params.items():
                sgd_update(p, grads[name], velocity[name], LEARNING_RATE)
            return loss

        def outputs() -> Data:
            losses = [run() for _ in range(a["checked"])]
            updates = {f"update {name}": p - d[name] for name, p in params.items()}
            return {"losses": np.array(losses), **updates}

        return Job(run, outputs)


def _by_hand(layer: Layer) -> bool:
    if layer[0] == "conv":
        return bool(layer[3] == layer[5] == 1 and layer[6])
    return layer[0] in ("linear", "act", "flatten") or layer == ("pool", 2, 2)

"""Float64 oracles: every op as plain NumPy, independent of fastnn and written to be read.

Each oracle returns `(y, vjp)`: the value, and a function that takes dL/dy and returns dL/dinput
for each array argument in order, with None for one that has no gradient (labels, class weights).
Images are (N, H, W, C), a convolution weight is (K, kh, kw, C/groups), a linear weight (out, in).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray
Vjp = Callable[[Array], tuple]
Oracle = tuple[Array, Vjp]


def pair(value) -> tuple[int, int]:
    """(a, b) from a or (a, b)."""
    return (value, value) if isinstance(value, int) else tuple(value)


# ---- products -----------------------------------------------------------------------------------


def linear(x: Array, w: Array, b: Array | None = None) -> Oracle:
    """y = x wᵀ + b, over the last axis of x."""
    y = np.einsum("...i,oi->...o", x, w)
    if b is not None:
        y = y + b

    def vjp(dy):
        dx = np.einsum("...o,oi->...i", dy, w)
        flat_dy, flat_x = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
        dw = np.einsum("no,ni->oi", flat_dy, flat_x)
        return (dx, dw) if b is None else (dx, dw, flat_dy.sum(axis=0))

    return y, vjp


def matmul(a: Array, b: Array) -> Oracle:
    """y = a b over the last two axes, the others broadcast."""

    def vjp(dy):
        da = np.matmul(dy, np.swapaxes(b, -1, -2))
        db = np.matmul(np.swapaxes(a, -1, -2), dy)
        return unbroadcast(da, a.shape), unbroadcast(db, b.shape)

    return np.matmul(a, b), vjp


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1) -> Oracle:
    """y[n,i,j,k] = b[k] + Σ x[n, i·s + r·d - p, j·s + q·d - p, c] w[k,r,q,c], c in k's group."""
    (sh, sw), (ph, pw), (dh, dw) = pair(stride), pair(padding), pair(dilation)
    n, h, width, _ = x.shape
    k, kh, kw, cg = w.shape
    kg = k // groups
    oh = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    ow = (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    padded = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    taps = [
        (
            (
                slice(None),
                slice(r * dh, r * dh + sh * (oh - 1) + 1, sh),
                slice(q * dw, q * dw + sw * (ow - 1) + 1, sw),
                slice(g * cg, (g + 1) * cg),
            ),
            (slice(g * kg, (g + 1) * kg), r, q),
        )
        for g in range(groups)
        for r in range(kh)
        for q in range(kw)
    ]
    y = np.zeros((n, oh, ow, k))
    for window, tap in taps:
        y[..., tap[0]] += padded[window] @ w[tap].T
    if b is not None:
        y += b

    def vjp(dy):
        dpadded, dweight = np.zeros(padded.shape), np.zeros(w.shape)
        for window, tap in taps:
            dy_group = dy[..., tap[0]]
            dpadded[window] += dy_group @ w[tap]
            dweight[tap] = np.tensordot(dy_group, padded[window], axes=((0, 1, 2), (0, 1, 2)))
        dx = dpadded[:, ph : ph + h, pw : pw + width]
        return (dx, dweight) if b is None else (dx, dweight, dy.sum(axis=(0, 1, 2)))

    return y, vjp


def conv_transpose2d(
    x, w, b=None, *, stride=1, padding=0, output_padding=0, groups=1, dilation=1
) -> Oracle:
    """Each x[n,i,j,c] adds x w[c] at (i·s, j·s) of an image that then loses its padding."""
    (sh, sw), (ph, pw), (dh, dw) = pair(stride), pair(padding), pair(dilation)
    n, h, width, c = x.shape
    _, kh, kw, kg = w.shape
    cg = c // groups
    oh, ow = (
        (size - 1) * s - 2 * p + d * (k - 1) + more + 1
        for size, s, p, d, k, more in zip(
            (h, width), (sh, sw), (ph, pw), (dh, dw), (kh, kw), pair(output_padding), strict=True
        )
    )
    large = (n, oh + 2 * ph, ow + 2 * pw, kg * groups)
    taps = [
        (
            (
                slice(None),
                slice(r * dh, r * dh + sh * (h - 1) + 1, sh),
                slice(q * dw, q * dw + sw * (width - 1) + 1, sw),
                slice(g * kg, (g + 1) * kg),
            ),
            (slice(g * cg, (g + 1) * cg), r, q),
        )
        for g in range(groups)
        for r in range(kh)
        for q in range(kw)
    ]
    y = np.zeros(large)
    for window, tap in taps:
        y[window] += x[..., tap[0]] @ w[tap]
    y = y[:, ph : ph + oh, pw : pw + ow]
    if b is not None:
        y = y + b

    def vjp(dy):
        padded = np.zeros(large)
        padded[:, ph : ph + oh, pw : pw + ow] = dy
        dx, dweight = np.zeros(x.shape), np.zeros(w.shape)
        for window, tap in taps:
            dx[..., tap[0]] += padded[window] @ w[tap].T
            dweight[tap] = np.tensordot(x[..., tap[0]], padded[window], axes=((0, 1, 2),) * 2)
        return (dx, dweight) if b is None else (dx, dweight, dy.sum(axis=(0, 1, 2)))

    return y, vjp


def embedding(index, w, padding_idx=None) -> Oracle:
    """w[index]; the row padding_idx gets no gradient."""

    def vjp(dy):
        chosen = (index[..., None] == np.arange(len(w))).astype(float)
        dw = np.tensordot(chosen, dy, axes=(range(index.ndim),) * 2)
        if padding_idx is not None:
            dw[padding_idx] = 0
        return None, dw

    return w[index], vjp


# ---- pooling ------------------------------------------------------------------------------------


def _windows(size: int, kernel: int, stride: int, padding: int) -> list[slice]:
    """The part of each window that lies on the image, along one axis."""
    count = (size + 2 * padding - kernel) // stride + 1
    starts = [i * stride - padding for i in range(count)]
    return [slice(max(s, 0), min(s + kernel, size)) for s in starts]


def _bins(size: int, out: int) -> list[slice]:
    """Adaptive windows along one axis: from floor(i·size/out) to ceil((i+1)·size/out)."""
    return [slice(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _area(row: slice, col: slice) -> int:
    return (row.stop - row.start) * (col.stop - col.start)


def max_pool2d(x, kernel_size, stride=None, padding=0) -> Oracle:
    """Maximum of each window; the first one in row-major order gets the gradient; NaN wins."""
    (kh, kw), (ph, pw) = pair(kernel_size), pair(padding)
    sh, sw = pair(kernel_size if stride is None else stride)
    n, h, w, c = x.shape
    rows, cols = _windows(h, kh, sh, ph), _windows(w, kw, sw, pw)
    y = np.empty((n, len(rows), len(cols), c))
    winner = np.empty(y.shape, dtype=np.int64)
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            window = x[:, row, col].reshape(n, -1, c)
            winner[:, i, j] = window.argmax(axis=1)  # the first maximum, or the first NaN
            y[:, i, j] = np.take_along_axis(window, winner[:, i, j][:, None], axis=1)[:, 0]

    def vjp(dy):
        dx = np.zeros(x.shape)
        for i, row in enumerate(rows):
            for j, col in enumerate(cols):
                part = np.zeros((n, _area(row, col), c))
                np.put_along_axis(part, winner[:, i, j][:, None], dy[:, i, j][:, None], axis=1)
                dx[:, row, col] += part.reshape(dx[:, row, col].shape)
        return (dx,)

    return y, vjp


def _average(x, rows, cols, divisor) -> Oracle:
    n, _, _, c = x.shape
    y = np.empty((n, len(rows), len(cols), c))
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            y[:, i, j] = x[:, row, col].sum(axis=(1, 2)) / divisor(row, col)

    def vjp(dy):
        dx = np.zeros(x.shape)
        for i, row in enumerate(rows):
            for j, col in enumerate(cols):
                dx[:, row, col] += dy[:, i, j][:, None, None] / divisor(row, col)
        return (dx,)

    return y, vjp


def avg_pool2d(x, kernel_size, stride=None, padding=0) -> Oracle:
    """Mean of each window, the zeros of the padding counted."""
    (kh, kw), (ph, pw) = pair(kernel_size), pair(padding)
    sh, sw = pair(kernel_size if stride is None else stride)
    rows, cols = _windows(x.shape[1], kh, sh, ph), _windows(x.shape[2], kw, sw, pw)
    return _average(x, rows, cols, lambda row, col: kh * kw)


def adaptive_avg_pool2d(x, output_size) -> Oracle:
    """Mean of output_size bins that together cover the image (and may overlap)."""
    oh, ow = pair(output_size)
    rows, cols = _bins(x.shape[1], oh), _bins(x.shape[2], ow)
    return _average(x, rows, cols, _area)


# ---- activations --------------------------------------------------------------------------------


def _pointwise(y: Array, slope: Array) -> Oracle:
    return y, lambda dy: (dy * slope,)


def sigmoid(x) -> Oracle:
    e = np.exp(-np.abs(x))
    small = e / (1 + e)  # sigmoid(-|x|)
    return _pointwise(np.where(x >= 0, 1 / (1 + e), small), small / (1 + e))


def tanh(x) -> Oracle:
    e = np.exp(-2 * np.abs(x))
    return _pointwise(np.tanh(x), 4 * e / (1 + e) ** 2)  # sech², without cancellation


def relu(x) -> Oracle:
    """max(x, 0); the gradient at 0 is 0."""
    return _pointwise(np.maximum(x, 0), np.where(x > 0, 1.0, 0.0))


def leaky_relu(x, negative_slope=0.01) -> Oracle:
    return _pointwise(np.where(x > 0, x, x * negative_slope), np.where(x > 0, 1, negative_slope))


def prelu(x, w) -> Oracle:
    """x or w·x; w has one slope, or one per channel (the last axis)."""
    y = np.where(x > 0, x, x * w)

    def vjp(dy):
        dw = np.where(x > 0, 0, x * dy)
        return dy * np.where(x > 0, 1, w), unbroadcast(dw, w.shape)

    return y, vjp


def elu(x, alpha=1.0) -> Oracle:
    negative = np.minimum(x, 0)
    y = np.where(x > 0, x, alpha * np.expm1(negative))
    return _pointwise(y, np.where(x > 0, 1, alpha * np.exp(negative)))


def _erfc(x):
    return np.vectorize(math.erfc, otypes=[float])(x)


def _at_limit(x, low, high, y):
    """y, with its limits in place of what inf - inf and inf * 0 make of them."""
    return np.where(x == np.inf, high, np.where(x == -np.inf, low, y))


def selu(x) -> Oracle:
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    y, vjp = elu(x, alpha)
    return scale * y, lambda dy: vjp(scale * dy)


def celu(x, alpha=1.0) -> Oracle:
    negative = np.minimum(x, 0) / alpha
    y = np.where(x > 0, x, alpha * np.expm1(negative))
    return _pointwise(y, np.where(x > 0, 1, np.exp(negative)))


def _gated(x, gate, slope) -> Oracle:
    """x·gate(x), with the derivative of the gate."""
    y = _at_limit(x, 0, np.inf, x * gate)
    return _pointwise(y, _at_limit(x, 0, 1, gate + x * slope))


def silu(x) -> Oracle:
    s, other = sigmoid(x)[0], sigmoid(-x)[0]
    return _gated(x, s, s * other)


def gelu(x, approximate="none") -> Oracle:
    if approximate == "tanh":
        c = math.sqrt(8 / math.pi)
        v = c * (x + 0.044715 * x**3)
        s = sigmoid(v)[0]
        return _gated(x, s, s * sigmoid(-v)[0] * c * (1 + 3 * 0.044715 * x**2))
    return _gated(x, _erfc(-x / math.sqrt(2)) / 2, np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def mish(x) -> Oracle:
    """tanh(log(1 + e)) = ((1 + e)² - 1) / ((1 + e)² + 1), e = exp(x)."""
    e = np.exp(np.minimum(x, 100))
    t = e * (e + 2) / (e * (e + 2) + 2)
    return _gated(x, t, 4 * e * (1 + e) / (e * (e + 2) + 2) ** 2)


def softplus(x, beta=1.0, threshold=20.0) -> Oracle:
    v = beta * x
    y = np.where(v > threshold, x, np.logaddexp(0, v) / beta)
    return _pointwise(y, np.where(v > threshold, 1, sigmoid(v)[0]))


def logsigmoid(x) -> Oracle:
    return _pointwise(-np.logaddexp(0, -x), sigmoid(-x)[0])


def softsign(x) -> Oracle:
    y = _at_limit(x, -1, 1, x / (1 + np.abs(x)))
    return _pointwise(y, 1 / (1 + np.abs(x)) ** 2)


def hardtanh(x, min_val=-1.0, max_val=1.0) -> Oracle:
    """Clipped; the gradient at both bounds is 0."""
    inside = (x > min_val) & (x < max_val)
    return _pointwise(np.minimum(np.maximum(x, min_val), max_val), np.where(inside, 1.0, 0.0))


def relu6(x) -> Oracle:
    return hardtanh(x, 0.0, 6.0)


def hardsigmoid(x) -> Oracle:
    y, vjp = hardtanh(x, -3.0, 3.0)
    return (y + 3) / 6, lambda dy: vjp(dy / 6)


def hardswish(x) -> Oracle:
    gate = hardsigmoid(x)[0]
    y = np.where(x <= -3, 0, x * gate)
    slope = np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5))
    return _pointwise(np.where(np.isnan(x), x, y), slope)


def threshold(x, limit, value) -> Oracle:
    return _pointwise(np.where(x <= limit, value, x), np.where(x > limit, 1.0, 0.0))


def maxout(x, pieces) -> Oracle:
    """Maximum of each `pieces` consecutive values of the last axis; the first gets the gradient."""
    groups = x.reshape(*x.shape[:-1], x.shape[-1] // pieces, pieces)
    y, group_vjp = max_(groups, -1)
    return y, lambda dy: (group_vjp(dy)[0].reshape(x.shape),)


def dropout(x, kept, p) -> Oracle:
    """x/(1-p) where kept, else 0."""
    scale = np.where(kept, 1 / (1 - p), 0) if p < 1 else np.zeros(x.shape)
    return _pointwise(x * scale, scale)


# ---- softmax and losses -------------------------------------------------------------------------


def softmax(x, axis) -> Oracle:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    y = e / e.sum(axis=axis, keepdims=True)
    return y, lambda dy: (y * (dy - (dy * y).sum(axis=axis, keepdims=True)),)


def log_softmax(x, axis) -> Oracle:
    shifted = x - x.max(axis=axis, keepdims=True)
    y = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return y, lambda dy: (dy - np.exp(y) * dy.sum(axis=axis, keepdims=True),)


def _reduced(losses: Array, slopes: tuple[Array, ...], reduction: str, total: float) -> Oracle:
    """Apply mean (over `total`), sum or none to losses whose own derivatives are `slopes`."""
    scale = 1 / total if reduction == "mean" else 1.0
    y = losses if reduction == "none" else losses.sum() * scale

    def vjp(dy):
        outer = np.broadcast_to(dy if reduction == "none" else dy * scale, losses.shape)
        return tuple(s * outer.reshape(outer.shape + (1,) * (s.ndim - outer.ndim)) for s in slopes)

    return np.asarray(y), vjp


def _with_no_gradient(oracle: Oracle, count: int) -> Oracle:
    y, vjp = oracle
    return y, lambda dy: vjp(dy) + (None,) * count


def nll_loss(logp, labels, weight=None, *, reduction="mean") -> Oracle:
    """-w[label]·logp[label]; the mean divides by the sum of the labels' weights."""
    w = np.ones(logp.shape[1]) if weight is None else weight
    rows = np.arange(len(labels))
    slope = np.zeros(logp.shape)
    slope[rows, labels] = -w[labels]
    result = _reduced((slope * logp).sum(axis=1), (slope,), reduction, w[labels].sum())
    return _with_no_gradient(result, 1 if weight is None else 2)


def cross_entropy(logits, labels, weight=None, *, label_smoothing=0.0, reduction="mean") -> Oracle:
    """-Σ_c t_c w_c log softmax(logits)_c with t = (1-ε) onehot + ε/C; mean as in nll_loss."""
    n, c = logits.shape
    w = np.ones(c) if weight is None else weight
    target = np.full((n, c), label_smoothing / c)
    target[np.arange(n), labels] += 1 - label_smoothing
    logp, logp_vjp = log_softmax(logits, 1)
    (slope,) = logp_vjp(-target * w)
    result = _reduced(-(target * w * logp).sum(axis=1), (slope,), reduction, w[labels].sum())
    return _with_no_gradient(result, 1 if weight is None else 2)


def soft_cross_entropy(
    logits, target, weight=None, *, label_smoothing=0.0, reduction="mean"
) -> Oracle:
    """-Σ_c t_c w_c log softmax(logits)_c with t = (1-ε) target + ε/C; mean over the rows."""
    n, c = logits.shape
    w = np.ones(c) if weight is None else weight
    t = (1 - label_smoothing) * target + label_smoothing / c
    logp, logp_vjp = log_softmax(logits, 1)
    (slope,) = logp_vjp(-t * w)
    by_target = -(1 - label_smoothing) * w * logp
    result = _reduced(-(t * w * logp).sum(axis=1), (slope, by_target), reduction, n)
    return result if weight is None else _with_no_gradient(result, 1)


def multi_margin_loss(x, labels, weight=None, *, p=1, margin=1.0, reduction="mean") -> Oracle:
    """w[label] Σ_{j≠label} max(0, margin - x[label] + x[j])^p / C; the mean divides by N."""
    n, c = x.shape
    rows = np.arange(n)
    w = (np.ones(c) if weight is None else weight)[labels, None]
    violation = np.maximum(margin - x[rows, labels][:, None] + x, 0)
    violation[rows, labels] = 0
    slope = w * p * violation ** (p - 1) * (violation > 0) / c
    slope[rows, labels] = -slope.sum(axis=1)
    result = _reduced((w * violation**p).sum(axis=1) / c, (slope,), reduction, n)
    return _with_no_gradient(result, 1 if weight is None else 2)


def mse_loss(x, y, *, reduction="mean") -> Oracle:
    return _reduced((x - y) ** 2, (2 * (x - y), 2 * (y - x)), reduction, x.size)


def smooth_l1_loss(x, y, *, beta=1.0, reduction="mean") -> Oracle:
    """Huber's function divided by beta."""
    d = np.abs(x - y)
    losses = np.where(d < beta, d**2 / (2 * beta or 1), d - beta / 2)
    slope = np.sign(x - y) * np.where(d < beta, d / (beta or 1), 1)
    return _reduced(losses, (slope, -slope), reduction, x.size)


def binary_cross_entropy_with_logits(
    x, t, weight=None, pos_weight=None, *, reduction="mean"
) -> Oracle:
    """-w·(p·t·log s + (1 - t)·log(1 - s)), s = sigmoid(x)."""
    w, p = (1.0 if a is None else a for a in (weight, pos_weight))
    on, off = np.logaddexp(0, -x), np.logaddexp(0, x)
    losses = w * (p * t * on + (1 - t) * off)
    slope = w * ((1 - t) * sigmoid(x)[0] - p * t * sigmoid(-x)[0])
    result = _reduced(losses, (slope, w * (p * on - off)), reduction, x.size)
    return _with_no_gradient(result, (weight is not None) + (pos_weight is not None))


def l1_loss(x, y, *, reduction="mean") -> Oracle:
    return _reduced(np.abs(x - y), (np.sign(x - y), np.sign(y - x)), reduction, x.size)


# ---- normalization ------------------------------------------------------------------------------


def exact_sum(x, axes) -> Array:
    """x summed in long double, so that many terms leave no error, with the axes kept."""
    return x.sum(axis=axes, keepdims=True, dtype=np.longdouble)


def standardized(x, axes, eps=1e-5) -> Oracle:
    """(x - mean) / sqrt(var + eps), with mean and biased variance over `axes`."""
    n = np.prod([x.shape[a] for a in axes])
    centred = (x - exact_sum(x, axes) / n).astype(np.float64)
    std = np.sqrt(exact_sum(centred**2, axes) / n + eps).astype(np.float64)

    def vjp(dy):
        dvar = -0.5 * exact_sum(dy * centred, axes) / std**3
        dmean = -exact_sum(dy, axes) / std
        return ((dy / std + dvar * 2 * centred / n + dmean / n).astype(np.float64),)

    return centred / std, vjp


def batch_norm(x, w=None, b=None, res=None, *, stats=None, eps=1e-5, act=None) -> Oracle:
    """act(standardized(x) w + b + res) by channel (last axis); stats: (mean, var), constants."""
    axes = tuple(range(x.ndim - 1))
    if stats is None:
        xhat, x_vjp = standardized(x, axes, eps)
    else:
        std = np.sqrt(stats[1] + eps)
        xhat, x_vjp = (x - stats[0]) / std, lambda dxhat: (dxhat / std,)
    z = xhat * (1 if w is None else w) + (0 if b is None else b) + (0 if res is None else res)
    y, act_vjp = (z, lambda dy: (dy,)) if act is None else act(z)

    def vjp(dy):
        (dz,) = act_vjp(dy)
        grads = [x_vjp(dz * (1 if w is None else w))[0]]
        if w is not None:
            grads += [exact_sum(g, axes).reshape(w.shape).astype(float) for g in (dz * xhat, dz)]
        return (*grads, dz) if res is not None else tuple(grads)

    return y, vjp


def _affine(oracle: Oracle, w, b) -> Oracle:
    """y w + b for an oracle of one input, with w and b of the shape of y's last axes."""
    xhat, x_vjp = oracle
    if w is None:
        return oracle

    def vjp(dy):
        lead = tuple(range(dy.ndim - w.ndim))
        dw, db = (exact_sum(g, lead).reshape(w.shape).astype(float) for g in (dy * xhat, dy))
        return (*x_vjp(dy * w), dw, db)

    return xhat * w + b, vjp


def layer_norm(x, w=None, b=None, *, dims=1, eps=1e-5) -> Oracle:
    """The last `dims` axes standardized, times w plus b."""
    return _affine(standardized(x, tuple(range(x.ndim - dims, x.ndim)), eps), w, b)


def group_norm(x, w=None, b=None, *, groups, eps=1e-5) -> Oracle:
    """Each sample and each group of neighbouring channels standardized, times w plus b."""
    parts = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    xhat, x_vjp = standardized(parts, (1, 3), eps)
    whole = xhat.reshape(x.shape)
    oracle = whole, lambda dy: (x_vjp(dy.reshape(parts.shape))[0].reshape(x.shape),)
    return _affine(oracle, w, b)


# ---- elementwise arithmetic ---------------------------------------------------------------------


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum the gradient of a broadcast array back to that array's shape."""
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and grad.shape[i] != 1)
    return grad.sum(axis=stretched, keepdims=True)


def _binary(y, a, b, slope_a, slope_b) -> Oracle:
    return y, lambda dy: (unbroadcast(dy * slope_a, a.shape), unbroadcast(dy * slope_b, b.shape))


def add(a, b) -> Oracle:
    return _binary(a + b, a, b, 1.0, 1.0)


def sub(a, b) -> Oracle:
    return _binary(a - b, a, b, 1.0, -1.0)


def mul(a, b) -> Oracle:
    return _binary(a * b, a, b, b, a)


def div(a, b) -> Oracle:
    return _binary(a / b, a, b, 1 / b, -a / b**2)


def pow_(a, b) -> Oracle:
    return _binary(a**b, a, b, b * a ** (b - 1), a**b * np.log(a))


def affine(x, scale, shift) -> Oracle:
    """scale·x + shift with Python numbers: negation, x - 2, 2 - x, x * 3 …"""
    return _pointwise(scale * x + shift, np.full(x.shape, float(scale)))


def power(x, exponent) -> Oracle:
    """x ** number."""
    return _pointwise(x**exponent, exponent * x ** (exponent - 1))


def abs_(x) -> Oracle:
    return _pointwise(np.abs(x), np.sign(x))


def sqrt(x) -> Oracle:
    return _pointwise(np.sqrt(x), 0.5 / np.sqrt(x))


def exp(x) -> Oracle:
    return _pointwise(np.exp(x), np.exp(x))


def log(x) -> Oracle:
    return _pointwise(np.log(x), 1 / x)


def clip(x, low, high) -> Oracle:
    """x limited to [low, high]; the limits themselves still pass the gradient."""
    return _pointwise(np.clip(x, low, high), np.where((x >= low) & (x <= high), 1.0, 0.0))


# ---- reductions ---------------------------------------------------------------------------------


def _axes(x: Array, axis) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis))


def sum_(x, axis=None, keepdim=False) -> Oracle:
    axes = _axes(x, axis)
    y = x.sum(axis=axes, keepdims=keepdim)

    def vjp(dy):
        return (np.broadcast_to(dy if keepdim else np.expand_dims(dy, axes), x.shape).copy(),)

    return np.asarray(y), vjp


def mean(x, axis=None, keepdim=False) -> Oracle:
    total, total_vjp = sum_(x, axis, keepdim)
    count = np.prod([x.shape[a] for a in _axes(x, axis)])
    return total / count, lambda dy: (total_vjp(dy)[0] / count,)


def var(x, axis=None, keepdim=False, correction=1) -> Oracle:
    """Σ (x - mean)² / (n - correction)."""
    axes = _axes(x, axis)
    deviation = x - x.mean(axis=axes, keepdims=True)
    total, total_vjp = sum_(deviation**2, axis, keepdim)
    count = np.prod([x.shape[a] for a in axes]) - correction
    return total / count, lambda dy: (total_vjp(dy)[0] * 2 * deviation / count,)


def max_(x, axis=None, keepdim=False) -> Oracle:
    """The maximum; the first one in row-major order of the reduced axes gets the gradient."""
    axes = _axes(x, axis)
    kept = [a for a in range(x.ndim) if a not in axes]
    order = kept + list(axes)
    moved = x.transpose(order)
    rows = moved.reshape(*moved.shape[: len(kept)], -1)
    winner = rows.argmax(axis=-1)[..., None]
    y = np.take_along_axis(rows, winner, axis=-1)[..., 0]

    def vjp(dy):
        drows = np.zeros(rows.shape)
        np.put_along_axis(drows, winner, dy.reshape(winner.shape), axis=-1)
        return (drows.reshape(moved.shape).transpose(np.argsort(order)),)

    return np.expand_dims(y, axes) if keepdim else y, vjp


def min_(x, axis=None, keepdim=False) -> Oracle:
    y, vjp = max_(-x, axis, keepdim)
    return -y, lambda dy: (-vjp(-dy)[0],)


# ---- shape --------------------------------------------------------------------------------------


def moved(fn: Callable[..., Array], *arrays: Array) -> Oracle:
    """Any op that only moves, repeats or drops elements, or pads with zeros: `fn` in NumPy.

    The gradient follows from running `fn` on element numbers: each output element names the
    input element that it came from (0 for padding), and gradients of repeats add up.
    """
    ends = np.cumsum([a.size for a in arrays])
    numbers = [
        np.arange(end - a.size + 1, end + 1).reshape(a.shape)
        for a, end in zip(arrays, ends, strict=True)
    ]
    origin = fn(*numbers)

    def vjp(dy):
        grads = np.zeros(ends[-1] + 1)
        np.add.at(grads, origin, dy)
        return tuple(grads[m] for m in numbers)

    return fn(*arrays), vjp


# ---- optimizer ----------------------------------------------------------------------------------


def sgd(
    param: Array,
    grads: Sequence[Array],
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> Array:
    """The parameter after one step for each gradient; the first velocity is the gradient."""
    velocity = None
    for grad in grads:
        step = grad + weight_decay * param
        if momentum:
            first = velocity is None
            velocity = step if first else momentum * velocity + (1 - dampening) * step
            step = step + momentum * velocity if nesterov else velocity
        param = param - lr * step
    return param

"""The op table: one `Case` per op and shape, with its call, its oracle and its tolerance.

A new op adds rows here and an oracle in reference.py; test_ops.py then runs them on every CPU
target, dtype, thread count and memory layout. Tolerances are in units of the dtype's epsilon.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import reference as ref
from op_case import Case, Input, away, distinct, labels, normal, offset, positive, spread, ties

BOTH = frozenset({"forward", "backward"})
BACKWARD = frozenset({"backward"})
CASES: list[Case] = []


def add(op: str, label: object, call, oracle, *inputs: Input, **options) -> None:
    CASES.append(Case(op, str(label), call, oracle, inputs, **options))


def with_options(fn: Callable, /, *args, **kwargs) -> Callable:
    """fn with trailing arguments fixed (functools.partial fixes leading ones)."""
    return lambda *arrays: fn(*arrays, *args, **kwargs)


def call_f(name: str, *args, **kwargs) -> Callable:
    """A call of fastnn.functional.<name> with trailing arguments fixed."""
    return lambda F, *tensors: getattr(F, name)(*tensors, *args, **kwargs)


def call_method(name: str, *args, **kwargs) -> Callable:
    """A call of Tensor.<name>; a (values, indices) result counts as its values."""

    def call(F, x):
        result = getattr(x, name)(*args, **kwargs)
        return result[0] if isinstance(result, tuple) else result

    return call


# ---- linear and matmul --------------------------------------------------------------------------


def _linear_cases() -> None:
    shapes = [(1, 1, 1), (5, 7, 3), (6, 64, 16), (7, 300, 17), (128, 256, 10), (257, 300, 129)]
    for m, k, n in shapes:
        x, w, b = Input((m, k)), Input((n, k)), Input((n,))
        add("linear", f"{m}x{k}->{n}", call_f("linear"), ref.linear, x, w, b, sums=BOTH)
    add("linear", "no bias", call_f("linear"), ref.linear, Input((5, 33)), Input((18, 33)),
        sums=BOTH)
    add("linear", "3-D x", call_f("linear"), ref.linear, Input((2, 3, 9)), Input((4, 9)),
        Input((4,)), sums=BOTH)
    add("linear", "offset x", call_f("linear"), ref.linear, Input((33, 300), offset),
        Input((20, 300)), Input((20,)), sums=BOTH)
    pairs = [
        ((1, 1), (1, 1)), ((5, 7), (7, 3)), ((15, 300), (300, 35)), ((64, 512), (512, 48)),
        ((200, 130), (130, 210)), ((2, 3, 4), (2, 4, 5)), ((4, 1, 3, 17), (5, 17, 6)),
        ((3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)), ((1, 6, 65), (3, 65, 1)),
    ]
    for a, b in pairs:
        add("matmul", f"{a}@{b}", lambda F, a, b: a @ b, ref.matmul, Input(a), Input(b), sums=BOTH)
    add("matmul", "transposed views", lambda F, a, b: a.transpose(0, 1) @ b.transpose(0, 1),
        lambda a, b: _transposed_matmul(a, b), Input((40, 21)), Input((37, 40)), sums=BOTH)


def _transposed_matmul(a, b):
    y, vjp = ref.matmul(a.T, b.T)
    return y, lambda dy: tuple(g.T for g in vjp(dy))


# ---- convolution --------------------------------------------------------------------------------


def _conv(n, h, w, c, k, kernel, stride=1, padding=0, dilation=1, groups=1, bias=True, draw=normal,
          **options):
    kh, kw = ref.pair(kernel)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    inputs = [Input((n, h, w, c), draw), Input((k, kh, kw, c // groups)), Input((k,))]
    if kh > 3:  # Winograd's errors follow the sums of a tile, not of the element: most at corners,
        # with tiles of 8; test_winograd.py bounds them all
        eight = (kernel, stride, dilation, groups) == (5, 1, 1, 1)
        options.setdefault("sum_c", 64.0 if eight else 8.0)
    label = (f"{n}x{h}x{w}x{c}->{k} k{kernel} s{stride} p{padding} d{dilation} g{groups}"
             f"{'' if bias else ' no bias'}{'' if draw is normal else ' ' + draw.__name__}")
    add("conv2d", label, call_f("conv2d", **settings), with_options(ref.conv2d, **settings),
        *inputs[: 3 if bias else 2], sums=BOTH, **options)


def _conv_cases() -> None:
    for c in (1, 3, 17):
        for k in (1, 10, 33):
            for kernel in (1, 3, 5):
                _conv(2, 7, 9, c, k, kernel, stride=2 if c == k == 1 else 1, padding=kernel // 2)
    for kernel in (1, 3, 5, (11, 3), (1, 5)):
        for stride in (1, 2, 3):
            _conv(1, 13, 12, 3, 5, kernel, stride=stride)
    _conv(1, 1, 1, 1, 1, 1)
    _conv(3, 1, 1, 4, 6, 3, padding=1)
    _conv(1, 7, 9, 2, 3, 2, stride=5)  # stride > kernel: some pixels are never read
    _conv(1, 7, 6, 3, 4, 1, stride=3, padding=2)
    _conv(1, 5, 6, 3, 4, 3, padding=4)  # padding > kernel - 1: border outputs see only zeros
    _conv(1, 3, 3, 2, 3, (5, 3), stride=(2, 1), padding=(3, 5))
    _conv(2, 9, 11, 3, 4, 3, dilation=2)
    _conv(1, 12, 13, 5, 6, (3, 2), stride=(2, 3), padding=(1, 2), dilation=(2, 3))
    _conv(1, 8, 8, 3, 4, 3, stride=(1, 2), bias=False)
    for groups, c, k in [(2, 6, 4), (2, 34, 66), (3, 9, 3), (5, 5, 5), (17, 17, 17), (17, 17, 34)]:
        _conv(2, 7, 6, c, k, 3, padding=1, groups=groups)
        _conv(1, 9, 8, c, k, 5, stride=2, padding=2, groups=groups)
    _conv(1, 9, 7, 33, 33, 3, padding=1, groups=33, bias=False)
    _conv(1, 9, 9, 8, 8, 3, padding=2, dilation=2, groups=8)
    _conv(1, 6, 7, 4, 8, 1, groups=4)
    # depthwise 3x3 with padding 1: blocks of 8, 4, 2 and 1 pixels, both borders in one block
    for h, w in [(1, 1), (2, 3), (5, 7), (6, 8), (3, 15)]:
        for stride in (1, 2):
            _conv(2, h, w, 17, 17, 3, stride=stride, padding=1, groups=17)
    _conv(2, 4, 9, 33, 33, 3, stride=(2, 1), padding=1, groups=33)
    _conv(2, 6, 9, 8, 8, 3, stride=2, padding=(1, 0), groups=8, bias=False)
    _conv(2, 7, 8, 5, 5, 3, stride=2, padding=2, groups=5)
    _conv(1, 11, 6, 16, 16, (5, 2), stride=(3, 2), padding=(1, 1), groups=16)
    _conv(1, 39, 35, 3, 20, 11, stride=4, padding=2)
    _conv(3, 26, 15, 2, 9, (6, 5), stride=2, padding=(0, 2))
    _conv(2, 9, 9, 5, 7, 3, padding=1, draw=offset)
    # large enough for several threads
    _conv(8, 32, 32, 3, 32, 5, padding=2)
    _conv(6, 28, 31, 16, 16, 3, padding=1)
    _conv(4, 16, 16, 64, 64, 3, padding=1)
    _conv(5, 16, 16, 32, 48, 3, stride=2, padding=1)
    _conv(4, 14, 14, 64, 80, 1)
    _conv(4, 32, 32, 40, 40, 3, padding=1, groups=40)
    _conv(4, 33, 31, 40, 40, 3, stride=2, padding=1, groups=40)


def _conv_transpose(n, h, w, c, k, kernel, stride=1, padding=0, output_padding=0, groups=1,
                    dilation=1, bias=True):
    settings = {"stride": stride, "padding": padding, "output_padding": output_padding,
                "groups": groups, "dilation": dilation}
    inputs = [Input((n, h, w, c)), Input((c, *ref.pair(kernel), k // groups)), Input((k,))]
    label = (f"{n}x{h}x{w}x{c}->{k} k{kernel} s{stride} p{padding} o{output_padding} g{groups} "
             f"d{dilation}{'' if bias else ' no bias'}")
    add("conv_transpose2d", label, call_f("conv_transpose2d", **settings),
        with_options(ref.conv_transpose2d, **settings), *inputs[: 3 if bias else 2], sums=BOTH)


def _conv_transpose_cases() -> None:
    _conv_transpose(1, 1, 1, 1, 1, 1)
    _conv_transpose(2, 5, 6, 3, 17, 1, bias=False)
    for kernel in (2, 3, (3, 5)):
        for stride in (1, 2, 3):
            _conv_transpose(2, 5, 4, 3, 6, kernel, stride=stride, padding=1)
    _conv_transpose(1, 4, 5, 17, 33, 4, stride=2, padding=1)
    _conv_transpose(2, 4, 3, 6, 4, 3, stride=2, padding=1, output_padding=1)
    _conv_transpose(1, 4, 3, 6, 4, (3, 2), stride=(3, 2), padding=(2, 0), output_padding=(2, 1))
    _conv_transpose(1, 4, 5, 3, 4, 1, stride=3)  # pixels that nothing reaches
    _conv_transpose(1, 5, 4, 3, 4, 3, dilation=2, output_padding=1)  # beyond the stride
    _conv_transpose(1, 5, 4, 3, 4, 2, stride=2, dilation=4, padding=2, output_padding=(3, 2))
    for groups, c, k in [(2, 6, 4), (5, 5, 5), (17, 17, 34)]:
        _conv_transpose(2, 5, 4, c, k, 3, stride=2, padding=1, groups=groups)
    _conv_transpose(1, 3, 3, 2, 3, 3, padding=2)
    _conv_transpose(4, 16, 15, 32, 24, 4, stride=2, padding=1)  # large enough for several threads


# ---- embedding ----------------------------------------------------------------------------------


def _embedding_cases() -> None:
    settings = [((), 3, 4), ((1,), 1, 1), ((7,), 5, 17), ((4, 6), 9, 8), ((2, 0), 3, 4),
                ((3, 2, 2), 30, 33), ((400, 30), 700, 53)]
    for shape, rows, size in settings:
        add("embedding", f"{shape} of {rows}x{size}", call_f("embedding"), ref.embedding,
            Input(shape, labels(rows), grad=False), Input((rows, size)), sums=BOTH)
    for padding in (0, 2, -1):
        add("embedding", f"padding_idx {padding}", call_f("embedding", padding),
            with_options(ref.embedding, padding), Input((9, 5), labels(3), grad=False),
            Input((3, 7)), sums=BOTH, smooth=False)


# ---- pooling ------------------------------------------------------------------------------------


def _pool_cases() -> None:
    settings = [
        ((1, 1, 1, 1), 1, None, 0), ((2, 6, 8, 3), 2, None, 0), ((2, 7, 9, 16), 2, 2, 0),
        ((1, 9, 8, 17), 3, 2, 1), ((2, 7, 7, 5), 3, 1, 1), ((1, 8, 9, 33), (2, 3), (1, 2), (1, 0)),
        ((1, 10, 11, 2), 2, 3, 0), ((1, 5, 4, 53), (5, 4), 1, 0), ((8, 32, 32, 32), 2, None, 0),
        ((4, 33, 31, 20), 3, 2, 1),
        ((1, 20, 19, 5), 17, 1, 0), ((1, 300, 2, 3), (300, 1), 1, 0),  # more than 255 in a window
    ]
    for shape, *args in settings:
        label = f"{shape} k{args[0]} s{args[1]} p{args[2]}"
        add("max_pool2d", label, call_f("max_pool2d", *args), with_options(ref.max_pool2d, *args),
            Input(shape, distinct), forward=(0, 0))
        add("max_pool2d", label + " ties", call_f("max_pool2d", *args),
            with_options(ref.max_pool2d, *args), Input(shape, ties), forward=(0, 0), smooth=False)
        add("avg_pool2d", label, call_f("avg_pool2d", *args), with_options(ref.avg_pool2d, *args),
            Input(shape), sums=BOTH, sum_c=4)
    for shape, size in [
        ((1, 1, 1, 1), 1), ((2, 7, 9, 5), 1), ((2, 7, 9, 17), (3, 4)), ((1, 4, 3, 16), (6, 5)),
        ((1, 8, 6, 3), (4, 2)), ((8, 16, 16, 64), 1), ((4, 30, 31, 33), (7, 7)),
    ]:
        add("adaptive_avg_pool2d", f"{shape}->{size}", call_f("adaptive_avg_pool2d", size),
            with_options(ref.adaptive_avg_pool2d, size), Input(shape), sums=BOTH, sum_c=4)


# ---- activations --------------------------------------------------------------------------------

SHAPES = [(0,), (1,), (7,), (8,), (9,), (15,), (16,), (17,), (29,), (53,), (3, 5, 7), (2, 3, 4, 17)]
BIG = (300_001,)


SMOOTH = {"sigmoid", "tanh", "silu", "gelu", "mish", "softplus", "logsigmoid"}


def _activation_cases() -> None:
    table = [
        ("sigmoid", ref.sigmoid, (4, 0), (16, 16), {}),
        ("tanh", ref.tanh, (4, 0), (16, 16), {}),
        ("relu", ref.relu, (0, 0), (0, 0), {}),
        ("leaky_relu", ref.leaky_relu, (1, 0), (1, 0), {}),
        ("leaky_relu", ref.leaky_relu, (1, 0), (1, 0), {"negative_slope": 0.3}),
        ("leaky_relu", ref.leaky_relu, (1, 0), (1, 0), {"negative_slope": -0.3}),
        ("elu", ref.elu, (8, 0), (16, 8), {}),
        ("elu", ref.elu, (8, 0), (16, 8), {"alpha": 0.7}),
        ("elu", ref.elu, (8, 0), (16, 8), {"alpha": -0.5}),  # y > 0 on both sides of 0
        ("selu", ref.selu, (4, 0), (16, 8), {}),
        ("celu", ref.celu, (4, 0), (16, 8), {}),
        ("celu", ref.celu, (4, 0), (16, 8), {"alpha": 0.3}),
        ("silu", ref.silu, (4, 0), (16, 8), {}),
        ("gelu", ref.gelu, (512, 1e-37), (16, 8), {}),
        ("gelu", ref.gelu, (512, 1e-37), (16, 8), {"approximate": "tanh"}),
        ("mish", ref.mish, (5, 0), (16, 8), {}),
        ("softplus", ref.softplus, (4, 0), (16, 0), {}),
        ("softplus", ref.softplus, (64, 0), (64, 0), {"beta": 2.5, "threshold": 60.0}),
        ("softplus", ref.softplus, (64, 0), (64, 0), {"beta": -0.7}),
        ("logsigmoid", ref.logsigmoid, (4, 0), (16, 0), {}),
        ("softsign", ref.softsign, (2, 0), (4, 0), {}),
        ("hardtanh", ref.hardtanh, (0, 0), (0, 0), {}),
        ("hardtanh", ref.hardtanh, (0, 0), (0, 0), {"min_val": -2.0, "max_val": 0.5}),
        ("relu6", ref.relu6, (0, 0), (0, 0), {}),
        ("hardsigmoid", ref.hardsigmoid, (2, 0), (2, 0), {}),
        ("hardswish", ref.hardswish, (3, 0), (4, 4), {}),
    ]
    for name, oracle, forward, backward, options in table:
        kinked = name not in SMOOTH
        tolerance = {"forward": forward, "backward": backward}
        call, expected = call_f(name, **options), with_options(oracle, **options)
        note = " ".join(f"{k}={v}" for k, v in options.items())
        for shape in [*SHAPES, BIG]:
            draw = away if kinked else spread
            add(name, f"{shape} {note}", call, expected, Input(shape, draw), **tolerance)
        add(name, f"ties {note}", call, expected, Input((53,), ties), smooth=not kinked,
            **tolerance)
        add(name, f"wide {note}", call, expected, Input((4, 53), spread), smooth=not kinked,
            **tolerance)
    for draw in (ties, spread):
        add("threshold", draw.__name__, call_f("threshold", 1.0, 20.0),
            with_options(ref.threshold, 1.0, 20.0), Input((5, 53), draw), forward=(0, 0),
            backward=(0, 0), smooth=False)
    for name, bounds in [("hardsigmoid", 3), ("hardswish", 3), ("relu6", 6)]:
        add(name, "bounds", call_f(name), getattr(ref, name),
            Input((53,), lambda rng, shape, b=bounds: rng.integers(-b - 1, b + 2, shape) * 1.0),
            forward=(3, 0), backward=(4, 4), smooth=False)
    for shape in [(1,), (17,), (4, 16), (3, 5, 7), (2, 3, 4, 17), (70_001,)]:
        options = {"forward": (1, 0), "backward": (512, 512)}
        add("prelu", f"{shape} shared", call_f("prelu"), ref.prelu, Input(shape, away),
            Input((1,)), **options)
        if len(shape) > 1:
            add("prelu", f"{shape} per channel", call_f("prelu"), ref.prelu, Input(shape, away),
                Input(shape[-1:]), **options)
    add("prelu", "ties", call_f("prelu"), ref.prelu, Input((9, 53), ties), Input((53,)),
        forward=(1, 0), backward=(16, 16), smooth=False)
    add("prelu", "big", call_f("prelu"), ref.prelu, Input((3000, 33), away), Input((33,)),
        forward=(1, 0), backward=(512, 512))
    for shape, pieces in [((1, 2), 2), ((3, 10), 2), ((2, 9), 3), ((5, 3, 34), 2), ((4, 5), 5),
                          ((2, 3, 4, 64), 4), ((6, 7), 1), ((2000, 66), 2)]:
        add("maxout", f"{shape}/{pieces}", call_f("maxout", pieces),
            with_options(ref.maxout, pieces), Input(shape, distinct), forward=(0, 0),
            backward=(0, 0))
        add("maxout", f"{shape}/{pieces} ties", call_f("maxout", pieces),
            with_options(ref.maxout, pieces), Input(shape, ties), forward=(0, 0), backward=(0, 0),
            smooth=False)


# ---- softmax and losses -------------------------------------------------------------------------


def _softmax_cases() -> None:
    for shape, axis in [((1, 1), -1), ((5, 10), -1), ((5, 10), 1), ((7, 3), 0), ((53,), 0),
                        ((2, 17, 3), 1), ((2, 3, 4, 33), -1), ((3000, 37), 1), ((37, 1500), 0)]:
        for name, oracle in [("softmax", ref.softmax), ("log_softmax", ref.log_softmax)]:
            add(name, f"{shape} axis {axis}", call_f(name, axis), with_options(oracle, axis),
                Input(shape, spread), forward=(32, 8), backward=(32, 32))
    for name, oracle in [("softmax", ref.softmax), ("log_softmax", ref.log_softmax)]:
        add(name, "huge", call_f(name, -1), with_options(oracle, -1),
            Input((6, 19), lambda rng, shape: 1e4 * rng.standard_normal(shape)),
            forward=(64, 8), backward=(64, 64), smooth=False)


def _loss_cases() -> None:
    tight = {"forward": (32, 16), "backward": (32, 16)}
    exact = {"forward": (64, 64), "backward": (16, 0)}  # no cancellation in the gradient
    sizes = [(1, 1), (1, 5), (4, 10), (33, 17), (19, 32), (5, 1100), (3000, 10)]
    for reduction in ("mean", "sum", "none"):
        for n, c in sizes:
            tight["backward"] = (32, 16 / n if reduction == "mean" else 16)
            target = Input((n,), labels(c), grad=False)
            weight = Input((c,), positive, grad=False)
            for smoothing in (0.0, 0.1):
                options = {"label_smoothing": smoothing, "reduction": reduction}
                add("cross_entropy", f"{n}x{c} {reduction} ls{smoothing}",
                    call_f("cross_entropy", **options),
                    with_options(ref.cross_entropy, **options), Input((n, c), spread), target,
                    **tight)
                add("cross_entropy", f"{n}x{c} {reduction} ls{smoothing} weight",
                    lambda F, x, t, w, o=options: F.cross_entropy(x, t, weight=w, **o),
                    with_options(ref.cross_entropy, **options), Input((n, c), spread), target,
                    weight, **tight)
                shares = Input((n, c), lambda rng, s: rng.dirichlet(np.ones(s[1]), s[0]))
                add("cross_entropy", f"{n}x{c} {reduction} ls{smoothing} soft",
                    call_f("cross_entropy", **options),
                    with_options(ref.soft_cross_entropy, **options), Input((n, c), spread), shares,
                    **tight)
                add("cross_entropy", f"{n}x{c} {reduction} ls{smoothing} soft weight",
                    lambda F, x, t, w, o=options: F.cross_entropy(x, t, weight=w, **o),
                    with_options(ref.soft_cross_entropy, **options), Input((n, c), spread), shares,
                    weight, **tight)
            options = {"reduction": reduction}
            add("nll_loss", f"{n}x{c} {reduction}", call_f("nll_loss", **options),
                with_options(ref.nll_loss, **options), Input((n, c), normal), target, **exact)
            add("nll_loss", f"{n}x{c} {reduction} weight",
                lambda F, x, t, w, o=options: F.nll_loss(x, t, weight=w, **o),
                with_options(ref.nll_loss, **options), Input((n, c), normal), target, weight,
                **exact)
            for margin in ({}, {"p": 1, "margin": 0.3}, {"p": 2}):
                # Of squares the gradient is a difference: margin - x[label] + x[j].
                terms = tight if margin.get("p") == 2 else exact
                add("multi_margin_loss", f"{n}x{c} {reduction} {margin}",
                    call_f("multi_margin_loss", **margin, **options),
                    with_options(ref.multi_margin_loss, **margin, **options),
                    Input((n, c), normal), target, **terms)
            add("multi_margin_loss", f"{n}x{c} {reduction} weight",
                lambda F, x, t, w, o=options: F.multi_margin_loss(x, t, weight=w, **o),
                with_options(ref.multi_margin_loss, **options), Input((n, c), normal), target,
                weight, **exact)
        for shape in [(1,), (17,), (3, 5), (2, 3, 4, 5), (70_001,)]:
            options = {"reduction": reduction}
            for name, oracle in [("mse_loss", ref.mse_loss), ("l1_loss", ref.l1_loss)]:
                pair = (Input(shape, positive), Input(shape, lambda rng, s: -positive(rng, s)))
                add(name, f"{shape} {reduction}", call_f(name, **options),
                    with_options(oracle, **options), *pair, **exact)
        for shape in [(1,), (17,), (3, 5), (2, 3, 4, 5), (70_001,)]:
            options = {"reduction": reduction}
            bce = (Input(shape, spread), Input(shape, lambda rng, s: rng.uniform(0.1, 0.9, s)))
            op = "binary_cross_entropy_with_logits"
            terms = {"forward": (32, 0), "backward": (32, 32)}
            add(op, f"{shape} {reduction}", call_f(op, **options),
                with_options(ref.binary_cross_entropy_with_logits, **options), *bce, **terms)
            add(op, f"{shape} {reduction} weights",
                lambda F, x, t, w, p, o=options: F.binary_cross_entropy_with_logits(
                    x, t, w, pos_weight=p, **o),
                with_options(ref.binary_cross_entropy_with_logits, **options), *bce,
                Input(shape[-1:], positive, grad=False), Input((1,), positive, grad=False),
                **terms)
            for beta in (1.0, 0.4, 0.0):
                call = {"beta": beta, **options}
                add("smooth_l1_loss", f"{shape} {reduction} beta {beta}",
                    call_f("smooth_l1_loss", **call), with_options(ref.smooth_l1_loss, **call),
                    Input(shape), Input(shape), smooth=False, **exact)
    add("smooth_l1_loss", "smooth", call_f("smooth_l1_loss", beta=50.0),
        with_options(ref.smooth_l1_loss, beta=50.0), Input((53,)), Input((53,)), **exact)
    add("cross_entropy", "huge logits", call_f("cross_entropy"), ref.cross_entropy,
        Input((6, 19), lambda rng, shape: 1e4 * rng.standard_normal(shape)),
        Input((6,), labels(19), grad=False), smooth=False, **tight)
    add("l1_loss", "ties", call_f("l1_loss", reduction="sum"),
        with_options(ref.l1_loss, reduction="sum"), Input((53,), ties), Input((53,), ties),
        smooth=False)


# ---- normalization ------------------------------------------------------------------------------


def _batch_norm(x, w=None, b=None, res=None, *, stats=None, act=None):
    """The operation with what can be fused into it."""
    module = importlib.import_module("fastnn.ops.norm")
    mean, var = (None, None) if stats is None else (np.asarray(s, x.dtype) for s in stats)
    return module.batch_norm_act(x, mean, var, w, b, stats is None, 0.0, 1e-5, act, res)


TIGHT = {"forward": (16, 16), "backward": (32, 64)}
RELU = ("relu", 0.0, 0.0)


def _batch_norm_cases() -> None:
    shapes = [(4, 1), (5, 17), (33, 64), (5, 4, 3), (70, 300), (2, 3, 5, 3), (3, 7, 9, 16),
              (1, 3, 3, 1100), (4, 33, 31, 17), (9, 32, 32, 24), (70_001, 1)]
    for shape in shapes:
        c, rows = shape[-1:], np.prod(shape[:-1])
        x, w, b = Input(shape), Input(c, positive), Input(c)
        loose = {**TIGHT, "backward": (32, 16 * np.sqrt(rows))}  # dw and db: sums over the rows

        def train(F, x, w=None, b=None):
            return F.batch_norm(x, None, None, w, b, training=True)

        def fused(label, inputs, oracle_act=None, stats=None, act=None, smooth=False, loose=loose):
            add("batch_norm_act", label,
                lambda F, *tensors: _batch_norm(*tensors, stats=stats, act=act),
                with_options(ref.batch_norm, stats=stats, act=oracle_act), *inputs, **loose,
                smooth=smooth)

        add("batch_norm", f"{shape}", train, ref.batch_norm, x, w, b, **loose)
        # float64 knows the mean to 1000 eps; test_norm.py is stricter with float32
        add("batch_norm", f"{shape} offset", train, ref.batch_norm, Input(shape, offset), w, b,
            forward=(16, 2000), backward=(32, 2000 * np.sqrt(rows)), smooth=False)
        fused(f"{shape} residual relu", (x, w, b, x), ref.relu, act=RELU)
        if rows * c[0] > 50_000:
            continue
        add("batch_norm", f"{shape} no weight", train, ref.batch_norm, x, **TIGHT)
        rng = np.random.default_rng(9)
        stats = rng.integers(-4, 5, c) / 4, rng.integers(1, 9, c) / 4  # exact in float32, too
        fused(f"{shape} given", (x, w, b), stats=stats, smooth=True)
        fused(f"{shape} residual", (x, w, b, x), smooth=True)
        fused(f"{shape} residual relu given", (x, w, b, x), ref.relu, stats, RELU)
        fused(f"{shape} relu", (x, w, b), ref.relu, act=RELU)
        fused(f"{shape} tanh", (x, w, b), ref.tanh, act=("tanh", 0.0, 0.0), smooth=True)
        fused(f"{shape} leaky_relu", (x, w, b), with_options(ref.leaky_relu, 0.1),
              act=("leaky_relu", 0.1, 0.0))


def _row_norm_cases() -> None:
    for shape, dims in [((7, 5), 1), ((3, 4, 17), 1), ((2, 3, 5, 7), 3), ((300, 130), 1),
                        ((3, 2000), 1), ((1, 1, 33), 2), ((40, 1030), 1)]:
        last = shape[len(shape) - dims :]
        args = (last if dims > 1 else last[0],)
        for draw, loose in ((normal, TIGHT), (offset, {"forward": (16, 2000),
                                                       "backward": (32, 30_000)})):
            label = f"{shape} over {dims} {'' if draw is normal else 'offset'}"
            add("layer_norm", label, lambda F, x, w, b, a=args: F.layer_norm(x, *a, w, b),
                with_options(ref.layer_norm, dims=dims), Input(shape, draw), Input(last, positive),
                Input(last), **loose, smooth=draw is normal)
        add("layer_norm", f"{shape} over {dims} no weight", call_f("layer_norm", *args),
            with_options(ref.layer_norm, dims=dims), Input(shape), **TIGHT)
    for shape, groups in [((3, 6), 2), ((2, 5, 4, 17), 17), ((2, 5, 4, 17), 1), ((3, 9, 7, 24), 4),
                          ((4, 32, 32, 32), 8), ((2, 3, 2100), 3), ((1, 6, 4), 2)]:
        c = shape[-1:]
        label = f"{shape} {groups} groups"
        loose = {**TIGHT, "backward": (32, 64 * np.sqrt(np.prod(shape[:-1])))}
        for draw in (normal, offset):
            if draw is offset:
                loose = {"forward": (16, 4000), "backward": (32, 4000 * np.prod(shape[:-1]))}
            add("group_norm", label + ("" if draw is normal else " offset"),
                lambda F, x, w, b, g=groups: F.group_norm(x, g, w, b),
                with_options(ref.group_norm, groups=groups), Input(shape, draw), Input(c, positive),
                Input(c), **loose, smooth=draw is normal)
        add("group_norm", label + " no weight", call_f("group_norm", groups),
            with_options(ref.group_norm, groups=groups), Input(shape), **TIGHT)


# ---- elementwise arithmetic ---------------------------------------------------------------------


def _arithmetic_cases() -> None:
    binary = [
        ("add", lambda F, a, b: a + b, ref.add, normal, (1, 0), 2),
        ("sub", lambda F, a, b: a - b, ref.sub, normal, (1, 0), 2),
        ("mul", lambda F, a, b: a * b, ref.mul, normal, (1, 0), 4),
        ("div", lambda F, a, b: a / b, ref.div, positive, (1, 0), 8),
        ("pow", lambda F, a, b: a**b, ref.pow_, positive, (32, 0), 64),
    ]
    shapes = [
        ((0,), (0,)), ((0,), (1,)), ((1,), (1,)), ((15,), (15,)), ((17,), (17,)), ((53,), (53,)),
        ((), (3, 4)), ((3, 5, 7), (7,)), ((7,), (3, 5, 7)), ((3, 1, 7), (5, 1)), ((5, 1), (1, 6)),
        ((1,), (4, 5)), ((2, 3, 17), (2, 3, 17)), ((2, 3, 17), (2, 1, 1)), ((4, 8, 8, 17), (17,)),
        ((0, 3), (3,)), ((300, 257), (257,)), ((257,), (300, 257)), ((300, 257), (300, 1)),
        ((90_001,), (90_001,)),
    ]
    for op, call, oracle, draw, forward, sum_c in binary:
        for a, b in shapes:
            # pow's own sizes (log of small values) say little about rounding in its gradient
            tolerance = {"sums": BACKWARD} if op != "pow" else {"backward": (512, 512)}
            add(op, f"{a},{b}", call, oracle, Input(a, draw), Input(b, draw), forward=forward,
                sum_c=sum_c, **tolerance)

    one = (1, 0)
    scalar = [
        ("add", "x + 2.5", lambda F, x: x + 2.5, lambda x: ref.affine(x, 1, 2.5)),
        ("add", "2.5 + x", lambda F, x: 2.5 + x, lambda x: ref.affine(x, 1, 2.5)),
        ("sub", "x - 2.5", lambda F, x: x - 2.5, lambda x: ref.affine(x, 1, -2.5)),
        ("sub", "2.5 - x", lambda F, x: 2.5 - x, lambda x: ref.affine(x, -1, 2.5)),
        ("mul", "x * 3", lambda F, x: x * 3, lambda x: ref.affine(x, 3, 0)),
        ("mul", "3 * x", lambda F, x: 3 * x, lambda x: ref.affine(x, 3, 0)),
        ("div", "x / 4", lambda F, x: x / 4, lambda x: ref.affine(x, 0.25, 0)),
        ("div", "2 / x", lambda F, x: 2 / x, lambda x: _one_of(ref.div, 2.0, x)),
        ("neg", "-x", lambda F, x: -x, lambda x: ref.affine(x, -1, 0)),
    ]
    for op, label, call, oracle in scalar:
        for shape in [(0,), (1,), (17,), (3, 53)]:
            add(op, f"{label} {shape}", call, oracle, Input(shape, away), forward=one)
    for exponent in (2, 3, 0.5, -1, -1.5, 1, 0):
        for shape in [(1,), (17,), (3, 53)]:
            add("pow", f"x ** {exponent} {shape}", lambda F, x, e=exponent: x**e,
                lambda x, e=exponent: ref.power(x, e), Input(shape, positive), forward=(32, 0),
                backward=(64, 8))
    for exponent in (2, 3, -1):
        add("pow", f"negative x ** {exponent}", lambda F, x, e=exponent: x**e,
            lambda x, e=exponent: ref.power(x, float(e)), Input((53,), away), forward=(32, 0),
            backward=(64, 8))
    add("pow", "2 ** x", lambda F, x: 2**x, lambda x: _one_of(ref.pow_, 2.0, x), Input((53,)),
        forward=(32, 0), backward=(64, 8))

    unary = [
        ("abs", ref.abs_, away, (0, 0), ()), ("sqrt", ref.sqrt, positive, (1, 0), ()),
        ("exp", ref.exp, normal, (4, 0), ()), ("log", ref.log, positive, (4, 4), ()),
        ("clip", ref.clip, normal, (0, 0), (-0.75, 1.25)),
    ]
    for op, oracle, draw, forward, args in unary:
        for shape in [*SHAPES, (70_001,)]:
            add(op, f"{shape}", call_method(op, *args), with_options(oracle, *args),
                Input(shape, draw), forward=forward)
    add("abs", "ties", call_method("abs"), ref.abs_, Input((53,), ties), smooth=False)
    add("clip", "on the limits", call_method("clip", -1.0, 2.0),
        lambda x: ref.clip(x, -1.0, 2.0), Input((53,), ties), smooth=False)


def _one_of(oracle, number, x):
    """A binary oracle with a Python number on the left: only x's gradient is left."""
    y, vjp = oracle(np.asarray(number), x)
    return y, lambda dy: vjp(dy)[1:]


# ---- reductions ---------------------------------------------------------------------------------


def _reduction_cases() -> None:
    settings = [
        ((1,), None), ((17,), 0), ((53,), None), ((3, 5, 7), None), ((3, 5, 7), 0), ((3, 5, 7), 1),
        ((3, 5, 7), -1), ((3, 5, 7), (0, 2)), ((3, 5, 7), (1, 2)), ((2, 4, 3, 33), (0, 1, 2)),
        ((2, 4, 3, 33), (-1, 0)), ((600, 257), 0), ((600, 257), 1), ((600, 257), None),
    ]
    for shape, axis in settings:
        for keepdim in (False, True):
            if axis is None and keepdim:
                continue  # PyTorch's x.sum() has no keepdim without an axis
            args = () if axis is None else (axis, keepdim)
            label = f"{shape} axis {axis}{' keepdim' if keepdim else ''}"
            add("sum", label, call_method("sum", *args), with_options(ref.sum_, *args),
                Input(shape), sums=BOTH)
            add("mean", label, call_method("mean", *args), with_options(ref.mean, *args),
                Input(shape), forward=(8, 8))
            if not isinstance(axis, tuple):  # PyTorch's max and min take one axis
                for name, oracle in [("max", ref.max_), ("min", ref.min_)]:
                    add(name, label, call_method(name, *args), with_options(oracle, *args),
                        Input(shape, distinct), forward=(0, 0), backward=(0, 0))
                    if axis is not None:
                        add(name, label + " ties", call_method(name, *args),
                            with_options(oracle, *args), Input(shape, ties), forward=(0, 0),
                            backward=(0, 0), smooth=False)
            if shape != (1,):
                call = call_method("var") if axis is None else call_method(
                    "var", axis, keepdim=keepdim)
                expected = with_options(ref.var, axis, keepdim)
                add("var", label, call, expected, Input(shape), forward=(32, 0))
                # the mean is known to 1000 eps, and that error reaches the gradient
                count = np.prod([shape[a] for a in np.atleast_1d(
                    range(len(shape)) if axis is None else axis)])
                add("var", label + " offset", call, expected, Input(shape, offset),
                    forward=(2000, 2000), backward=(8, 60_000 / count), smooth=False)
    add("var", "unbiased=False", call_method("var", 0, unbiased=False),
        lambda x: ref.var(x, 0, False, 0), Input((5, 17)), forward=(32, 0))
    add("sum", "empty", call_method("sum"), ref.sum_, Input((0, 4)), smooth=False)
    add("sum", "empty axis", call_method("sum", 0), with_options(ref.sum_, 0), Input((0, 4)),
        smooth=False)


# ---- shape --------------------------------------------------------------------------------------


def _shape_cases() -> None:
    mask = np.random.default_rng(5).random((4, 5)) < 0.5
    rows, columns = np.array([0, 3, 3, 1, -1, 3]), np.array([2, 0, 0, -1, 4, 0])
    one = [
        ("reshape", "(4,5,6)->(8,15)", (4, 5, 6), lambda x: x.reshape(8, 15)),
        ("reshape", "-1", (4, 5, 6), lambda x: x.reshape(10, -1)),
        ("reshape", "tuple", (4, 6), lambda x: x.reshape((3, 2, 4))),
        ("reshape", "empty", (0, 6), lambda x: x.reshape(3, 0)),
        ("reshape", "to 0-d", (1, 1), lambda x: x.reshape(())),
        ("index", "x[2]", (4, 5, 6), lambda x: x[2]),
        ("index", "x[-1]", (4, 5), lambda x: x[-1]),
        ("index", "x[1:3, ::2]", (4, 5, 6), lambda x: x[1:3, ::2]),
        ("index", "x[::-1]", (4, 5), lambda x: x[::-1]),
        ("index", "x[-2::-2, 3:0:-1]", (7, 5), lambda x: x[-2::-2, 3:0:-1]),
        ("index", "x[..., 1]", (4, 5, 6), lambda x: x[..., 1]),
        ("index", "x[:, None, 2]", (4, 5), lambda x: x[:, None, 2]),
        ("index", "empty slice", (4, 5), lambda x: x[3:1]),
        ("index", "mask", (4, 5), lambda x: x[mask]),
        ("index", "row mask", (4, 5, 3), lambda x: x[mask[:, 0]]),
        ("index", "no row", (4, 5), lambda x: x[np.zeros(4, dtype=bool)]),
        ("index", "repeated rows", (4, 5), lambda x: x[rows]),
        ("index", "2-D rows", (4, 5), lambda x: x[rows.reshape(2, 3)]),
        ("index", "pairs with repeats", (4, 5), lambda x: x[rows, columns]),
        ("index", "list", (4, 5), lambda x: x[[0, 0, 2]]),
        ("index", "slice and rows", (6, 4, 5), lambda x: x[1:4, rows]),
    ]
    for op, label, shape, fn in one:
        add(op, label, lambda F, x, fn=fn: fn(x), _moved(fn), Input(shape),
            forward=(0, 0))
    # NumPy knows these by other names or arguments
    other = [
        ("transpose", "0,1", (4, 5), lambda x: x.transpose(0, 1), lambda x: np.swapaxes(x, 0, 1)),
        ("transpose", "-1,-3", (2, 3, 4, 5), lambda x: x.transpose(-1, -3),
         lambda x: np.swapaxes(x, -1, -3)),
        ("permute", "3,1,0,2", (2, 3, 4, 5), lambda x: x.permute(3, 1, 0, 2),
         lambda x: np.transpose(x, (3, 1, 0, 2))),
        ("permute", "tuple", (2, 3, 4), lambda x: x.permute((1, -1, 0)),
         lambda x: np.transpose(x, (1, 2, 0))),
        ("permute", "big", (20, 31, 33, 17), lambda x: x.permute(0, 3, 1, 2),
         lambda x: np.transpose(x, (0, 3, 1, 2))),
        ("flatten", "all", (2, 3, 4), lambda x: x.flatten(), lambda x: x.reshape(-1)),
        ("flatten", "from 1", (2, 3, 4), lambda x: x.flatten(1), lambda x: x.reshape(2, 12)),
        ("flatten", "1 to -2", (2, 3, 4, 5), lambda x: x.flatten(1, -2),
         lambda x: x.reshape(2, 12, 5)),
        ("squeeze", "all", (1, 3, 1, 4), lambda x: x.squeeze(), lambda x: x.reshape(3, 4)),
        ("squeeze", "axis 2", (1, 3, 1, 4), lambda x: x.squeeze(2), lambda x: x.reshape(1, 3, 4)),
        ("squeeze", "axis of 3", (1, 3), lambda x: x.squeeze(1), lambda x: x),
        ("unsqueeze", "0", (3, 4), lambda x: x.unsqueeze(0), lambda x: x[None]),
        ("unsqueeze", "-1", (3, 4), lambda x: x.unsqueeze(-1), lambda x: x[..., None]),
    ]
    for op, label, shape, fn, numpy_fn in other:
        add(op, label, lambda F, x, fn=fn: fn(x), _moved(numpy_fn), Input(shape), forward=(0, 0))

    for label, shapes, axis in [("0", [(2, 3), (4, 3)], 0), ("1", [(2, 3), (2, 1), (2, 5)], 1),
                                ("-1", [(2, 3, 4), (2, 3, 17)], -1), ("one", [(3,)], 0),
                                ("with empty", [(0, 3), (2, 3)], 0),
                                ("big", [(30, 40, 33), (30, 40, 31)], 2)]:
        add("cat", label, lambda F, *xs, a=axis: _fastnn().cat(list(xs), a),
            _moved(lambda *xs, a=axis: np.concatenate(xs, a)), *map(Input, shapes), forward=(0, 0))
    for axis in (0, 1, -1):
        add("stack", axis, lambda F, *xs, a=axis: _fastnn().stack(list(xs), a),
            _moved(lambda *xs, a=axis: np.stack(xs, a)), *[Input((3, 5))] * 3, forward=(0, 0))
    for label, shape, pads in [
        ("last axis", (3, 4), (1, 2)), ("two axes", (2, 3, 4), (1, 0, 2, 3)),
        ("nothing", (3,), (0, 0)), ("image", (2, 5, 6, 3), (0, 0, 1, 2, 3, 0)),
    ]:
        widths = [(0, 0)] * (len(shape) - len(pads) // 2)
        widths += [(pads[i], pads[i + 1]) for i in range(len(pads) - 2, -1, -2)]
        add("pad", label, call_f("pad", pads), _moved(lambda x, w=widths: np.pad(x, w)),
            Input(shape), forward=(0, 0))
    add("sharing", "x used three times", lambda F, x: x * x + F.relu(x),
        lambda x: (x * x + np.maximum(x, 0), lambda dy: (dy * (2 * x + (x > 0)),)),
        Input((5, 7), away), forward=(4, 4))


def _moved(fn: Callable) -> Callable:
    return lambda *arrays: ref.moved(fn, *arrays)


def _fastnn():
    return importlib.import_module("fastnn")


for _build in (_linear_cases, _conv_cases, _conv_transpose_cases, _embedding_cases, _pool_cases,
               _activation_cases, _softmax_cases, _loss_cases, _batch_norm_cases, _row_norm_cases,
               _arithmetic_cases, _reduction_cases, _shape_cases):
    _build()


OPS = list(dict.fromkeys(c.op for c in CASES))

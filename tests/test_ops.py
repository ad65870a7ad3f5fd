"""Runs the op table (cases.py) on every CPU target, dtype, thread count and memory layout."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from cases import CASES, OPS, call_f, call_method
from compare import assert_close, assert_close_sum
from op_case import Case

import fastnn as fnn
import fastnn.functional as F
from fastnn import _core
from fastnn.ops.linear import linear_act

THREADS = (1, 2, 4)
DTYPES = (np.float32, np.float64)
LARGE = 100_000  # elements: above it, layouts say nothing new and take long


@pytest.fixture(params=_core.runnable_targets())
def target(request):
    """Each CPU target of this machine in turn; target and threads are restored afterwards."""
    before, threads = _core.current_target(), fnn.get_num_threads()
    _core.set_target(request.param)
    yield request.param
    _core.set_target(before)
    fnn.set_num_threads(threads)


def leaf(array: np.ndarray, grad: bool):
    """A Tensor that shares `array`; labels stay arrays."""
    if array.dtype.kind != "f":
        return array
    tensor = fnn.from_numpy(array)
    tensor.requires_grad = grad
    return tensor


def value(tensor) -> np.ndarray:
    return tensor.detach().numpy()


def run(case: Case, arrays, dy) -> tuple[np.ndarray, list]:
    """The op's value, and the gradient of sum(y·dy) for each input that asks for one."""
    tensors = [leaf(a, i.grad) for a, i in zip(arrays, case.inputs, strict=True)]
    y = case.call(F, *tensors)
    y.backward(fnn.from_numpy(dy))
    grads = [t.grad if i.grad else None for t, i in zip(tensors, case.inputs, strict=True)]
    return value(y), [None if g is None else g.numpy() for g in grads]


def assert_same_bits(found, expected, name: str) -> None:
    for part, a, b in zip("y012345", [found[0], *found[1]], [expected[0], *expected[1]],
                          strict=False):
        if a is None and b is None:
            continue
        assert a.dtype == b.dtype and a.shape == b.shape, f"{name} {part}"
        same = np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
        assert same, f"{name} {part}: {np.count_nonzero(a != b)} of {a.size} elements differ"


def rows(op: str) -> list[Case]:
    return [c for c in CASES if c.op == op]


# ---- the table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_value_and_gradients(op, dtype, target):
    """Right against the oracle, with the same bits at every thread count, inputs untouched."""
    for case in rows(op):
        truth = case.truth(dtype)
        untouched = [a.copy() for a in (*truth.arrays, truth.dy)]
        first = None
        for threads in THREADS:
            fnn.set_num_threads(threads)
            result = run(case, truth.arrays, truth.dy)
            first = first or result
            assert_same_bits(result, first, f"{case} at {threads} threads")
        for before, after in zip(untouched, (*truth.arrays, truth.dy), strict=True):
            assert before.tobytes() == after.tobytes(), f"{case}: an input was modified"
        truth.check_value(first[0], str(case))
        truth.check_grads(first[1], str(case))


@pytest.mark.parametrize("op", OPS)
def test_gradients_are_derivatives(op, target):
    """dL/dinputs along one random direction equals a central difference, in float64."""
    rng = np.random.default_rng(3)
    step = 1e-5
    for case in rows(op):
        if not case.smooth:
            continue
        truth = case.truth(np.float64)
        _, grads = run(case, truth.arrays, truth.dy)
        directions = [
            rng.standard_normal(a.shape) / max(a.size, 1) ** 0.5 if i.grad else None
            for a, i in zip(truth.arrays, case.inputs, strict=True)
        ]

        def loss(sign, case=case, truth=truth, directions=directions):
            moved = [a if d is None else a + sign * step * d
                     for a, d in zip(truth.arrays, directions, strict=True)]
            return np.sum(value(case.call(F, *(leaf(np.asarray(a), False) for a in moved)))
                          * truth.dy)

        found = sum(np.sum(g * d) for g, d in zip(grads, directions, strict=True) if d is not None)
        expected = (loss(1) - loss(-1)) / (2 * step)
        noise = 1e-9 * np.abs(truth.y * truth.dy).sum()
        assert abs(found - expected) <= 1e-6 * (1 + abs(expected)) + noise, (
            f"{case}: gradient {found}, finite difference {expected}"
        )


def strided(a):
    """Every second element of a larger array, with values around that would spoil the result."""
    if a.ndim == 0:
        return a
    big = np.full((*a.shape[:-1], 2 * a.shape[-1]), 1e30 if a.dtype.kind == "f" else 0, a.dtype)
    big[..., ::2] = a
    return big[..., ::2]


def transposed(a):
    return a.T.copy().T


def reversed_(a):
    return a[::-1].copy()[::-1] if a.ndim else a


def offset_by_one(a):
    """Contiguous, but not aligned to a vector."""
    flat = np.empty(a.size + 1, a.dtype)
    flat[1:] = a.reshape(-1)
    return flat[1:].reshape(a.shape)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = [strided, transposed, reversed_, offset_by_one, read_only]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_layout_does_not_matter(op, dtype):
    """Non-contiguous, unaligned and read-only inputs give the bits of plain ones."""
    for case in rows(op):
        truth = case.truth(dtype)
        if sum(a.size for a in truth.arrays) > LARGE:
            continue
        plain = run(case, truth.arrays, truth.dy)
        for layout in LAYOUTS:
            arrays = [layout(a) for a in truth.arrays]
            result = run(case, arrays, layout(truth.dy))
            assert_same_bits(result, plain, f"{case} {layout.__name__}")
            for before, after in zip(truth.arrays, arrays, strict=True):
                assert np.array_equal(before, after), f"{case}: an input was modified"


@pytest.mark.parametrize("op", [op for op in OPS if hasattr(F, op)])
def test_tensor_views_and_plain_arrays(op):
    """A transposed Tensor, and a NumPy array in a Tensor's place, give the same bits."""
    for case in rows(op):
        truth = case.truth(np.float32)
        if sum(a.size for a in truth.arrays) > LARGE:
            continue
        expected = value(case.call(F, *(leaf(a, False) for a in truth.arrays)))
        views = [
            leaf(np.ascontiguousarray(a.T), False).permute(*range(a.ndim)[::-1])
            if a.dtype.kind == "f" and a.ndim > 1 else a
            for a in truth.arrays
        ]
        assert_same_bits((value(case.call(F, *views)), []), (expected, []), f"{case} views")
        if op != "sharing":
            plain = value(case.call(F, *truth.arrays))
            assert_same_bits((plain, []), (expected, []), f"{case} arrays")


def test_every_function_has_rows():
    """A function that is made public gets a row in the table, or a test of its own here."""
    own_test = {"dropout", "conv2d_algo"}  # the latter in test_winograd.py
    missing = set(F.__all__) - set(OPS) - own_test
    assert not missing, f"fastnn.functional has functions without a case: {sorted(missing)}"


# ---- special values -----------------------------------------------------------------------------

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-42, -1e-42, 1e-30, -1e-30, 20.0, -20.0,
           87.0, -87.0, 110.0, -110.0, 1e4, -1e4, 3e38, -3e38]

# (op, call, oracle, (rtol, atol) in eps, whether all but NaN goes backward too)
UNARY = [
    ("sigmoid", call_f("sigmoid"), ref.sigmoid, (4, 0), True),
    ("tanh", call_f("tanh"), ref.tanh, (4, 0), True),
    ("relu", call_f("relu"), ref.relu, (0, 0), True),
    ("leaky_relu", call_f("leaky_relu"), ref.leaky_relu, (1, 0), True),
    ("elu", call_f("elu"), ref.elu, (8, 0), True),
    ("selu", call_f("selu"), ref.selu, (4, 0), True),
    ("celu", call_f("celu", 0.7), lambda x: ref.celu(x, 0.7), (4, 0), True),
    ("silu", call_f("silu"), ref.silu, (4, 0), True),
    ("gelu", call_f("gelu"), ref.gelu, (1024, 0), True),
    ("gelu tanh", call_f("gelu", "tanh"), lambda x: ref.gelu(x, "tanh"), (1024, 0),
     True),
    ("mish", call_f("mish"), ref.mish, (4, 0), True),
    ("softplus", call_f("softplus"), ref.softplus, (4, 0), True),
    ("softplus 2", call_f("softplus", 2.0, 5.0), lambda x: ref.softplus(x, 2.0, 5.0), (4, 0), True),
    ("logsigmoid", call_f("logsigmoid"), ref.logsigmoid, (4, 0), True),
    ("softsign", call_f("softsign"), ref.softsign, (2, 0), True),
    ("hardtanh", call_f("hardtanh", -1.0, 20.0), lambda x: ref.hardtanh(x, -1.0, 20.0), (0, 0),
     True),
    ("relu6", call_f("relu6"), ref.relu6, (0, 0), True),
    ("hardsigmoid", call_f("hardsigmoid"), ref.hardsigmoid, (2, 0), True),
    ("hardswish", call_f("hardswish"), ref.hardswish, (3, 0), True),
    ("threshold", call_f("threshold", 0.0, -7.0), lambda x: ref.threshold(x, 0.0, -7.0), (0, 0),
     True),
    ("abs", call_method("abs"), ref.abs_, (0, 0), True),
    ("sqrt", call_method("sqrt"), ref.sqrt, (1, 0), False),
    ("exp", call_method("exp"), ref.exp, (4, 0), True),
    ("log", call_method("log"), ref.log, (4, 4), False),
    ("clip", call_method("clip", -2.0, 3.0), lambda x: ref.clip(x, -2.0, 3.0), (0, 0), True),
    ("neg", lambda F, x: -x, lambda x: ref.affine(x, -1, 0), (0, 0), True),
    ("maxout", call_f("maxout", 1), lambda x: ref.maxout(x, 1), (0, 0), True),
]
BINARY = [
    ("add", lambda F, a, b: a + b, ref.add, (1, 0)),
    ("sub", lambda F, a, b: a - b, ref.sub, (1, 0)),
    ("mul", lambda F, a, b: a * b, ref.mul, (1, 0)),
    ("div", lambda F, a, b: a / b, ref.div, (1, 0)),
    ("pow", lambda F, a, b: a**b, ref.pow_, (64, 0)),
    ("prelu", call_f("prelu"), ref.prelu, (1, 0)),
]


def check_special(y, expected, tolerance, dtype, name):
    info = np.finfo(dtype)
    assert_close(y, expected, rtol=tolerance[0] * info.eps,
                 atol=tolerance[1] * info.eps + info.smallest_subnormal, dtype=dtype, name=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", UNARY, ids=lambda row: row[0])
def test_special_values(row, dtype, target):
    """NaN, infinities, zeros and denormals at every position of a vector and of its tail."""
    op, call, oracle, tolerance, backward = row
    for shift in range(len(SPECIAL)):
        x = np.resize(np.roll(SPECIAL, shift), 37).astype(dtype)
        with np.errstate(all="ignore"):
            expected, _ = oracle(x.astype(np.float64))
        check_special(value(call(F, leaf(x, False))), expected, tolerance, dtype, op)
        if not backward:
            continue
        x = x[~np.isnan(x)]
        with np.errstate(all="ignore"):
            _, vjp = oracle(x.astype(np.float64))
            (expected,) = vjp(np.ones(x.shape))
        tensor = leaf(x, True)
        call(F, tensor).backward(fnn.from_numpy(np.ones(x.shape, dtype)))
        eps = 16 * np.finfo(dtype).eps
        assert_close(tensor.grad.numpy(), expected, rtol=eps, atol=eps, dtype=dtype,
                     name=f"{op} gradient")


def forward_backward(call, x, dy) -> tuple[np.ndarray, list]:
    tensor = leaf(x, True)
    y = call(F, tensor)
    y.backward(fnn.from_numpy(dy))
    return value(y), [tensor.grad.numpy()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", [row for row in UNARY if row[4]], ids=lambda row: row[0])
def test_position_does_not_matter(row, dtype, target):
    """Value and gradient depend on x alone: the same bits in whole vectors, blocks and tails, and
    beside values that are computed in another way."""
    op, call, *_ = row
    rng = np.random.default_rng(5)
    x, dy = rng.normal(scale=4, size=(2, 1100)).astype(dtype)
    x[::89] *= 200
    y, (dx,) = forward_backward(call, x, dy)
    for start, size in [(1, 1099), (3, 7), (8, 1), (17, 31), (500, 600), (1070, 30)]:
        cut = slice(start, start + size)
        assert_same_bits(forward_backward(call, x[cut].copy(), dy[cut].copy()),
                         (y[cut], [dx[cut]]), f"{op} from {start}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["relu", "tanh", "silu", "gelu"])
def test_long_arrays_are_cut_without_a_trace(op, dtype, target):
    """16 and 32 long rows (FNN_LONG_ROW) repeat a short array's bits; each time others, since freed
    memory is used again."""
    rng = np.random.default_rng(6)
    x, dy = rng.normal(scale=4, size=(2, 8191)).astype(dtype)
    y, (dx,) = forward_backward(call_f(op), x, dy)
    for threads in THREADS:
        fnn.set_num_threads(threads)
        for times in (129, 260):
            many = [np.tile(np.roll(a, threads + times), times) for a in (x, dy, y, dx)]
            assert_same_bits(forward_backward(call_f(op), *many[:2]), (many[2], many[3:]),
                             f"{op} {times} times at {threads} threads")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", BINARY, ids=lambda row: row[0])
def test_special_pairs(row, dtype, target):
    op, call, oracle, tolerance = row
    for b in np.array(SPECIAL, dtype=dtype):
        a = np.array(SPECIAL * 2, dtype=dtype)
        other = np.full(1 if op == "prelu" else a.shape, b)
        with np.errstate(all="ignore"):
            expected, _ = oracle(a.astype(np.float64), other.astype(np.float64))
        y = value(call(F, leaf(a, False), leaf(other, False)))
        check_special(y, expected, tolerance, dtype, f"{op} with {b}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_survives_maxima_and_sums(dtype, target):
    """One NaN at any place reaches the result of every reduction and of the window it is in."""
    for size in (1, 7, 16, 17, 53):
        for at in range(size):
            x = np.linspace(-1, 1, size).astype(dtype)
            x[at] = np.nan
            for op in ("max", "min", "sum", "mean"):
                for args in ((), (0,)):
                    assert np.isnan(value(call_method(op, *args)(F, leaf(x, False)))), (op, at)
            for call in (lambda F, x: F.softmax(x, -1), lambda F, x: F.log_softmax(x, -1)):
                assert np.isnan(value(call(F, leaf(x, False)))).all(), at
    for channels in (1, 5, 16, 17):
        for at in range(9):
            x = np.zeros((1, 3, 3, channels), dtype)
            x.reshape(9, channels)[at, channels - 1] = np.nan
            for pool in (F.max_pool2d, F.avg_pool2d):
                y = value(pool(leaf(x, False), 2, 1))
                rows_, columns = (slice(max(i - 1, 0), i + 1) for i in divmod(at, 3))
                hit = np.zeros(y.shape, dtype=bool)
                hit[:, rows_, columns, channels - 1] = True
                assert (np.isnan(y) == hit).all(), (pool, channels, at)


# ---- what does not fit a row ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 7, 64, 300])
def test_every_small_gemm(k, dtype, target):
    """All m ≤ 15 and n ≤ 35, so that every edge of a register tile is met, in all transposes."""
    rng = np.random.default_rng(k)
    x, w, b, dy = (rng.standard_normal(s).astype(dtype) for s in [(15, k), (35, k), 35, (15, 35)])
    for m in range(1, 16):
        for n in range(1, 36):
            inputs = [x[:m], w[:n], b[:n]]
            case_dy = np.ascontiguousarray(dy[:m, :n])
            tensors = [leaf(a, True) for a in inputs]
            y = F.linear(*tensors)
            y.backward(fnn.from_numpy(case_dy))
            x64, w64, b64, dy64 = (a.astype(np.float64) for a in (*inputs, case_dy))
            ax, aw, ady = np.abs(x64), np.abs(w64), np.abs(dy64)
            name = f"linear {m}x{k}->{n}"
            assert_close_sum(value(y), x64 @ w64.T + b64, ax @ aw.T + np.abs(b64), k + 1,
                             name=f"{name} y", dtype=dtype)
            expected = [(dy64 @ w64, ady @ aw, n), (dy64.T @ x64, ady.T @ ax, m),
                        (dy64.sum(0), ady.sum(0), m)]
            for part, tensor, bounds in zip("xwb", tensors, expected, strict=True):
                assert_close_sum(tensor.grad.numpy(), *bounds, name=f"{name} d{part}", dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m, n, k", [(32, 65, 128), (63, 130, 769), (128, 257, 130),
                                     (64, 700, 1037), (101, 530, 1031), (16, 1, 300),
                                     (129, 11, 301), (3, 5, 4096), (2, 1, 4097)])
def test_gemm_paths(m, n, k, dtype, target):
    """Few rows on either side, matrices beyond L2, their tails, and all transposes."""
    rng = np.random.default_rng(k)
    x, w, b = (rng.standard_normal(s).astype(dtype) for s in [(m, k), (n, k), n])
    x64, w64, b64 = (a.astype(np.float64) for a in (x, w, b))
    products = x64 @ w64.T
    magnitude = np.abs(x64) @ np.abs(w64.T)
    biased = np.maximum(products + b64, 0)
    tx, tw, tb, xt, wt = (leaf(a, False) for a in (x, w, b, x.T.copy(), w.T.copy()))
    results = []
    for threads in THREADS:
        fnn.set_num_threads(threads)
        plain = [tx @ tw.T, tx @ wt, xt.T @ wt, xt.T @ tw.T]
        fused = linear_act(tx, tw, tb, ("relu", 0.0, 0.0))
        results.append([value(y) for y in [*plain, F.relu(F.linear(tx, tw, tb)), fused]])
    for y in results[0][:4]:
        assert_close_sum(y, products, magnitude, k, dtype=dtype)
    assert results[0][4].tobytes() == results[0][5].tobytes()
    assert_close_sum(results[0][4], biased, magnitude + np.abs(b64), k + 1, dtype=dtype)
    for others in results[1:]:
        for y, other in zip(results[0], others, strict=True):
            assert y.tobytes() == other.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n, k", [(1, 13), (3, 36), (10, 131), (12, 145)])
def test_rows_by_few_rows(n, k, dtype, target):
    """A row's values depend on no other row, NaN included, nor on how many there are."""
    rng = np.random.default_rng(n)
    x, w, b = (rng.standard_normal(s).astype(dtype) for s in [(9, k), (n, k), n])
    w[-1] = np.abs(w[-1])
    x[2, k - 1], x[4, 0], w[n // 2, k // 2] = np.nan, np.inf, np.nan
    y = value(F.linear(x, w, b))
    hit = np.zeros(y.shape, dtype=bool)
    hit[2] = hit[:, n // 2] = True
    assert (np.isnan(y) == hit).all()
    assert n == 1 or y[4, -1] == np.inf
    assert np.isfinite(y[~hit & (np.arange(9) != 4)[:, None]]).all()
    for rows in (1, 2, 3, 5):
        assert value(F.linear(x[:rows], w, b)).tobytes() == y[:rows].tobytes()
    assert value(F.linear(x[:0], w, b)).shape == (0, n)


@pytest.mark.parametrize("n", [7, 40, 300, 5000])
def test_gelu_in_place(n, target):
    """As the last step of a product it overwrites x, also where that is far below its tables."""
    rng = np.random.default_rng(0)
    x = fnn.tensor(rng.standard_normal((3, 8), dtype=np.float32) * 4)
    w = fnn.tensor(rng.standard_normal((n, 8), dtype=np.float32))
    y = fnn.functional.linear(x, w)
    assert (y.numpy() < -6).any()
    fused = linear_act(x, w, None, ("gelu", 0.0, 0.0))
    np.testing.assert_array_equal(fused.numpy(), fnn.functional.gelu(y).numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [1, 2, 10, 31, 32, 33, 600])
def test_cross_entropy_row_by_row(c, dtype, target):
    """A row's loss and gradient depend on no other row, NaN and infinity included."""
    rng = np.random.default_rng(c)
    x = rng.standard_normal((21, c)).astype(dtype)
    x[3, c - 1], x[5, 0], x[7] = np.nan, np.inf, -np.inf
    labels = rng.integers(0, c, 21)
    for smoothing in (0.0, 0.1):
        tx = leaf(x, True)
        loss = F.cross_entropy(tx, labels, None, "none", smoothing)
        loss.backward(np.ones(21, dtype))
        bad = np.isin(np.arange(21), (3, 5, 7))
        assert (np.isnan(value(loss)) == bad).all()
        assert (np.isnan(tx.grad.numpy()).any(1) == bad).all()
        for i in range(21):
            row = leaf(x[i : i + 1], True)
            one = F.cross_entropy(row, labels[i : i + 1], None, "none", smoothing)
            one.backward(np.ones(1, dtype))
            assert value(one).tobytes() == value(loss)[i].tobytes() or bad[i]
            assert row.grad.numpy().tobytes() == tx.grad.numpy()[i].tobytes() or bad[i]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (17,), (3, 5, 7), (200_003,)])
def test_dropout(shape, dtype, target):
    """Kept values are x/(1-p), the others 0; the gradient has the same mask; seeds repeat."""
    x = np.random.default_rng(0).uniform(0.5, 1.0, shape).astype(dtype)
    eps = np.finfo(dtype).eps
    for p in (0.1, 0.5, 0.9):
        results = []
        for threads in THREADS:
            fnn.set_num_threads(threads)
            fnn.manual_seed(7)
            tensor = leaf(x, True)
            y = F.dropout(tensor, p, training=True)
            y.backward(fnn.from_numpy(np.full(shape, 3, dtype)))
            results.append((value(y), [tensor.grad.numpy()]))
            assert_same_bits(results[-1], results[0], f"dropout at {threads} threads")
        y, (grad,) = results[0]
        kept = y != 0
        expected, vjp = ref.dropout(x.astype(np.float64), kept, p)
        assert_close(y, expected, rtol=4 * eps, atol=0, dtype=dtype, name="dropout y")
        assert_close(grad, vjp(np.full(shape, 3.0))[0], rtol=4 * eps, atol=0, dtype=dtype,
                     name="dropout gradient")
        if x.size > 1000:
            noise = 5 * np.sqrt(p * (1 - p) / x.size)
            assert abs(kept.mean() - (1 - p)) < noise
            # neighbours, and elements a vector or a block apart, are independent
            for lag in (1, 4, 8, 16, 1024, 16384):
                both = (kept[:-lag] & kept[lag:]).mean()
                assert abs(both - (1 - p) ** 2) < 5 * np.sqrt(p / x.size), lag
            fnn.manual_seed(8)
            other_seed = value(F.dropout(leaf(x, False), p, training=True))
            next_draw = value(F.dropout(leaf(x, False), p, training=True))
            assert (other_seed != y).any() and (next_draw != other_seed).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_limits(dtype, target):
    x = np.linspace(-1, 1, 37).astype(dtype)
    for p, training, scale in [(0.0, True, 1), (0.5, False, 1), (1.0, True, 0)]:
        tensor = leaf(x, True)
        y = F.dropout(tensor, p, training=training)
        y.backward(fnn.from_numpy(np.ones(37, dtype)))
        assert (value(y) == x * scale).all() and (tensor.grad.numpy() == scale).all(), p


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", [
    {"lr": 0.1},
    {"lr": 0.1, "weight_decay": 0.01},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
], ids=str)
def test_sgd(settings, dtype, target):
    """Four steps of several parameters at once, of sizes around a vector's and large."""
    shapes = [(1,), (15,), (16,), (17,), (3, 5, 7), (70_001,)]
    rng = np.random.default_rng(4)
    starts = [rng.standard_normal(s).astype(dtype) for s in shapes]
    grads = [rng.standard_normal((4, *s)).astype(dtype) for s in shapes]
    results = []
    for threads in THREADS:
        fnn.set_num_threads(threads)
        params = [fnn.nn.Parameter(fnn.tensor(s)) for s in starts]
        optimizer = fnn.optim.SGD(params, **settings)
        for step in range(4):
            optimizer.zero_grad()
            for param, grad in zip(params, grads, strict=True):
                (param * fnn.from_numpy(grad[step])).sum().backward()
            optimizer.step()
        results.append((np.zeros(0), [value(p) for p in params]))
        assert_same_bits(results[-1], results[0], f"SGD at {threads} threads")
    eps = np.finfo(dtype).eps
    for found, start, grad in zip(results[0][1], starts, grads, strict=True):
        expected = ref.sgd(start.astype(np.float64), grad.astype(np.float64), **settings)
        assert_close(found, expected, rtol=16 * eps, atol=16 * eps, dtype=dtype, name="SGD")

"""Winograd convolutions: errors, edges, determinism, containment of NaN, and who is chosen."""

import os
import subprocess
import sys

import numpy as np
import pytest
import reference as ref

import fastnn as fnn
import fastnn.functional as F
from fastnn import _core, nn

TARGETS = _core.runnable_targets()


@pytest.fixture(autouse=True)
def _restore_algo():
    yield
    _core.set_conv_algo("auto")


def data(n, h, w, c, k, r, padding, shift=0.0):
    """x after a ReLU, He weights, bias, and dy, in float32."""
    rng = np.random.default_rng(n + h + 7 * w + 11 * c + 13 * k + r)
    x = np.maximum(rng.standard_normal((n, h, w, c)), 0) + shift
    weight = rng.standard_normal((k, r, r, c)) * np.sqrt(2 / (r * r * c))
    dy = rng.standard_normal((n, h + 2 * padding - r + 1, w + 2 * padding - r + 1, k))
    return [a.astype(np.float32) for a in (x, weight, rng.standard_normal(k), dy)]


def passes(x, weight, bias, dy, padding, algo="winograd"):
    """y and the gradients of x, weight and bias."""
    tensors = [fnn.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    y = F.conv2d(*tensors, padding=padding, algo=algo)
    y.backward(fnn.tensor(dy))
    return [y.numpy(), *(t.grad.numpy() for t in tensors)]


def oracle(x, weight, bias, dy, padding):
    y, vjp = ref.conv2d(*(a.astype(np.float64) for a in (x, weight, bias)), padding=padding)
    return [y, *vjp(dy.astype(np.float64))]


SHAPES = [  # n, h, w, c, k, r, padding
    (2, 16, 16, 16, 16, 3, 1),
    (2, 9, 12, 17, 33, 3, 1),
    (3, 8, 8, 64, 64, 3, 1),
    (2, 8, 8, 256, 256, 3, 1),
    (5, 1, 1, 24, 17, 3, 1),
    (2, 6, 5, 3, 1, 3, 0),
    (1, 7, 3, 1, 5, 3, 5),
    (4, 2, 13, 40, 16, 3, 2),
    (2, 16, 16, 32, 32, 5, 2),
    (3, 7, 9, 17, 20, 5, 0),
    (2, 1, 1, 8, 8, 5, 4),
    (1, 5, 3, 3, 2, 5, 5),
    (9, 6, 7, 33, 130, 5, 3),
    (1, 8, 9, 128, 256, 5, 2),  # sums of sums over the channels
    (2, 7, 6, 130, 9, 5, 2),  # more channels than tiles of 8 take
    (3, 5, 9, 17, 24, 5, 2),  # maps too small for them
    (2, 4, 4, 33, 17, 5, 6),
    (4, 1, 1, 16, 17, 5, 2),
    (2, 1, 11, 6, 8, 5, 2),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_errors_stay_within_the_budget_of_the_algorithm(shape, target):
    _core.set_target(target)
    *sizes, padding = shape
    arrays = data(*sizes, padding)
    for name, got, want in zip(
        ("y", "dx", "dw", "db"), passes(*arrays, padding), oracle(*arrays, padding), strict=True
    ):
        assert got.shape == want.shape and got.dtype == np.float32
        rms, error = np.sqrt(np.mean(want**2)), np.abs(got - want)
        assert np.sqrt(np.mean(error**2)) <= 3e-6 * rms, name
        assert error.max() <= 4e-5 * rms, name


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("r", [3, 5])
def test_errors_of_biased_inputs_follow_the_sum_of_absolute_products(r, target):
    _core.set_target(target)
    arrays = data(2, 11, 8, 32, 24, r, r // 2, shift=100.0)
    y, dx, dw, _ = passes(*arrays, r // 2)
    want_y, want_dx, want_dw, _ = oracle(*arrays, r // 2)
    bound_y, bound_dx, bound_dw, _ = oracle(*(np.abs(a) for a in arrays), r // 2)
    for got, want, bound in (
        (y, want_y, bound_y),
        (dx, want_dx, bound_dx),
        (dw, want_dw, bound_dw),
    ):
        assert np.abs(got - want).max() <= 1e-6 * bound.max()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(9, 13, 14, 17, 40, 3, 1), (5, 9, 10, 24, 17, 5, 2)], ids=str)
def test_bits_do_not_depend_on_the_number_of_threads(shape, target):
    _core.set_target(target)
    *sizes, padding = shape
    arrays = data(*sizes, padding)
    found = []
    for threads in (1, 2, 3, 4):
        fnn.set_num_threads(threads)
        found.append([a.tobytes() for a in passes(*arrays, padding)])
    assert found.count(found[0]) == 4


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("r", [3, 5])
def test_an_image_and_a_channel_do_not_depend_on_their_neighbours(r, target):
    """Blocks of tiles span images, vectors span channels."""
    _core.set_target(target)
    x, weight, bias, dy = data(7, 6, 9, 20, 21, r, 1)
    y, dx, *_ = passes(x, weight, bias, dy, 1)
    for i in (0, 3, 6):
        one, one_dx, *_ = passes(x[i : i + 1], weight, bias, dy[i : i + 1], 1)
        np.testing.assert_array_equal(one[0], y[i])
        np.testing.assert_array_equal(one_dx[0], dx[i])
    some, *_ = passes(x, weight[3:10], bias[3:10], dy[..., 3:10], 1)
    np.testing.assert_array_equal(some, y[..., 3:10])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("r", [3, 5])
def test_nan_and_infinity_stay_in_their_image(r, bad, target):
    _core.set_target(target)
    x, weight, bias, dy = data(5, 6, 7, 16, 16, r, r // 2)
    clean_y, clean_dx, *_ = passes(x, weight, bias, dy, r // 2)
    x[2, 3, 3, 5] = dy[1, 0, 6, 2] = bad
    y, dx, dw, db = passes(x, weight, bias, dy, r // 2)
    assert not np.isfinite(y[2, 2:5, 2:5]).any()  # all that see it
    assert not np.isfinite(dx[1, 0:2, 5:7]).any()
    for got, clean, image in ((y, clean_y, 2), (dx, clean_dx, 1)):
        others = [i for i in range(5) if i != image]
        np.testing.assert_array_equal(got[others], clean[others])
    assert not np.isfinite(dw[2, :, :, 5]).all() and not np.isfinite(db[2])
    assert np.isfinite(np.delete(np.delete(dw, 2, 0), 5, 3)).all()


@pytest.mark.parametrize("r", [3, 5])
def test_no_images_give_no_outputs_and_gradients_of_zero(r):
    x, weight, bias, dy = data(0, 6, 7, 16, 8, r, 1)
    y, dx, dw, db = passes(x, weight, bias, dy, 1)
    assert y.shape == dy.shape and dx.shape == x.shape
    assert not dw.any() and not db.any()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("act", ["relu", "tanh"])
def test_a_fused_activation_has_the_same_bits(act, target):
    _core.set_target(target)
    x, *_ = data(3, 9, 6, 20, 24, 3, 1)
    layer = nn.Conv2d(20, 24, 3, padding=1, bias_init=0.1, algo="winograd")
    other = {"relu": nn.ReLU, "tanh": nn.Tanh}[act]()
    fused = nn.Sequential(layer, other)(x).numpy()
    np.testing.assert_array_equal(fused, other(layer(x)).numpy())


def test_direct_and_winograd_differ_and_auto_is_one_of_them():
    arrays = data(8, 16, 16, 64, 64, 3, 1)
    direct, winograd, auto = (passes(*arrays, 1, algo) for algo in ("direct", "winograd", "auto"))
    chosen = F.conv2d_algo((8, 16, 16, 64), (64, 3, 3, 64), padding=1)
    assert chosen == dict.fromkeys(("forward", "data", "weights"), "winograd")
    for i in range(3):
        assert (direct[i] != winograd[i]).any()
        np.testing.assert_array_equal(auto[i], winograd[i])


def test_small_channels_and_large_weights_of_one_image_go_direct():
    assert F.conv2d_algo((32, 32, 32, 3), (32, 3, 3, 3), padding=1)["forward"] == "direct"
    assert F.conv2d_algo((1, 4, 4, 512), (512, 3, 3, 512), padding=1)["forward"] == "direct"
    assert F.conv2d_algo((32, 8, 8, 128), (128, 3, 3, 128), padding=1)["forward"] == "winograd"


OUT_OF_MEMORY = """
import resource, numpy as np, fastnn as fnn, fastnn.functional as F
c, k, message = {c}, {k}, []
x, w, dy = (fnn.zeros(*s) for s in ((1, 1, 1, c), (k, 3, 3, c), (1, 1, 1, k)))
x.requires_grad = True
F.conv2d(x[..., :8], w[:8, :, :, :8], padding=1, algo="winograd")  # what is imported late
room = 96 << 20
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + room, -1))
try:
    F.conv2d(x, w, padding=1, algo="winograd")
except MemoryError:
    print("caught")
print(F.conv2d(x, w, padding=1, algo="direct").numpy().any())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and RLIMIT_AS")
@pytest.mark.parametrize(("c", "k"), [(1024, 1024), (1 << 16, 1)], ids=["weights", "block"])
def test_out_of_memory_is_an_error_and_the_next_call_works(c, k):
    result = subprocess.run(
        [sys.executable, "-P", "-c", OUT_OF_MEMORY.format(c=c, k=k)],
        env={**os.environ, "FASTNN_CPU": "portable", "FASTNN_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.stdout.split() == ["caught", "False"], result.stderr


@pytest.mark.parametrize("value", ["fft", "", "Winograd"])
def test_a_wrong_default_in_the_environment_is_an_error(value):
    result = subprocess.run(
        [sys.executable, "-P", "-c", "import fastnn"],
        env={**os.environ, "FASTNN_CONV_ALGO": value},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    expected = f"FASTNN_CONV_ALGO: expected one of auto, direct, winograd, got {value!r}"
    assert result.returncode != 0 and expected in result.stderr


IMPOSSIBLE = [
    ({"stride": 2}, 3, np.float32),
    ({"stride": (1, 2)}, 3, np.float32),
    ({"dilation": 2}, 3, np.float32),
    ({"groups": 4}, 3, np.float32),
    ({}, 1, np.float32),
    ({}, 7, np.float32),
    ({}, (3, 5), np.float32),
    ({}, 3, np.float64),
]


@pytest.mark.parametrize(("options", "kernel", "dtype"), IMPOSSIBLE, ids=str)
def test_impossible_winograd_is_an_error_as_an_argument_and_not_as_the_default(
    options, kernel, dtype
):
    kh, kw = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    x = np.ones((2, 16, 16, 16), dtype)
    weight = np.ones((16, kh, kw, 16 // options.get("groups", 1)), dtype)
    with pytest.raises(ValueError, match="conv2d: algo='winograd' needs float32, a 3x3 or 5x5"):
        F.conv2d(x, weight, algo="winograd", **options)
    direct = F.conv2d(x, weight, algo="direct", **options).numpy()
    _core.set_conv_algo("winograd")
    np.testing.assert_array_equal(F.conv2d(x, weight, **options).numpy(), direct)
    sizes = F.conv2d_algo(x.shape, weight.shape, dtype=str(x.dtype), **options)
    assert set(sizes.values()) == {"direct"}


@pytest.mark.parametrize("algo", ["fft", "", None, 1, "Winograd"])
def test_unknown_algorithms_are_errors(algo):
    x, weight, *_ = data(1, 4, 4, 3, 4, 3, 0)
    message = "conv2d: algo must be one of auto, direct, winograd, got"
    with pytest.raises(ValueError, match=message):
        F.conv2d(x, weight, algo=algo)
    with pytest.raises(ValueError, match=message):
        nn.Conv2d(3, 4, 3, algo=algo)


def test_a_layer_refuses_winograd_with_strides_and_keeps_its_choice():
    with pytest.raises(ValueError, match="algo='winograd' needs"):
        nn.Conv2d(3, 4, 3, stride=2, algo="winograd")
    layer = nn.Conv2d(3, 4, 3, padding="same", algo="winograd")
    assert "algo='winograd'" in repr(layer)
    assert nn.Conv2d.from_config(layer.config()).algo == "winograd"
    assert layer.algorithms((1, 6, 6, 3))["weights"] == "winograd"


def test_the_default_can_be_changed():
    x, weight, bias, dy = data(1, 5, 5, 3, 4, 3, 0)
    want = passes(x, weight, bias, dy, 0, "winograd")
    _core.set_conv_algo("winograd")
    for got, expected in zip(passes(x, weight, bias, dy, 0, "auto"), want, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert F.conv2d_algo(x.shape, weight.shape)["forward"] == "winograd"
    assert F.conv2d_algo(x.shape, weight.shape, algo="direct")["forward"] == "direct"


def test_summary_names_the_algorithms():
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 64, 3, padding=1, algo="direct"),
        nn.Conv2d(64, 64, 3, padding=1),
    )  # fmt: skip
    summary = model.summary((16, 16, 1))
    assert [row.algorithm for row in summary.rows[1:]] == ["", "direct", "winograd"]
    assert summary.rows[0].algorithm.split("/")[0] == "direct"
    table = str(summary).splitlines()
    assert table[0].endswith("  algorithm") and table[4].endswith("  direct")

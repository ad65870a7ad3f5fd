"""Winograd convolutions with strides or few channels, which fold to 3x3 or 5x5 without."""

import numpy as np
import pytest
import reference as ref

import fastnn as fnn
import fastnn.functional as F
from fastnn import _core, nn

TARGETS = _core.runnable_targets()


def data(n, h, w, c, k, kernel, stride, padding):
    """x, He weights, bias and dy, in float32."""
    rng = np.random.default_rng(n + h + 7 * w + 11 * c + 13 * k)
    size = [
        (i + 2 * p - r) // s + 1 for i, p, r, s in zip((h, w), padding, kernel, stride, strict=True)
    ]
    x, dy = rng.standard_normal((n, h, w, c)), rng.standard_normal((n, *size, k))
    weight = rng.standard_normal((k, *kernel, c)) * np.sqrt(2 / (kernel[0] * kernel[1] * c))
    return [a.astype(np.float32) for a in (x, weight, rng.standard_normal(k), dy)]


def passes(x, weight, bias, dy, stride, padding, algo="winograd"):
    """y and the gradients of x, weight and bias."""
    tensors = [fnn.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    y = F.conv2d(*tensors, stride, padding, algo=algo)
    y.backward(fnn.tensor(dy))
    return [y.numpy(), *(t.grad.numpy() for t in tensors)]


SHAPES = [  # n, h, w, c, k, kernel, stride, padding
    (2, 39, 47, 3, 40, (11, 11), (4, 4), (0, 0)),
    (2, 38, 33, 3, 17, (11, 11), (4, 4), (2, 2)),  # rows and columns that no tap reads
    (3, 15, 16, 16, 9, (5, 5), (2, 2), (2, 2)),
    (2, 16, 13, 1, 20, (6, 5), (2, 2), (1, 2)),
    (2, 25, 19, 5, 33, (7, 9), (3, 3), (0, 4)),
    (1, 21, 30, 3, 8, (9, 10), (2, 2), (4, 3)),
    (2, 12, 17, 4, 5, (3, 5), (1, 2), (1, 1)),
    (2, 19, 11, 7, 12, (11, 3), (4, 1), (3, 1)),
    (1, 11, 11, 1, 1, (11, 11), (4, 4), (0, 0)),  # one pixel
    (1, 1, 2, 2, 3, (5, 6), (2, 2), (7, 6)),  # most outputs see padding only
    (3, 17, 22, 3, 32, (5, 5), (1, 1), (2, 2)),  # blocks of 2 by 2 outputs
    (2, 13, 9, 1, 64, (5, 5), (1, 1), (0, 3)),
    (9, 16, 15, 7, 96, (5, 5), (1, 1), (1, 2)),
    (2, 12, 8, 16, 16, (5, 5), (1, 1), (4, 0)),
    (2, 5, 6, 2, 32, (5, 5), (1, 1), (0, 0)),  # one block
    (2, 33, 21, 1, 32, (9, 9), (2, 2), (3, 4)),
    (3, 16, 20, 3, 64, (3, 3), (1, 1), (1, 1)),  # products with output channels in lanes
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_errors_and_bits_at_any_number_of_threads(shape, target):
    _core.set_target(target)
    arrays, options = data(*shape), shape[-2:]
    wide = [a.astype(np.float64) for a in arrays]
    y, vjp = ref.conv2d(*wide[:3], stride=options[0], padding=options[1])
    want = [y, *vjp(wide[3])]
    fnn.set_num_threads(1)
    found = passes(*arrays, *options)
    for name, got, expected in zip(("y", "dx", "dw", "db"), found, want, strict=True):
        assert got.shape == expected.shape
        rms, error = np.sqrt(np.mean(expected**2)), np.abs(got - expected)
        assert np.sqrt(np.mean(error**2)) <= 3e-6 * rms, name
        assert error.max() <= 4e-5 * rms, name
        assert not got[expected == 0].any(), name
    for threads in (2, 4):
        fnn.set_num_threads(threads)
        again = passes(*arrays, *options)
        assert [a.tobytes() for a in again] == [a.tobytes() for a in found]


@pytest.mark.parametrize("target", TARGETS)
def test_nan_stays_in_its_image(target):
    _core.set_target(target)
    *arrays, dy = data(*SHAPES[1])
    clean = F.conv2d(*arrays, 4, 2, algo="winograd").numpy()
    arrays[0][1, 20, 9, 2] = np.nan
    y, _, dw, _ = passes(*arrays, dy, 4, 2)
    want, _ = ref.conv2d(*(a.astype(np.float64) for a in arrays), stride=4, padding=2)
    assert np.isnan(y[np.isnan(want)]).all() and np.isnan(want).any()
    np.testing.assert_array_equal(y[0], clean[0])
    assert np.isnan(dw).any()


def test_who_is_chosen():
    chosen = F.conv2d_algo((8, 227, 227, 3), (96, 11, 11, 3), 4)
    assert set(chosen.values()) == {"winograd"}
    chosen = F.conv2d_algo((32, 32, 32, 3), (64, 5, 5, 3), padding=2)
    assert chosen["forward"] == "winograd"  # without blocks of outputs it would be direct
    arrays = data(2, 79, 79, 3, 96, (11, 11), (4, 4), (0, 0))
    options = (4, 4), (0, 0)
    for got, want in zip(passes(*arrays, *options, "auto"), passes(*arrays, *options), strict=True):
        np.testing.assert_array_equal(got, want)
    assert (passes(*arrays, *options, "direct")[0] != passes(*arrays, *options)[0]).any()
    for kernel, options in ((3, {}), (1, {}), (11, {"dilation": 2}), (11, {"dtype": "float64"})):
        found = F.conv2d_algo((8, 64, 64, 32), (64, kernel, kernel, 32), 4, **options)
        assert set(found.values()) == {"direct"}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(7, 8, 7, 3), (2, 12, 14, 16)], ids=str)
def test_blocks_of_outputs_take_activations_and_sums(shape, target):
    """The bits of separate steps, and of each image alone."""
    _core.set_target(target)
    x = data(*shape, 32, (5, 5), (1, 1), (2, 2))[0]
    layer = nn.Conv2d(shape[-1], 32, 5, padding=2, bias_init=0.1, algo="winograd")
    fused, y = nn.Sequential(layer, nn.Tanh())(x).numpy(), layer(x)
    np.testing.assert_array_equal(fused, F.tanh(y).numpy())
    for i in (0, shape[0] - 1):
        np.testing.assert_array_equal(layer(x[i : i + 1]).numpy()[0], y.numpy()[i])
    same = nn.Conv2d(16, 16, 5, padding=2, algo="winograd")
    x = data(3, 9, 10, 16, 16, (5, 5), (1, 1), (2, 2))[0]
    both = nn.Residual(nn.Sequential(same), activation="relu")(x).numpy()
    np.testing.assert_array_equal(both, F.relu(same(x) + x).numpy())


@pytest.mark.parametrize(("c", "kernel", "stride"), [(3, 11, 4), (3, 5, 1)])
def test_a_recording_keeps_folded_weights(c, kernel, stride):
    x, *_ = data(*SHAPES[0])
    layer = nn.Conv2d(c, 32, kernel, stride=stride, bias_init=0.1, algo="winograd")
    model = nn.Sequential(layer, nn.ReLU())
    compiled = fnn.compile(model)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x).numpy(), model(x).numpy())
    layer.weight.numpy()[...] *= 2
    np.testing.assert_array_equal(compiled(x).numpy(), model(x).numpy())


@pytest.mark.parametrize("target", TARGETS)
def test_what_no_tap_reads_counts_for_nothing(target):
    _core.set_target(target)
    for r, s, size in ((5, 2, (32, 30)), (11, 4, (38, 33))):
        x, weight, bias, dy = data(2, *size, 3, 16, (r, r), (s, s), (0, 0))
        expected = passes(x, weight, bias, dy, s, 0)
        rows, cols = ((n - r) // s * s + r for n in size)
        x[:, rows:], x[:, :, cols:] = np.nan, np.inf
        for a, b in zip(passes(x, weight, bias, dy, s, 0), expected, strict=True):
            np.testing.assert_array_equal(a, b)

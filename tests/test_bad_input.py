"""Bad input: the right exception, naming the argument, what was expected and what came."""

import numpy as np
import pytest

import fastnn as fnn
import fastnn.functional as F
from fastnn import nn, optim


def f32(*shape):
    return np.ones(shape, np.float32)


def f64(*shape):
    return np.ones(shape, np.float64)


IMAGE = f32(1, 4, 4, 3)
KERNEL = f32(5, 3, 3, 3)
TRANSPOSE = f32(3, 3, 3, 5)
LABELS = np.array([0, 1])

ROWS = [
    # conv2d
    (lambda: F.conv2d(f32(4, 4, 3), KERNEL), ValueError, r"conv2d: x must be \(N, H, W, C\)"),
    (lambda: F.conv2d(IMAGE, f32(3, 3, 3)), ValueError, r"conv2d: weight must be \(out_channels"),
    (lambda: F.conv2d(f32(1, 4, 4, 4), KERNEL), ValueError,
     "conv2d: weight has 3 input channels, x has 4"),
    (lambda: F.conv2d(IMAGE, f64(5, 3, 3, 3)), TypeError, "x is float32, weight is float64"),
    (lambda: F.conv2d(IMAGE.astype(np.uint8), KERNEL), TypeError,
     "conv2d: x must be float32 or float64, got uint8"),
    (lambda: F.conv2d(IMAGE, f32(5, 5, 5, 3)), ValueError,
     "conv2d: the kernel spans 5x5, the padded input is only 4x4"),
    (lambda: F.conv2d(IMAGE, KERNEL, dilation=2), ValueError, "the kernel spans 5x5"),
    (lambda: F.conv2d(IMAGE, KERNEL, stride=0), ValueError, "stride must be at least 1"),
    (lambda: F.conv2d(IMAGE, KERNEL, padding=-1), ValueError, "padding must be at least 0"),
    (lambda: F.conv2d(IMAGE, KERNEL, dilation=0), ValueError, "dilation must be at least 1"),
    (lambda: F.conv2d(IMAGE, KERNEL, stride=1.5), TypeError, "stride must be an int or a pair"),
    (lambda: F.conv2d(IMAGE, KERNEL, stride=(1, 2, 3)), TypeError, "stride must be an int"),
    (lambda: F.conv2d(IMAGE, KERNEL, groups=2), ValueError, "groups must divide 3 input and 5"),
    (lambda: F.conv2d(IMAGE, KERNEL, groups=0), ValueError, "groups must divide"),
    (lambda: F.conv2d(IMAGE, KERNEL, f32(4)), ValueError, r"bias must have shape \(5,\), got \(4,"),
    (lambda: F.conv2d(IMAGE, f32(0, 3, 3, 3)), ValueError, "weight sizes must be at least 1"),
    (lambda: F.conv2d(IMAGE, KERNEL, padding=1 << 40), ValueError, "padding is too large"),
    (lambda: F.conv2d([[1.0]], KERNEL), TypeError, "conv2d: x must be a Tensor or a NumPy array"),
    # conv_transpose2d (a weight is (in_channels, kh, kw, out_channels // groups))
    (lambda: F.conv_transpose2d(f32(4, 4, 3), TRANSPOSE), ValueError, r"x must be \(N, H, W, C\)"),
    (lambda: F.conv_transpose2d(f32(1, 0, 4, 3), TRANSPOSE), ValueError, "none but N 0"),
    (lambda: F.conv_transpose2d(IMAGE, f32(3, 3, 5)), ValueError, r"weight must be \(in_channels"),
    (lambda: F.conv_transpose2d(f32(1, 4, 4, 4), TRANSPOSE), ValueError,
     "conv_transpose2d: weight has 3 input channels, x has 4"),
    (lambda: F.conv_transpose2d(IMAGE, f64(3, 3, 3, 5)), TypeError, "got float32, float64"),
    (lambda: F.conv_transpose2d(IMAGE.astype(np.int64), TRANSPOSE), TypeError, "got int64"),
    (lambda: F.conv_transpose2d(IMAGE, TRANSPOSE, f32(4)), ValueError,
     r"bias must have shape \(5,\) and dtype float32, got \(4,\)"),
    (lambda: F.conv_transpose2d(IMAGE, TRANSPOSE, f64(5)), TypeError, "float32, got .*float64"),
    (lambda: F.conv_transpose2d(IMAGE, TRANSPOSE, groups=2), ValueError, "groups must divide 3"),
    (lambda: F.conv_transpose2d(IMAGE, TRANSPOSE, stride=0), ValueError, "stride must be at least"),
    (lambda: F.conv_transpose2d(IMAGE, TRANSPOSE, stride=1 << 40), ValueError, "stride is too la"),
    (lambda: F.conv_transpose2d(IMAGE, TRANSPOSE, padding=-1), ValueError, "padding must be at"),
    (lambda: F.conv_transpose2d(IMAGE, TRANSPOSE, padding=3), ValueError, "result would be 0x0"),
    (lambda: F.conv_transpose2d(IMAGE, TRANSPOSE, stride=2, output_padding=(1, 2)), ValueError,
     "output_padding must be less than stride or dilation"),
    (lambda: F.conv_transpose2d(IMAGE, TRANSPOSE, dilation="2"), TypeError, "dilation must be an"),
    # embedding
    (lambda: F.embedding(np.array([0, 5]), f32(5, 2)), IndexError,
     "embedding: index 5 at position 1 is out of range for 5 rows"),
    (lambda: F.embedding(np.array([[-1]]), f32(5, 2)), IndexError, "index -1 at position 0"),
    (lambda: F.embedding(f32(2), f32(5, 2)), TypeError, "x must be an array of integers, got fl"),
    (lambda: F.embedding([0, 1], f32(5, 2)), TypeError, "x must be an array of integers, got li"),
    (lambda: F.embedding(LABELS, f32(5)), ValueError, r"weight must be \(rows, features\)"),
    (lambda: F.embedding(LABELS, LABELS), TypeError, "weight must be float32 or float64"),
    (lambda: F.embedding(LABELS, f32(5, 2), 5), ValueError, r"padding_idx must be in \[-5, 5\)"),
    (lambda: F.embedding(LABELS, f32(5, 2), 0.0), TypeError, "padding_idx must be an int"),
    (lambda: F.embedding(np.zeros((1,) * 8, int), f32(5, 2)), ValueError, "at most 8 dimensions"),
    # linear, matmul
    (lambda: F.linear(f32(2, 3), f32(4, 5)), ValueError, "weight has 5 input features, x has 3"),
    (lambda: F.linear(f32(2, 3), f32(3)), ValueError, r"weight must be \(out_features"),
    (lambda: F.linear(f32(2, 3), f32(4, 3), f32(3)), ValueError, r"bias must have shape \(4,\)"),
    (lambda: F.linear(f32(2, 3), f32(4, 3), f64(4)), TypeError, "bias is float64"),
    (lambda: fnn.ones(2, 3) @ fnn.ones(4, 2), ValueError, "a has 3 columns, b has 4 rows"),
    (lambda: fnn.ones(2, 2, 3) @ fnn.ones(3, 3, 2), ValueError, "do not broadcast"),
    (lambda: fnn.ones(2, 3) @ fnn.tensor(1.0), ValueError, "do not multiply"),
    # arithmetic
    (lambda: fnn.ones(2, 3) + fnn.ones(2, 4), ValueError,
     r"add: shapes \(2, 3\) and \(2, 4\) do not broadcast"),
    (lambda: fnn.ones(2) * f64(2), TypeError, "mul: a is float32, b is float64"),
    (lambda: fnn.ones(2) + "x", TypeError, "add: b must be a Tensor or a NumPy array, got str"),
    (lambda: fnn.tensor([1, 2]).exp(), TypeError, "exp: x must be float32 or float64, got int64"),
    (lambda: fnn.ones(2).clip(), ValueError, "clip: min or max must be given"),
    (lambda: fnn.ones(2).clip(2, 1), ValueError, "min must be at most max"),
    (lambda: fnn.ones(2).clip(float("nan"), 1), ValueError, "min must be at most max"),
    # activations
    (lambda: F.leaky_relu(f32(2), float("nan")), ValueError, "negative_slope must be finite"),
    (lambda: F.elu(f32(2), float("inf")), ValueError, "elu: alpha must be finite"),
    (lambda: F.celu(f32(2), 0), ValueError, "celu: alpha must be positive"),
    (lambda: F.gelu(f32(2), approximate="erf"), ValueError, "gelu: approximate must be"),
    (lambda: F.softplus(f32(2), beta=0), ValueError, "softplus: beta must not be 0"),
    (lambda: F.softplus(f32(2), beta="1"), TypeError, "softplus: beta must be a number"),
    (lambda: F.hardtanh(f32(2), 1, -1), ValueError, "min_val must be at most max_val"),
    (lambda: F.threshold(f32(2), None, 0), TypeError, "threshold: threshold must be a number"),
    (lambda: F.smooth_l1_loss(f32(2), f32(2), beta=-1), ValueError, "beta must not be negative"),
    (lambda: F.smooth_l1_loss(f32(2), f32(3)), ValueError, "target has"),
    (lambda: F.binary_cross_entropy_with_logits(f32(2), f32(2), f32(3)), ValueError,
     "weight of shape .* does not broadcast"),
    (lambda: F.binary_cross_entropy_with_logits(f32(2), f32(2), pos_weight=f32(4, 2)), ValueError,
     "pos_weight of shape .* does not broadcast"),
    (lambda: F.prelu(f32(2, 3), f32(2)), ValueError, "weight has 2 slopes, x has 3 channels"),
    (lambda: F.prelu(f32(2, 3), f32(1, 3)), ValueError, "weight must have shape"),
    (lambda: F.maxout(f32(2, 3), 2), ValueError, "is not a multiple of pieces = 2"),
    (lambda: F.maxout(f32(2, 3), 0), ValueError, "pieces must be at least 1, got 0"),
    (lambda: F.softmax(f32(2, 3), 2), IndexError, "dim 2 is out of range for 2 dimensions"),
    (lambda: F.dropout(f32(2), 1.5), ValueError, r"dropout: p must be in \[0, 1\], got 1.5"),
    (lambda: F.dropout(f32(2), float("nan")), ValueError, "p must be in"),
    # pooling
    (lambda: F.max_pool2d(f32(4, 4, 3), 2), ValueError, "max_pool2d: x must be"),
    (lambda: F.max_pool2d(IMAGE, 5), ValueError, "is larger than the padded input 4x4"),
    (lambda: F.max_pool2d(IMAGE, 0), ValueError, "kernel_size must be at least 1"),
    (lambda: F.max_pool2d(IMAGE, 2, 0), ValueError, "stride must be at least 1"),
    (lambda: F.max_pool2d(IMAGE, 2, padding=2), ValueError, "padding must be at most half"),
    (lambda: F.avg_pool2d(IMAGE, (2, "2")), TypeError, "kernel_size must be an int or a pair"),
    (lambda: F.adaptive_avg_pool2d(IMAGE, 0), ValueError, "output_size must be at least 1"),
    # losses
    (lambda: F.cross_entropy(f32(2, 3), np.array([0, 3])), ValueError,
     "cross_entropy: label 3 at index 1 is out of range for 3 classes"),
    (lambda: F.cross_entropy(f32(2, 3), np.array([-1, 0])), ValueError, "label -1 at index 0"),
    (lambda: F.cross_entropy(f32(2, 3), f32(2)), TypeError, "target must be an array of integer"),
    (lambda: F.cross_entropy(f32(2, 3), np.array([0])), ValueError, r"target must have shape \(2,"),
    (lambda: F.cross_entropy(f32(0, 3), LABELS[:0]), ValueError, "the batch is empty"),
    (lambda: F.cross_entropy(f32(2, 0), LABELS), ValueError, "the batch is empty"),
    (lambda: F.cross_entropy(f32(2), LABELS), ValueError, r"x must be \(N, classes\)"),
    (lambda: F.cross_entropy(f32(2, 3), LABELS, label_smoothing=1.5), ValueError,
     r"label_smoothing must be in \[0, 1\]"),
    (lambda: F.cross_entropy(f32(2, 3), LABELS, reduction="avg"), ValueError,
     "reduction must be 'mean', 'sum' or 'none', got 'avg'"),
    (lambda: F.cross_entropy(f32(2, 3), LABELS, weight=f32(2)), ValueError,
     "weight must have shape"),
    (lambda: F.cross_entropy(f32(2, 3), LABELS, weight=-f32(3)), ValueError, "not negative"),
    (lambda: F.nll_loss(f32(2, 3), np.array([0, 3])), ValueError, "label 3 at index 1"),
    (lambda: F.nll_loss(f32(0, 3), LABELS[:0]), ValueError, "N > 0"),
    (lambda: F.multi_margin_loss(f32(2, 3), LABELS, p=3), ValueError, "p must be 1 or 2, got 3"),
    (lambda: F.multi_margin_loss(f32(2, 3), np.array([0, 9])), ValueError, "label 9 at index 1"),
    (lambda: F.mse_loss(f32(2), f32(3)), ValueError, r"x has shape \(2,\), target has \(3,\)"),
    (lambda: F.mse_loss(f32(0), f32(0)), ValueError, "the batch is empty"),
    # shapes
    (lambda: fnn.ones(2, 3).reshape(4, 2), ValueError, r"cannot make \(4, 2\) from \(2, 3\)"),
    (lambda: fnn.ones(2, 3).reshape(-1, -1), ValueError, "at most one size may be -1"),
    (lambda: fnn.ones(2, 3).reshape(-1, 4), ValueError, "cannot make"),
    (lambda: fnn.ones(2, 3).permute(0, 0), ValueError, "permute: dims must name each of 2"),
    (lambda: fnn.ones(2, 3).transpose(0, 5), IndexError, "transpose: dim 5 is out of range"),
    (lambda: fnn.ones(2, 3).sum((0, 0)), ValueError, "sum: dim names an axis twice"),
    (lambda: fnn.ones(2, 3).sum(1.0), TypeError, "sum: dim must be an int, got float"),
    (lambda: fnn.ones(0).mean(), ValueError, "mean: no elements to reduce"),
    (lambda: fnn.ones(0).max(), ValueError, "max: expected at least one element"),
    (lambda: fnn.ones(1).var(), ValueError, "unbiased needs at least two"),
    (lambda: fnn.ones(3)[3], IndexError, "out of bounds"),
    (lambda: fnn.cat([]), ValueError, "cat: expected at least one tensor"),
    (lambda: fnn.cat([fnn.ones(2), fnn.ones(2, 2)]), ValueError, r"tensors\[1\] has shape"),
    (lambda: fnn.cat([fnn.ones(2), f64(2)]), TypeError, r"tensors\[1\] is float64"),
    (lambda: fnn.stack([fnn.ones(2), fnn.ones(3)]), ValueError, r"stack: tensors\[1\] has shape"),
    (lambda: fnn.pad(fnn.ones(2), (1,)), ValueError, "padding must be pairs"),
    (lambda: fnn.pad(fnn.ones(2), (-1, 0)), ValueError, "non-negative"),
    (lambda: fnn.ones(2).expand(3, 3), ValueError, "cannot broadcast"),
    # tensors
    (lambda: fnn.tensor([1.0], dtype="float16"), TypeError, "dtype must be one of float32"),
    (lambda: fnn.tensor(np.ones(2, np.float16)), TypeError, "got float16"),
    (lambda: fnn.tensor(["a"]), TypeError, "tensor: data must be one of"),
    (lambda: fnn.tensor([1, 2], requires_grad=True), TypeError, "expected a float tensor"),
    (lambda: fnn.from_numpy([1.0]), TypeError, "a must be a NumPy array, got list"),
    (lambda: fnn.Tensor([1.0]), TypeError, r"use fastnn.tensor\(data\)"),
    (lambda: fnn.ones(2).item(), ValueError, "expected one element"),
    (lambda: fnn.ones(2).backward(), RuntimeError, "was not computed from any"),
    (lambda: fnn.ones(2, requires_grad=True).backward(), RuntimeError, "gradient is needed"),
    (lambda: fnn.ones(2, requires_grad=True).backward(f32(3)), ValueError, "must have shape"),
    (lambda: fnn.ones(2, requires_grad=True).backward(f64(2)), TypeError, "must be float32"),
    (lambda: fnn.zeros(-1), ValueError, "negative dimension"),
    (lambda: fnn.zeros(*[1] * 9), ValueError, "at most 8 dimensions"),
    (lambda: fnn.manual_seed(-1), ValueError, "seed must be in"),
    (lambda: fnn.manual_seed(1.5), TypeError, "seed must be an int"),
    # layers and optimizers
    (lambda: nn.Linear(0, 2), ValueError, "in_features"),
    (lambda: nn.Conv2d(3, 4, 0), ValueError, "kernel_size"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "groups"),
    (lambda: nn.Dropout(2.0), ValueError, "p must be in"),
    (lambda: fnn.models.get("lenet6"), ValueError, "expected one of .*lenet5"),
    (lambda: fnn.models.mlp(activation="rleu"), ValueError, "relu"),
    (lambda: optim.SGD([], lr=0.1), ValueError, "SGD"),
    (lambda: optim.SGD(nn.Linear(2, 2).parameters(), lr=float("nan")), ValueError, "lr"),
    (lambda: optim.SGD(nn.Linear(2, 2).parameters(), lr=-1.0), ValueError, "lr"),
    (lambda: optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, momentum=-1), ValueError, "momentum"),
    (lambda: optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, nesterov=True), ValueError, "esterov"),
    (lambda: fnn.datasets.mnist("/nonexistent"), FileNotFoundError, "train-images"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), ROWS, ids=range(len(ROWS)))
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert type(caught.value) is error


def test_labels_of_any_integer_dtype_are_taken():
    x = fnn.tensor(np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32))
    expected = F.cross_entropy(x, LABELS).item()
    for dtype in (np.int8, np.uint8, np.int32, np.uint16, np.uint64):
        assert F.cross_entropy(x, LABELS.astype(dtype)).item() == expected
    assert F.cross_entropy(x, fnn.tensor(LABELS)).item() == expected


def test_labels_are_checked_before_anything_is_read_out_of_bounds():
    x = f32(2, 3)
    for label in (np.iinfo(np.int64).max, np.iinfo(np.int64).min, 1 << 40):
        with pytest.raises(ValueError, match="out of range"):
            F.cross_entropy(x, np.array([0, label]))


def test_empty_batches_pass_through_layers():
    assert F.linear(f32(0, 3), f32(4, 3)).shape == (0, 4)
    x = fnn.from_numpy(f32(0, 8, 8, 3)).requires_grad_()
    w = fnn.from_numpy(f32(5, 3, 3, 3)).requires_grad_()
    b = fnn.from_numpy(f32(5)).requires_grad_()
    y = F.max_pool2d(F.relu(F.conv2d(x, w, b)), 2)
    assert y.shape == (0, 3, 3, 5)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert not w.grad.numpy().any() and not b.grad.numpy().any()
    assert F.softmax(f32(0, 3)).shape == (0, 3)
    assert fnn.ones(0, 3).sum(0).tolist() == [0, 0, 0]


def test_a_failed_call_leaves_its_inputs_alone():
    x, w = f32(1, 4, 4, 4), KERNEL.copy()
    with pytest.raises(ValueError):
        F.conv2d(x, w)
    assert (x == 1).all() and (w == 1).all()


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(300, "uint8"), (-1, "uint8"), (1.5, "int64"), (float("nan"), "int32"), (2, "bool"),
     (1 << 63, "int64")],
)  # fmt: skip
def test_full_refuses_what_does_not_fit(value, dtype):
    with pytest.raises(ValueError, match=r"full: .* does not fit"):
        fnn.full((2,), value, dtype)


def test_full_is_exact():
    assert fnn.full((1,), 2**53 + 1, "int64").item() == 2**53 + 1
    assert np.signbit(fnn.full((1,), -0.0).numpy()).all()
    assert fnn.full((2,), True, "bool").tolist() == [True, True]


def test_a_refused_draw_leaves_the_random_stream_alone():
    state = fnn.get_rng_state()
    with pytest.raises(ValueError, match="negative dimension"):
        fnn.rand(-1000)
    assert fnn.get_rng_state() == state
    with pytest.raises(ValueError, match="set_rng_state"):
        fnn.set_rng_state((-1, 0))


def test_a_window_too_large_for_memory_is_refused():
    x, w = f32(1, 1, 1, 4), f32(1, 2, 2, 4)
    with pytest.raises(ValueError, match=r"the padded input .* is too large"):
        F.conv2d(x, w, stride=2, padding=1 << 29, dilation=(1 << 30) - 1)


@pytest.mark.parametrize("op", ["reshape", "permute", "expand"])
def test_sizes_must_be_ints(op):
    for sizes in ((2.0, 3), ("2",), ((2, None),), (True,)):
        with pytest.raises(TypeError, match=f"{op}: expected ints, got"):
            getattr(fnn.ones(2, 3), op)(*sizes)


def test_count_include_pad_is_not_taken_for_pytorchs_ceil_mode():
    with pytest.raises(TypeError, match="positional"):
        F.avg_pool2d(IMAGE, 2, 2, 0, True)
    with pytest.raises(TypeError, match="positional"):
        nn.AvgPool2d(2, 2, 0, True)


def test_mean_needs_floats():
    with pytest.raises(TypeError, match="mean: x must be float32 or float64, got int64"):
        fnn.tensor([1, 2]).mean()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.mse_loss(f32(2), f64(2)), TypeError,
         "mse_loss: x is float32, target is float64; they must have one dtype"),
        (lambda: F.l1_loss(f64(2), f32(2)), TypeError, "l1_loss: x is float64, target is float32"),
        (lambda: F.nll_loss(np.ones((2, 3), int), LABELS), TypeError,
         "nll_loss: x must be float32 or float64, got int64"),
        (lambda: F.nll_loss(f32(2, 3), LABELS, f64(3)), TypeError,
         "nll_loss: weight must be float32, got float64"),
        (lambda: F.nll_loss(f32(2, 3), LABELS, f32(2)), ValueError,
         r"nll_loss: weight must have shape \(3,\), got \(2,\)"),
        (lambda: F.elu(f32(2), "1"), TypeError, "elu: alpha must be a number, got str"),
        (lambda: F.dropout(f32(2), None), TypeError, "dropout: p must be a number, got NoneType"),
        (lambda: nn.Dropout("0.5"), TypeError, "Dropout: p must be a number, got str"),
        (lambda: nn.Linear(2, 2, bias_init="1"), TypeError, "Linear: bias_init must be a number"),
        (lambda: nn.Conv2d(2, 2, 1, bias_init=None), TypeError, "Conv2d: bias_init must be a num"),
        (lambda: nn.Maxout(2, 2, 2, bias_init=[]), TypeError, "Maxout: bias_init must be a num"),
    ],
)  # fmt: skip
def test_arguments_of_losses_and_layers_have_the_right_type(call, error, message):
    with pytest.raises(error, match=message):
        call()

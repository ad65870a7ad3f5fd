"""The oracles against what they do not share code with: finite differences, and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from cases import CASES, OPS
from op_case import Truth


def directional_derivative(fn, arrays, directions, step=1e-5):
    """Central difference of the number fn(*arrays) along directions (None: held fixed)."""

    def moved(sign):
        return fn(*(a if d is None else a + sign * step * d
                    for a, d in zip(arrays, directions, strict=True)))

    return (moved(1) - moved(-1)) / (2 * step)


@pytest.mark.parametrize("op", OPS)
def test_gradients_are_derivatives(op):
    rng = np.random.default_rng(2)
    for case in CASES:
        if case.op != op or not case.smooth:
            continue
        truth = case.truth(np.float64)
        directions = [
            rng.standard_normal(a.shape) / max(a.size, 1) ** 0.5 if i.grad else None
            for a, i in zip(truth.arrays, case.inputs, strict=True)
        ]
        found = directional_derivative(
            lambda *arrays, c=case, t=truth: np.sum(c.oracle(*arrays)[0] * t.dy),
            truth.arrays, directions,
        )
        expected = sum(np.sum(g * d) for g, d in zip(truth.grads, directions, strict=True)
                       if d is not None)
        noise = 1e-9 * np.abs(truth.y * truth.dy).sum()
        assert abs(found - expected) <= 1e-6 * (1 + abs(expected)) + noise, (
            f"{case}: finite difference {found}, oracle {expected}"
        )


def torch_calls(torch):
    """op -> call of PyTorch with our layout, where it is more than the same method name."""
    T = torch.nn.functional

    def image(fn):
        """Channels last -> first -> last."""
        return lambda x, *rest, **kw: fn(x.permute(0, 3, 1, 2), *rest, **kw).permute(0, 2, 3, 1)

    class Functional:
        """What fastnn.functional is to be, by PyTorch."""

        linear, leaky_relu, elu, selu, celu = T.linear, T.leaky_relu, T.elu, T.selu, T.celu
        gelu, silu, mish, softplus, softsign = T.gelu, T.silu, T.mish, T.softplus, T.softsign
        hardtanh, relu6, hardsigmoid, hardswish = T.hardtanh, T.relu6, T.hardsigmoid, T.hardswish
        threshold, logsigmoid = T.threshold, T.logsigmoid
        sigmoid, tanh, relu = torch.sigmoid, torch.tanh, torch.relu
        softmax, log_softmax = T.softmax, T.log_softmax
        cross_entropy, nll_loss, multi_margin_loss = (
            T.cross_entropy, T.nll_loss, T.multi_margin_loss)
        binary_cross_entropy_with_logits = T.binary_cross_entropy_with_logits
        mse_loss, l1_loss, smooth_l1_loss, pad = T.mse_loss, T.l1_loss, T.smooth_l1_loss, T.pad
        max_pool2d, avg_pool2d, adaptive_avg_pool2d = (
            image(T.max_pool2d), image(T.avg_pool2d), image(T.adaptive_avg_pool2d))

        @staticmethod
        def conv2d(x, w, b=None, **kw):
            return image(T.conv2d)(x, w.permute(0, 3, 1, 2), b, **kw)

        @staticmethod
        def conv_transpose2d(x, w, b=None, **kw):
            return image(T.conv_transpose2d)(x, w.permute(0, 3, 1, 2), b, **kw)

        embedding = T.embedding

        @staticmethod
        def batch_norm(x, *args, **kw):
            return T.batch_norm(x.movedim(-1, 1), *args, **kw).movedim(1, -1)

        @staticmethod
        def group_norm(x, *args):
            return T.group_norm(x.movedim(-1, 1), *args).movedim(1, -1)

        @staticmethod
        def layer_norm(x, shape, *args):
            return T.layer_norm(x, (shape,) if isinstance(shape, int) else shape, *args)

        @staticmethod
        def prelu(x, w):
            return torch.where(x > 0, x, w * x)

        @staticmethod
        def maxout(x, pieces):
            return x.unflatten(-1, (-1, pieces)).max(-1).values

    return Functional


TORCH_DIFFERS = {
    "ties": "PyTorch spreads or chooses the gradient of ties in its own way",
    "list": "", "mask": "", "row mask": "", "no row": "", "repeated rows": "", "2-D rows": "",
    "pairs with repeats": "", "slice and rows": "", "x[::-1]": "", "x[-2::-2, 3:0:-1]": "",
}


# op -> (relative, absolute) error of PyTorch's float64, where it is beyond our tolerance.
TORCH_LOSES = {
    "celu": (1e-6, 1e-15), "hardsigmoid": (1e-7, 1e-15),  # constants rounded to float32
    "gelu": (1e-14, 1e-14),  # 1 + erf(x / sqrt(2)) cancels
    "multi_margin_loss": (1e-13, 1e-14),  # sums 1,100 classes one by one
    "softsign": (1e-14, 1e-15),
}


@pytest.mark.parametrize("op", [o for o in OPS if o not in ("cat", "stack", "batch_norm_act")])
def test_oracle_is_pytorch(op):
    torch = pytest.importorskip("torch")
    F = torch_calls(torch)
    for case in CASES:
        if case.op != op or case.label in TORCH_DIFFERS or case.label.endswith("ties"):
            continue
        truth = case.truth(np.float64)
        if op in TORCH_LOSES:
            truth = Truth(case, np.float64)
            truth.rtol = dict.fromkeys(truth.rtol, TORCH_LOSES[op][0])
            truth.atol = {"forward": TORCH_LOSES[op][1], "backward": [TORCH_LOSES[op][1]]}
        if op.endswith("_norm") and (case.label.endswith("offset") or truth.y.size > 10**5):
            continue  # PyTorch's sums lose more digits than our tolerance allows
        tensors = [torch.tensor(a, requires_grad=i.grad)
                   for a, i in zip(truth.arrays, case.inputs, strict=True)]
        y = case.call(F, *tensors)
        y.backward(torch.tensor(truth.dy))
        truth.check_value(y.detach().numpy(), f"PyTorch {case}")
        truth.check_grads([t.grad.numpy() if t.grad is not None else None for t in tensors],
                          f"PyTorch {case}")


def test_first_maximum_wins_a_tie():
    x = np.zeros((1, 2, 2, 1))
    assert ref.max_pool2d(x, 2)[1](np.ones((1, 1, 1, 1)))[0].ravel().tolist() == [1, 0, 0, 0]
    assert ref.maxout(np.zeros((1, 3)), 3)[1](np.ones((1, 1)))[0].tolist() == [[1, 0, 0]]
    assert ref.max_(np.zeros(3), 0)[1](np.ones(()))[0].tolist() == [1, 0, 0]


def test_nan_wins_every_maximum():
    x = np.array([1.0, np.nan, 3.0, 2.0]).reshape(1, 2, 2, 1)
    assert np.isnan(ref.max_pool2d(x, 2)[0]).all()
    assert np.isnan(ref.maxout(x.reshape(1, 4), 4)[0]).all()
    assert np.isnan(ref.max_(x)[0]) and np.isnan(ref.min_(x)[0])
    assert np.isnan(ref.relu(x)[0]).sum() == 1


@pytest.mark.parametrize("settings", [
    {"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.01}, {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
])
def test_sgd_is_pytorch(settings):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal(9), rng.standard_normal((4, 9))
    param = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.SGD([param], **settings)
    for grad in grads:
        param.grad = torch.tensor(grad)
        optimizer.step()
    np.testing.assert_allclose(ref.sgd(start, grads, **settings), param.detach().numpy(),
                               rtol=1e-13)

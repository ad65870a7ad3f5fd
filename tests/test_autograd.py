"""The tape: sharing, accumulation, broadcasting, hooks, modes, errors, memory."""

import gc
import threading

import numpy as np
import pytest

import fastnn as fnn
import fastnn.functional as F
from fastnn import _core


def leaf(*values: float, dtype: str = "float64") -> fnn.Tensor:
    return fnn.tensor(list(values), dtype=dtype, requires_grad=True)


def test_shared_subexpression_counts_every_use():
    x = leaf(2.0, -3.0)
    y = x * x
    (y * y + y).sum().backward()  # x^4 + x^2
    np.testing.assert_allclose(x.grad.numpy(), [4 * 8 + 4, -4 * 27 - 6])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("algo", "kernel", "stride", "groups"), [
    ("winograd", 3, 1, 1), ("winograd", 5, 1, 1), ("direct", 3, 1, 1), ("direct", 3, 2, 1),
    ("direct", 1, 1, 1), ("direct", 3, 1, 10),
])  # fmt: skip
def test_convolution_adds_to_the_gradient_of_another_branch(dtype, algo, kernel, stride, groups):
    """The bits of a sum afterwards, with denormals, infinities and NaN in the other branch."""
    if dtype == "float64" and algo == "winograd":
        algo = "auto"
    rng = np.random.default_rng(3)
    w = fnn.tensor(rng.standard_normal((10, kernel, kernel, 10 // groups)).astype(dtype))
    other = rng.standard_normal((2, 9, 10, 10)).astype(dtype)
    other[0] = 0
    other.reshape(-1)[:4] = np.finfo(dtype).smallest_subnormal, np.inf, np.nan, -0.0
    x = fnn.tensor(rng.standard_normal(other.shape).astype(dtype), requires_grad=True)
    top = fnn.tensor(rng.standard_normal(other.shape).astype(dtype))

    def gradient(with_other: bool) -> np.ndarray:
        x.grad = None
        y = F.conv2d(x, w, None, stride, kernel // 2, 1, groups, algo=algo)
        total = (y * top[:, : y.shape[1], : y.shape[2]])[1:].sum()  # none for the first image
        if with_other:
            total = total + (x * fnn.tensor(other)).sum()  # made last, so its gradient comes first
        total.backward()
        return x.grad.numpy().copy()

    np.testing.assert_array_equal(gradient(True), other + gradient(False))


def test_diamond_with_long_and_short_branch():
    x = leaf(0.5)
    deep = x
    for _ in range(20):
        deep = deep * 1.5
    (deep * x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [2 * 0.5 * 1.5**20])


def test_same_tensor_as_both_operands():
    x = leaf(3.0)
    (x - x).backward()
    assert x.grad.item() == 0.0
    y = leaf(3.0)
    (y / y + y @ y).backward()
    assert y.grad.item() == 6.0


def test_grad_accumulates_until_none():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    (x * 4).sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]
    x.grad = None
    (x * 4).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_accumulating_does_not_change_other_gradients():
    a, b = leaf(1.0), leaf(2.0)
    (a + b).backward()  # the same array arrives at both
    (a * 5).backward()
    assert (a.grad.item(), b.grad.item()) == (6.0, 1.0)


def test_gradient_given_by_the_caller_is_not_kept():
    x = leaf(1.0, 2.0)
    weights = np.array([1.0, 10.0])
    (x + 0).backward(weights)
    x.grad.zero_()
    assert weights.tolist() == [1.0, 10.0]


@pytest.mark.parametrize(
    ("shape_a", "shape_b"), [((3, 1), (1, 4)), ((4,), (2, 3, 4)), ((), (2, 2)), ((2, 1, 3), (5, 1))]
)
def test_broadcast_gradients_are_sums(shape_a, shape_b):
    rng = np.random.default_rng(1)
    a = fnn.tensor(rng.standard_normal(shape_a), requires_grad=True)
    b = fnn.tensor(rng.standard_normal(shape_b), requires_grad=True)
    z = a * b
    weights = rng.standard_normal(z.shape)
    z.backward(weights)
    full_a = np.broadcast_to(b.numpy(), z.shape) * weights
    full_b = np.broadcast_to(a.numpy(), z.shape) * weights
    np.testing.assert_allclose(a.grad.numpy(), _sum_to(full_a, shape_a), rtol=1e-12)
    np.testing.assert_allclose(b.grad.numpy(), _sum_to(full_b, shape_b), rtol=1e-12)


def _sum_to(full: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    full = full.sum(tuple(range(full.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1)
    return full.sum(axes, keepdims=True) if axes else full


def test_no_gradient_where_none_is_required():
    x, constant = leaf(1.0), fnn.tensor([2.0], dtype="float64")
    (x * constant).backward()
    assert constant.grad is None
    assert x.grad.item() == 2.0


def test_no_grad_nests_decorates_and_is_per_thread():
    x = leaf(1.0)
    with fnn.no_grad():
        with fnn.no_grad():
            pass
        assert not fnn.is_grad_enabled()
        assert not (x * 2).requires_grad
        seen = []
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
        assert seen == [True]
    assert fnn.is_grad_enabled()

    @fnn.no_grad()
    def double(t):
        return t * 2

    assert not double(x).requires_grad
    with pytest.raises(ZeroDivisionError), fnn.no_grad():
        raise ZeroDivisionError
    assert fnn.is_grad_enabled()


def test_detach_shares_memory_and_stops_gradients():
    x = leaf(1.0, 2.0)
    y = x.detach()
    assert not y.requires_grad
    assert np.shares_memory(x.numpy(), y.numpy())
    (x * y).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0]


def test_leaf_hook_sees_and_replaces_the_gradient():
    x = leaf(1.0, 2.0)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: g * 10)
    (x * x).sum().backward()
    assert seen == [[2.0, 4.0]]
    assert x.grad.tolist() == [20.0, 40.0]
    handle.remove()
    handle.remove()
    x.sum().backward()
    assert len(seen) == 1


def test_hook_on_an_inner_tensor_sees_the_whole_gradient_once():
    x = leaf(2.0)
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    y.register_hook(lambda g: g * 0.5)
    (y + y * y).backward()  # dy = 1 + 2 y = 13
    assert seen == [13.0]
    assert x.grad.item() == 13 * 0.5 * 3


def test_hooks_check_what_they_get_and_return():
    x = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match="callable"):
        x.register_hook(3)
    with pytest.raises(RuntimeError, match="does not require"):
        x.detach().register_hook(print)
    x.register_hook(lambda g: fnn.zeros(3, dtype="float64"))
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        x.sum().backward()


def test_second_backward_needs_retain_graph():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12.0
    with pytest.raises(RuntimeError, match=r"graph of mul was freed.*retain_graph"):
        y.backward()


def test_modifying_an_input_after_use_is_an_error():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    with fnn.no_grad():
        x.fill_(5.0)
    with pytest.raises(RuntimeError, match="input of mul was modified in place"):
        y.backward()
    assert x.grad is None


def test_in_place_needs_no_grad_for_leaves():
    x = leaf(1.0)
    for change in (lambda: x.zero_(), lambda: x.__setitem__(0, 1.0), lambda: x.copy_(x.numpy())):
        with pytest.raises(RuntimeError, match="no_grad"):
            change()


def test_backward_checks_its_argument():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"gradient is needed for a tensor of shape \(2,\)"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        (x * 2).backward(np.zeros(3))
    with pytest.raises(TypeError, match="float64, got float32"):
        (x * 2).backward(np.zeros(2, np.float32))
    with pytest.raises(RuntimeError, match="not computed from any"):
        fnn.ones(1).backward()


@pytest.mark.parametrize("grad", [np.ones(2, np.float32), 5, "abc"])
def test_a_grad_that_is_no_tensor_is_an_error_before_any_work(grad):
    a, b = (fnn.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    b.grad = grad
    with pytest.raises(TypeError, match=r"backward: \.grad must be a Tensor, got"):
        (a * b).sum().backward()
    assert a.grad is None and b.grad is grad


def test_requires_grad_is_for_float_leaves():
    with pytest.raises(TypeError, match="int64"):
        fnn.tensor([1, 2], requires_grad=True)
    y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="leaves"):
        y.requires_grad_(False)


def test_memory_is_freed_as_backward_proceeds():
    size, depth = 1 << 18, 12
    x = fnn.zeros(size, requires_grad=True)
    bytes_each = 4 * size
    y = x
    for _ in range(depth):
        y = y.sigmoid()
    held = _core.memory_stats()["in_use"]
    loss = y.sum()
    del y
    peaks = []
    x.register_hook(lambda g: peaks.append(_core.memory_stats()["in_use"]))
    loss.backward()
    # When the gradient arrives at x, the outputs of all the layers are gone.
    assert peaks[0] <= held - (depth - 3) * bytes_each
    del loss
    assert _core.memory_stats()["in_use"] <= held - (depth - 1) * bytes_each


def test_a_dropped_graph_is_freed_without_backward():
    x = fnn.zeros(1 << 18, requires_grad=True)
    before = _core.memory_stats()["in_use"]
    y = x.sigmoid().sigmoid().tanh()
    assert _core.memory_stats()["in_use"] > before
    del y
    assert _core.memory_stats()["in_use"] == before


def test_a_step_leaves_no_cycles():
    """Which would keep memory until Python looks for them."""
    model = fnn.models.resnet20()
    x, y = fnn.randn(2, 32, 32, 3), np.zeros(2, dtype=np.int64)

    def step():
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()

    step()
    gc.collect()
    gc.disable()
    try:
        step()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_deep_graph_does_not_overflow_the_stack():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0
    del y


def test_threads_have_graphs_of_their_own():
    results = {}

    def work(i: int) -> None:
        x = fnn.tensor([float(i)], requires_grad=True)
        for _ in range(50):
            x.grad = None
            (x * x * x).sum().backward()
        results[i] = x.grad.item()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: 3.0 * i * i for i in range(1, 4)}


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x.sigmoid(), lambda x: x.exp(), lambda x: x.softmax(-1), lambda x: 1.0 / x,
        lambda x: x**x, lambda x: F.linear(x, fnn.ones(2, 2)).tanh(),
        lambda x: fnn.ops.linear_act(x, fnn.ones(2, 2), None, ("relu", 0.0, 0.0)),
    ],
)  # fmt: skip
def test_backward_refuses_a_result_that_it_needs_and_that_was_overwritten(op):
    x = fnn.tensor([[1.0, 2.0]], requires_grad=True)
    y = op(x)
    y.detach().zero_()
    with pytest.raises(RuntimeError, match=r"the result of .* was modified in place"):
        y.sum().backward()


def test_a_write_through_a_view_is_seen():
    x = fnn.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    with fnn.no_grad():
        x.reshape(2, 1).reshape(-1).fill_(5)
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_pow_at_a_zero_base():
    e = fnn.tensor([0.0, 1.0, 2.0], requires_grad=True)
    (0.0**e).sum().backward()
    assert e.grad.tolist() == [0, 0, 0]
    a, b = fnn.zeros(2, requires_grad=True), fnn.tensor([0.0, 2.0], requires_grad=True)
    (a**b).sum().backward()
    assert a.grad.tolist() == [0, 0] and b.grad.tolist() == [0, 0]


def test_a_hook_must_keep_the_dtype():
    x = fnn.ones(2, requires_grad=True)
    x.register_hook(lambda g: g.double())
    with pytest.raises(TypeError, match="must return float32, got float64"):
        x.sum().backward()


def test_a_sum_of_losses_stays_on_the_tape():
    w = fnn.tensor([1.0, 2.0], requires_grad=True)
    total = fnn.zeros(())
    for factor in (1.0, 3.0):
        total += (w * factor).sum()
    total /= 2.0
    total.backward()
    assert w.grad.tolist() == [2, 2]

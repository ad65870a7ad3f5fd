"""Tensor: making, indexing, converting, copying, in place, errors."""

import copy
import pickle

import numpy as np
import pytest

import fastnn as fnn


def test_tensor_copies_and_from_numpy_shares():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    copied, shared = fnn.tensor(a), fnn.from_numpy(a)
    a[0, 0] = 100
    assert copied[0, 0].item() == 0
    assert shared[0, 0].item() == 100
    with fnn.no_grad():
        shared[1, 2] = -1.0
    assert a[1, 2] == -1


def test_from_numpy_copies_what_is_strided_and_keeps_its_values():
    a = np.arange(24, dtype=np.float64).reshape(4, 6)
    for view in (a[::2], a.T, a[:, ::-1], a[1:3, 2:5]):
        t = fnn.from_numpy(view)
        np.testing.assert_array_equal(t.numpy(), view)
        assert t.numpy().flags.c_contiguous


@pytest.mark.parametrize(
    ("data", "dtype"),
    [([1.5, 2.0], "float32"), ([1, 2], "int64"), ([True], "bool"), (2.5, "float32"), (3, "int64")],
)
def test_dtypes_of_python_data(data, dtype):
    assert fnn.tensor(data).dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_every_dtype_goes_in_and_out(dtype):
    a = np.array([[0, 1], [1, 0]], dtype=dtype)
    np.testing.assert_array_equal(fnn.tensor(a).numpy(), a)
    assert fnn.tensor(a).dtype == a.dtype
    np.testing.assert_array_equal(np.asarray(memoryview(fnn.tensor(a))), a)


def test_foreign_byte_order_is_converted():
    a = np.array([1.5, -2.0], dtype=">f4")
    assert fnn.tensor(a).tolist() == [1.5, -2.0]


def test_wrong_dtypes_are_type_errors():
    for a in (np.zeros(2, np.float16), np.zeros(2, complex), np.array(["a"])):
        with pytest.raises(TypeError, match="float32, float64"):
            fnn.tensor(a)
    with pytest.raises(TypeError, match="dtype must be one of"):
        fnn.zeros(2, dtype="float16")
    with pytest.raises(TypeError, match="NumPy array, got list"):
        fnn.from_numpy([1.0])
    with pytest.raises(TypeError, match="got list"):
        fnn.Tensor([1.0])


def test_mixed_float_dtypes_do_not_cast():
    with pytest.raises(TypeError, match=r"float32.*float64"):
        fnn.ones(2) + fnn.ones(2, dtype="float64")


def test_numpy_arrays_are_welcome_on_both_sides():
    t = fnn.tensor([1.0, 2.0])
    a = np.array([3.0, 4.0], dtype=np.float32)
    for result in (t + a, a + t, a - t, t * a, a / t, a**t):
        assert isinstance(result, fnn.Tensor)
    assert (a - t).tolist() == [2.0, 2.0]
    assert (2 - t).tolist() == [1.0, 0.0]
    assert (2 / t).tolist() == [2.0, 1.0]
    np.testing.assert_allclose((2**t).numpy(), [2.0, 4.0], rtol=1e-6)


@pytest.mark.parametrize(
    "index",
    [
        1, -1, slice(1, None), (0, 2), (slice(None), 1), (Ellipsis, -1), (None, 1),
        slice(None, None, 2),
        np.array([0, 2, 2]),
        np.array([True, False, True]),
        (np.array([0, 1]), np.array([2, 0])),
    ],
)  # fmt: skip
def test_indexing_is_numpys_with_gradient(index):
    a = np.arange(12, dtype=np.float64).reshape(3, 4) + 1
    x = fnn.tensor(a, requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(y.numpy(), a[index])
    (y * y).sum().backward()
    expected = np.zeros_like(a)
    np.add.at(expected, index, 2 * a[index])
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_index_by_tensor_and_out_of_range():
    x = fnn.tensor([10.0, 20.0, 30.0])
    assert x[fnn.tensor([2, 0])].tolist() == [30.0, 10.0]
    for bad in (3, -4):
        with pytest.raises(IndexError):
            x[bad]
    with fnn.no_grad():
        x[x > 15.0] = 0.0
    assert x.tolist() == [10.0, 0.0, 0.0]


def test_shape_operations_and_errors():
    x = fnn.arange(24, dtype="float32")
    y = x.reshape(2, 3, -1)
    assert y.shape == (2, 3, 4)
    assert y.T.shape == (4, 3, 2)
    assert y.permute(2, 0, 1).shape == (4, 2, 3)
    np.testing.assert_array_equal(y.transpose(0, 2).numpy(), y.numpy().transpose(2, 1, 0))
    assert y.flatten(1).shape == (2, 12)
    assert y.unsqueeze(-1).squeeze().shape == (2, 3, 4)
    assert fnn.cat([y, y], 1).shape == (2, 6, 4)
    assert fnn.stack([x, x]).shape == (2, 24)
    for wrong in (lambda: x.reshape(5, 5), lambda: x.reshape(-1, -1), lambda: x.reshape(7, -1)):
        with pytest.raises(ValueError, match="reshape"):
            wrong()
    with pytest.raises(IndexError, match="dim 3"):
        y.sum(3)
    with pytest.raises(ValueError, match="permute"):
        y.permute(0, 0, 1)
    with pytest.raises(ValueError, match="cat: tensors"):
        fnn.cat([y, x])


def test_item_len_bool_float():
    assert fnn.tensor([2.5]).item() == 2.5
    assert float(fnn.tensor(2.5)) == 2.5
    assert int(fnn.tensor([7])) == 7
    assert bool(fnn.tensor([1.0]) > 0)
    assert len(fnn.zeros(3, 2)) == 3
    with pytest.raises(ValueError, match="one element"):
        fnn.zeros(2).item()
    with pytest.raises(TypeError, match="len"):
        len(fnn.tensor(1.0))


def test_repr_shows_values_dtype_and_place_on_the_tape():
    assert repr(fnn.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(fnn.tensor([1])) == "tensor([1], dtype=int64)"
    x = fnn.ones(1, requires_grad=True)
    assert repr(x) == "tensor([1.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2.], grad_fn=mul)"


def test_array_protocol_copies_only_when_asked():
    x = fnn.tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x, copy=True), x.numpy())
    assert np.asarray(x, dtype=np.float64).dtype == np.float64


def test_dlpack_shares_memory():
    x = fnn.tensor([[1.0, 2.0]])
    assert x.__dlpack_device__() == (1, 0)
    a = np.from_dlpack(x)
    assert np.shares_memory(a, x.numpy())


def test_memory_outlives_the_tensor():
    a = fnn.full(1000, 7.0).numpy()
    for _ in range(10):
        fnn.zeros(1000)
    assert (a == 7).all()


def test_deepcopy_and_pickle_keep_values_gradient_flag_and_nothing_shared():
    x = fnn.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad
    assert y.grad.tolist() == [3.0, 3.0]
    assert not np.shares_memory(x.numpy(), y.numpy())
    z = pickle.loads(pickle.dumps(x))
    assert z.tolist() == [1.0, 2.0]
    assert z.requires_grad
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(x * 2)


def test_hash_is_identity_and_equality_is_elementwise():
    x = fnn.tensor([1.0, 2.0])
    assert len({x, fnn.tensor([1.0, 2.0]), x}) == 2
    assert (x == fnn.tensor([1.0, 3.0])).tolist() == [True, False]
    assert (x != 1.0).tolist() == [False, True]


def test_copy_and_fill_check_dtype_and_read_only():
    x = fnn.zeros(2, 2)
    x.copy_(np.array([1.0, 2.0], np.float32))
    assert x.tolist() == [[1.0, 2.0], [1.0, 2.0]]
    with pytest.raises(TypeError, match="float32, got float64"):
        x.copy_(np.zeros((2, 2)))
    frozen = np.zeros(2, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        fnn.from_numpy(frozen).fill_(1.0)


def test_astype_carries_gradients_between_floats():
    x = fnn.tensor([1.5, 2.5], requires_grad=True)
    (x.double() * 2).sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [2.0, 2.0]
    assert x.astype("int64").tolist() == [1, 2]
    assert not x.astype("int64").requires_grad


def test_random_stream_repeats_and_restores():
    fnn.manual_seed(5)
    a, state = fnn.randn(10), fnn.get_rng_state()
    b = fnn.rand(7)
    fnn.set_rng_state(state)
    np.testing.assert_array_equal(b.numpy(), fnn.rand(7).numpy())
    fnn.manual_seed(5)
    np.testing.assert_array_equal(a.numpy(), fnn.randn(10).numpy())
    assert not np.array_equal(a.numpy(), fnn.randn(10).numpy())
    for bad, error in (
        (-1, ValueError),
        (1 << 64, ValueError),
        (1.5, TypeError),
        (True, TypeError),
    ):
        with pytest.raises(error, match="manual_seed"):
            fnn.manual_seed(bad)


def test_in_place_operators_change_the_parameter_itself():
    p = fnn.tensor([1.0, 2.0], requires_grad=True)
    same, memory = p, p.numpy()
    (p * p).sum().backward()
    with fnn.no_grad():
        p -= 0.5 * p.grad
        p += fnn.tensor([3.0])
        p *= 4
        p /= np.array([2.0, 4.0], np.float32)
    assert p is same and p.requires_grad
    np.testing.assert_array_equal(memory, [6.0, 3.0])


def test_in_place_operators_are_seen_by_backward_and_refused_on_the_tape():
    p = fnn.tensor([1.0, 2.0], requires_grad=True)
    loss = (p * p).sum()
    with pytest.raises(RuntimeError, match=r"\+=: a tensor that requires a gradient"):
        p += 1.0
    loss *= 2.0  # a new tensor under the old name
    with fnn.no_grad():
        p += 1.0
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


def test_in_place_operators_check_dtype_and_shape():
    t, n = fnn.zeros(2), fnn.tensor([1, 2])
    with pytest.raises(TypeError, match="must be float32, got float64"):
        t += np.zeros(2)
    with pytest.raises(ValueError, match=r"must broadcast to \(2,\), got \(3, 2\)"):
        t -= fnn.zeros(3, 2)
    with pytest.raises(ValueError, match=r"fit int64, got 0\.5"):
        n += 0.5
    with pytest.raises(TypeError, match="float tensor, got int64"):
        n /= 2
    with pytest.raises(TypeError, match="str"):
        t *= "2"


def test_values_that_require_a_gradient_are_not_assigned():
    x, t = fnn.ones(2, requires_grad=True), fnn.zeros(2)
    for change in (lambda: t.copy_(x), lambda: t.__setitem__(0, x[0])):
        with pytest.raises(RuntimeError, match="would not be recorded; use cat or stack"):
            change()
    t[0] = x[0].detach()
    with fnn.no_grad():
        t[1] = x[1]
    assert t.tolist() == [1.0, 1.0]


def test_assigned_values_are_not_cast_silently():
    t, n, b = fnn.zeros(2), fnn.tensor([1, 2], dtype="uint8"), fnn.tensor([True, False])
    with pytest.raises(TypeError, match="must be float32, got float64"):
        t[0] = np.zeros(1)
    with pytest.raises(TypeError, match="must be uint8, got float32"):
        n.fill_(fnn.tensor(1.0))
    for tensor, value in ((n, 256), (n, 1.5), (n, -1), (n, 2**70), (n, float("nan")), (b, 2)):
        with pytest.raises(ValueError, match="must fit"):
            tensor.fill_(value)
        with pytest.raises(ValueError, match="must fit"):
            tensor[0] = value
    with pytest.raises(TypeError, match="expected a number or a Tensor, got str"):
        t[0] = "1"
    n[0], b[1], t[:] = 255, True, [1, 2.5]
    assert (n.tolist(), b.tolist(), t.tolist()) == ([255, 2], [True, True], [1.0, 2.5])


def test_integers_and_bools_are_summed_as_int64():
    hits = fnn.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).argmax(1) == np.array([0, 1, 1])
    assert hits.sum().item() == 2 and hits.sum().dtype == np.int64
    n = fnn.full((2, 3), 200, dtype="uint8")
    assert n.sum(0).tolist() == [400, 400, 400]
    assert n.sum((0, 1), keepdim=True).tolist() == [[1200]]


def test_comparisons_are_exact_and_check_their_operands():
    n = fnn.tensor([2**53])
    assert (n == 2**53 + 1).tolist() == [False] and (n < 2**53 + 1).tolist() == [True]
    assert (fnn.tensor([1.0, 3.0]) > 2).tolist() == [False, True]
    with pytest.raises(TypeError, match="equal: a is float32, b is float64"):
        fnn.ones(2) == np.ones(2)  # noqa: B015
    with pytest.raises(ValueError, match=r"less: shapes \(2,\) and \(3,\) do not broadcast"):
        fnn.ones(2) < fnn.ones(3)  # noqa: B015

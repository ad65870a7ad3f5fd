"""ArrayDataset and DataLoader: contents, order, determinism, the prefetching thread, bad input."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import traceback

import numpy as np
import pytest

from fastnn.data import ArrayDataset, Compose, DataLoader, RandomCrop

PREFETCH = pytest.mark.parametrize("prefetch", [0, 1, 2, 7])


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    gc.collect()
    assert threading.active_count() == before


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 5, 3), np.uint8)


def noise(x, rng):
    return x + rng.standard_normal(x.shape, np.float32)


def collect(loader):
    return [tuple(array.copy() for array in batch) for batch in loader]


def assert_same(a, b):
    assert len(a) == len(b)
    for one, two in zip(a, b, strict=True):
        for x, y in zip(one, two, strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


# ArrayDataset


def test_dataset_indexing():
    x, y = images(6), np.arange(6)
    data = ArrayDataset(x, y)
    assert len(data) == 6
    for index in (0, 5, -1, np.int32(3), np.array(4)):
        np.testing.assert_array_equal(data[index][0], x[index])
        assert data[index][1] == y[index]
    part = data[1:5:2]
    np.testing.assert_array_equal(part[0], x[[1, 3]])
    assert np.shares_memory(part[0], x)
    for index in (np.array([4, -1, 0], np.int8), [2, 2], np.empty(0, int)):
        np.testing.assert_array_equal(data[index][0], x[np.asarray(index)])
        np.testing.assert_array_equal(data[index][1], y[np.asarray(index)])
    assert [item[1] for item in data] == list(range(6))


@pytest.mark.parametrize("index", [6, -7, np.array([0, 6]), [-7]])
def test_dataset_index_out_of_range(index):
    with pytest.raises(IndexError, match="out of bounds"):
        ArrayDataset(np.arange(6))[index]


@pytest.mark.parametrize("index", [1.0, True, "a", None, [True] * 6, [[0, 1]], (0, 1.5), []])
def test_dataset_index_of_wrong_type(index):
    with pytest.raises(TypeError, match="expected an int, a slice or a 1-d integer array"):
        ArrayDataset(np.arange(6))[index]


def test_dataset_bad_arrays():
    with pytest.raises(ValueError, match="at least one array"):
        ArrayDataset()
    with pytest.raises(ValueError, match=r"arrays of one length, got \[3, 4\]"):
        ArrayDataset(np.zeros(3), np.zeros(4))
    with pytest.raises(TypeError, match="array 1 to be a numpy array, got list"):
        ArrayDataset(np.zeros(3), [1, 2, 3])
    with pytest.raises(TypeError, match="array 0 has dtype object"):
        ArrayDataset(np.array([None, 1]))
    with pytest.raises(ValueError, match="array 0 to have items, got a scalar"):
        ArrayDataset(np.array(1.0))


# DataLoader: contents


@PREFETCH
@pytest.mark.parametrize(
    ("n", "drop_last"),
    [*((n, False) for n in (1, 7, 8, 9, 24)), *((n, True) for n in (8, 9, 15, 24))],
)
def test_batches_in_order(prefetch, n, drop_last):
    x, y = images(n), np.arange(n)
    loader = DataLoader((x, y), 8, drop_last=drop_last, prefetch=prefetch)
    batches = list(loader)
    assert len(loader) == len(batches) == (n // 8 if drop_last else -(-n // 8))
    kept = n // 8 * 8 if drop_last else n
    np.testing.assert_array_equal(np.concatenate([b[0] for b in batches]), x[:kept])
    np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), y[:kept])
    assert all(len(b[0]) == 8 for b in batches[:-1])
    for batch in batches:
        assert isinstance(batch, tuple)
        assert all(array.flags.c_contiguous and array.flags.writeable for array in batch)


def test_kinds_of_data():
    x = np.arange(6.0)
    for data in (x, (x,), ArrayDataset(x)):
        assert_same(collect(DataLoader(data, 4)), [(x[:4],), (x[4:],)])
    three = collect(DataLoader((x, -x, x * 2), 6))
    assert_same(three, [(x, -x, x * 2)])


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_the_users_own(shuffle):
    x, y = images(20), np.arange(20)
    original = x.copy()
    kept = []
    for bx, by in DataLoader((x, y), 6, shuffle=shuffle):
        kept.append((bx, by, bx.copy()))
        bx_before = bx.copy()
        bx[...] = 0
        by[...] = -1
        kept[-1] = (bx, by, bx_before)
    np.testing.assert_array_equal(x, original)
    np.testing.assert_array_equal(y, np.arange(20))
    assert all((bx == 0).all() for bx, _, _ in kept)  # no buffer was used twice
    assert not any(np.shares_memory(a[0], b[0]) for a in kept for b in kept if a is not b)


@pytest.mark.parametrize("shuffle", [False, True])
def test_layouts_of_the_source(shuffle):
    base = images(40)
    strided = base[::2, :, ::-1]
    readonly = base[:20].copy()
    readonly.flags.writeable = False
    fortran = np.asfortranarray(base[:20])
    for x in (strided, readonly, fortran):
        expected = collect(DataLoader(np.ascontiguousarray(x), 6, shuffle, prefetch=0))
        got = list(DataLoader(x, 6, shuffle))
        assert_same(got, expected)
        assert all(b[0].flags.c_contiguous and b[0].flags.writeable for b in got)


# DataLoader: order and determinism


@PREFETCH
def test_shuffle_is_a_new_permutation_each_epoch(prefetch):
    y = np.arange(50)
    loader = DataLoader(y, 8, shuffle=True, prefetch=prefetch)
    epochs = [np.concatenate([b[0] for b in loader]).tolist() for _ in range(4)]
    for epoch in epochs:
        assert sorted(epoch) == y.tolist() and epoch != y.tolist()
    assert len(set(map(tuple, epochs))) == 4


def test_same_seed_and_epoch_same_bits_whatever_the_prefetch():
    data = (images(50).astype(np.float32), np.arange(50))

    def epochs(prefetch, seed=3):
        loader = DataLoader(data, 8, True, transform=noise, seed=seed, prefetch=prefetch)
        return [collect(loader) for _ in range(3)]

    expected = epochs(0)
    for prefetch in (1, 2, 7):
        for got, want in zip(epochs(prefetch), expected, strict=True):
            assert_same(got, want)
    other = epochs(2, seed=4)
    assert not np.array_equal(other[0][0][1], expected[0][0][1])


def test_set_epoch():
    loader = DataLoader((images(30).astype(np.float32),), 7, True, transform=noise)
    first = [collect(loader) for _ in range(3)]
    assert loader.epoch == 3
    loader.set_epoch(1)
    assert loader.epoch == 1
    assert_same(collect(loader), first[1])
    assert_same(collect(loader), first[2])
    fresh = DataLoader((images(30).astype(np.float32),), 7, True, transform=noise)
    fresh.set_epoch(2)
    assert_same(collect(fresh), first[2])


def test_every_random_stream_is_its_own():
    """No (seed, epoch, batch) shares its random numbers with another or with the shuffling."""
    drawn = []

    def draw(x, rng):
        assert isinstance(rng.bit_generator, np.random.Philox)
        drawn.append(rng.random())
        return x

    for seed in (0, 1, 2, 2**32, 2**64 + 1):
        loader = DataLoader(np.arange(12), 2, True, transform=draw, seed=seed)
        for _ in range(3):
            list(loader)
        drawn.extend(loader._rng(epoch, 0).random() for epoch in range(3))
    assert len(drawn) == len(set(drawn)) == 5 * 3 * 7


# DataLoader: transforms


class Scale:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x * self.by


@pytest.mark.parametrize(
    ("transform", "with_rng"),
    [
        (lambda x: x * 2, False),
        (Scale(2), False),
        (Scale(2).__call__, False),
        (lambda x, scale=2: x * scale, False),
        (lambda *args: args[0] * 2 if len(args) == 1 else None, False),
        (np.negative, False),
        (lambda x, rng: x * 2 + rng.random(), True),
        (lambda x, rng, scale=2: x * scale + rng.random(), True),
        (Compose(Scale(2)), False),
        (Compose(Scale(2), noise), True),
    ],
)
def test_which_transforms_get_an_rng(transform, with_rng):
    x, y = np.arange(1.0, 7.0), np.arange(6)
    batches = collect(DataLoader((x, y), 4, transform=transform))
    np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), y)
    got = np.concatenate([b[0] for b in batches])
    if with_rng:
        assert not np.isin(got, 2 * x).any()
    else:
        np.testing.assert_array_equal(got, -x if transform is np.negative else 2 * x)


def test_transform_signature_is_checked():
    for transform in (lambda: 0, lambda x, y, z: x, lambda x, *, k: x, lambda x, rng, *, k: x):
        with pytest.raises(TypeError, match=r"transform must take \(x\) or \(x, rng\)"):
            DataLoader(np.arange(3), transform=transform)
    with pytest.raises(TypeError, match="transform must be callable, got int"):
        DataLoader(np.arange(3), transform=3)


def test_transform_may_change_shape_and_layout():
    x = images(10)
    loader = DataLoader(x, 4, transform=lambda b: b.transpose(0, 3, 1, 2).astype(np.float64))
    for (batch,), start in zip(loader, (0, 4, 8), strict=True):
        assert batch.flags.c_contiguous and batch.dtype == np.float64
        np.testing.assert_array_equal(batch, x[start : start + 4].transpose(0, 3, 1, 2))


@PREFETCH
@pytest.mark.parametrize(
    ("transform", "error", "message"),
    [
        (lambda x: x[:-1], ValueError, r"keep the batch size 4, got shape \(3, 4, 5, 3\)"),
        (lambda x: x.sum(), TypeError, "return a numpy array, got uint64"),
        (lambda x: x.sum(keepdims=True)[0, 0, 0, 0, None].reshape(()), ValueError, r"shape \(\)"),
        (lambda x: list(x), TypeError, "return a numpy array, got list"),
        (lambda x: None, TypeError, "got NoneType"),
    ],
)
def test_transform_with_a_wrong_result(prefetch, transform, error, message):
    with pytest.raises(error, match=message):
        list(DataLoader(images(8), 4, transform=transform, prefetch=prefetch))


# DataLoader: the thread


class Broken(Exception):
    pass


@PREFETCH
def test_exception_in_transform_comes_out_with_its_traceback(prefetch):
    def fails_on_the_third(x):
        if x[0] == 8:
            raise Broken("third batch")
        return x

    loader = DataLoader(np.arange(20), 4, transform=fails_on_the_third, prefetch=prefetch)
    seen = []
    with pytest.raises(Broken, match="third batch") as error:
        for (x,) in loader:
            seen.append(x[0])
    assert seen == [0, 4]
    assert "fails_on_the_third" in "".join(traceback.format_tb(error.value.__traceback__))
    del error
    # The loader is as good as new.
    loader.transform = None
    assert len(list(loader)) == 5


@PREFETCH
def test_leaving_early(prefetch):
    loader = DataLoader(np.arange(1000), 2, prefetch=prefetch)
    before = threading.active_count()
    for (x,) in loader:
        if x[0] == 6:
            break
    assert threading.active_count() == before
    with pytest.raises(Broken):
        for _ in loader:
            raise Broken
    iterator = iter(loader)
    next(iterator)
    assert threading.active_count() == before + (prefetch > 0)
    del iterator
    gc.collect()
    assert threading.active_count() == before
    iter(loader)  # never advanced
    cycle = [iter(loader)]
    next(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert threading.active_count() == before
    assert len(list(loader)) == 500


def test_leaving_while_the_thread_is_at_work():
    for delay in (0.0, 0.001, 0.005):
        loader = DataLoader(
            np.arange(100), 1, transform=lambda x, d=delay: (time.sleep(d), x)[1], prefetch=1
        )
        for _ in range(20):
            for _ in loader:
                break
    assert not [t for t in threading.enumerate() if t.name == "fastnn-DataLoader"]


@PREFETCH
def test_two_iterators_at_once(prefetch):
    y = np.arange(20)
    loader = DataLoader(y, 6, shuffle=True, prefetch=prefetch)
    expected = [collect(loader) for _ in range(5)]
    loader.set_epoch(0)
    pairs = list(zip(loader, loader, strict=True))
    assert_same([a for a, _ in pairs], expected[0])
    assert_same([b for _, b in pairs], expected[1])
    loader.set_epoch(0)
    nested = [(outer, collect(loader)) for outer in loader]
    assert_same([outer for outer, _ in nested], expected[0])
    for (_, inner), want in zip(nested, expected[1:], strict=True):
        assert_same(inner, want)


@pytest.mark.parametrize("prefetch", [1, 2, 5])
def test_how_far_the_thread_runs_ahead(prefetch):
    made = []
    loader = DataLoader(
        np.arange(50), 1, transform=lambda x: (made.append(x[0]), x)[1], prefetch=prefetch
    )
    iterator = iter(loader)
    next(iterator)
    deadline = time.monotonic() + 5
    # One taken, `prefetch` waiting, and one made that has no place yet.
    while len(made) < prefetch + 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(made) == prefetch + 2
    del iterator


SCRIPT = """
import threading, numpy as np
from fastnn.data import DataLoader
loader = DataLoader(np.arange(10000), 1, prefetch=3)
{}
"""


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("it = iter(loader); next(it)", 0),
        ("it = iter(loader); next(it); loader.it = it; loader.me = loader", 0),
        ("import builtins\nbuiltins.it = iter(loader)\nnext(builtins.it)", 0),
        ("it = iter(loader); next(it); 1 / 0", 1),
        ("for x in loader: raise SystemExit(3)", 3),
    ],
)
def test_interpreter_exit_does_not_hang(code, status):
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT.format(code)],
        timeout=20,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status
    assert ("ZeroDivisionError" in done.stderr) == (status == 1)
    assert status == 1 or done.stderr == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_an_iterator_does_not_hang_after_a_fork():
    code = textwrap.dedent(
        """
        import os, time
        it = iter(loader)
        next(it)
        time.sleep(0.1)
        pid = os.fork()
        if pid == 0:
            try:
                for x in it:
                    pass
            except RuntimeError as error:
                assert "fork" in str(error)
                assert len(list(loader)) == 10000
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        """
    )
    subprocess.run([sys.executable, "-P", "-c", SCRIPT.format(code)], timeout=30, check=True)


# DataLoader: bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": -3}, ValueError, "batch_size must be at least 1, got -3"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an int, got float"),
        ({"batch_size": True}, TypeError, "batch_size must be an int, got bool"),
        ({"batch_size": "8"}, TypeError, "batch_size must be an int, got str"),
        ({"batch_size": None}, TypeError, "batch_size must be an int, got NoneType"),
        ({"prefetch": -1}, ValueError, "prefetch must be at least 0, got -1"),
        ({"prefetch": 1.5}, TypeError, "prefetch must be an int, got float"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": None}, TypeError, "seed must be an int, got NoneType"),
        ({"shuffle": 1}, TypeError, "shuffle must be True or False, got 1"),
        ({"drop_last": "no"}, TypeError, "drop_last must be True or False, got 'no'"),
        ({"drop_last": True}, ValueError, "leaves no batch of 32, data has 10 items"),
        ({"data": np.zeros((0, 3))}, ValueError, "data is empty"),
        ({"data": ()}, ValueError, "at least one array"),
        ({"data": (np.zeros(3), np.zeros(2))}, ValueError, r"one length, got \[3, 2\]"),
        ({"data": [1, 2]}, TypeError, "array 0 to be a numpy array, got list"),
        ({"data": None}, TypeError, "array 0 to be a numpy array, got NoneType"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        DataLoader(**({"data": np.arange(10)} | options))


def test_bad_epoch():
    loader = DataLoader(np.arange(3))
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        loader.set_epoch(-1)
    with pytest.raises(TypeError, match="epoch must be an int, got float"):
        loader.set_epoch(1.0)


def test_numpy_integers_are_integers():
    loader = DataLoader(np.arange(6), np.int64(4), seed=np.uint8(1), prefetch=np.int32(1))
    assert [len(batch[0]) for batch in loader] == [4, 2]


def test_augmentation_differs_between_batches_and_epochs():
    x = np.tile(images(1), (6, 1, 1, 1))
    loader = DataLoader(x, 3, transform=RandomCrop((4, 5), 2))
    batches = [batch[0] for _ in range(3) for batch in loader]
    assert len({batch.tobytes() for batch in batches}) == 6

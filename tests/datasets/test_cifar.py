"""CIFAR-10 readers: binary and python batches, missing, damaged and hostile files."""

import io
import pickle
import struct
import subprocess
import warnings
from typing import ClassVar

import numpy as np
import pytest

from fastnn.datasets import cifar10
from fastnn.datasets._cifar import BINARY, PYTHON, TEST, TRAIN


class Py2Pickler(pickle._Pickler):
    """Pickles as Python 2 with an old NumPy did: `str` for bytes, numpy.core for numpy._core."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, obj: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(obj)) + obj)
        self.memoize(obj)

    def save_text(self, obj: str) -> None:
        self.save_bytes(obj.encode("ascii"))

    dispatch[bytes] = save_bytes
    dispatch[str] = save_text

    def save_global(self, obj: object, name: str | None = None) -> None:
        module = obj.__module__.replace("numpy._core", "numpy.core")
        self.write(f"c{module}\n{name or obj.__qualname__}\n".encode())
        self.memoize(obj)

    dispatch[type] = save_global
    dispatch[type(np.dot.__init__)] = save_global


def batch(seed, n):
    """Images (n, 32, 32, 3) and labels of a made-up batch."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 32, 32, 3), np.uint8), rng.integers(0, 10, n)


def planes(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1))


def binary(images, labels):
    return np.concatenate([labels[:, None].astype(np.uint8), planes(images)], axis=1).tobytes()


def python2(value):
    out = io.BytesIO()
    Py2Pickler(out, protocol=2).dump(value)
    return out.getvalue()


def python(images, labels):
    return python2(
        {
            b"data": planes(images),
            b"labels": labels.tolist(),
            b"batch_label": b"a batch",
            b"filenames": [b"cat_%d.png" % i for i in range(len(labels))],
        }
    )


def write(root, n, version=BINARY, train=TRAIN):
    (root / version).mkdir(parents=True)
    encode, suffix = (binary, ".bin") if version == BINARY else (python, "")
    for i, name in enumerate((*train, TEST)):
        (root / version / f"{name}{suffix}").write_bytes(encode(*batch(i, n)))


@pytest.mark.parametrize("version", [BINARY, PYTHON])
@pytest.mark.parametrize("inside", [False, True])
def test_reads_what_was_written(tmp_path, small_cifar, version, inside):
    write(tmp_path, small_cifar, version)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (x_train, y_train), (x_test, y_test) = cifar10(tmp_path / version if inside else tmp_path)
    images, labels = zip(*(batch(i, small_cifar) for i in range(6)), strict=True)
    np.testing.assert_array_equal(x_train, np.concatenate(images[:5]))
    np.testing.assert_array_equal(y_train, np.concatenate(labels[:5]))
    np.testing.assert_array_equal(x_test, images[5])
    np.testing.assert_array_equal(y_test, labels[5])
    assert x_train.dtype == x_test.dtype == np.uint8 and x_train.flags.c_contiguous
    assert y_train.dtype == y_test.dtype == np.int64


def test_python_batches_are_as_python_2_wrote_them():
    images, labels = batch(0, 3)
    content = python(images, labels)
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content and b"_codecs" not in content
    plain = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(plain[b"data"], planes(images))


def test_environment_names_the_root(tmp_path, small_cifar, monkeypatch):
    write(tmp_path, small_cifar)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    assert cifar10()[0][0].shape == (5 * small_cifar, 32, 32, 3)


def test_missing_training_batches_are_named(tmp_path, small_cifar):
    write(tmp_path, small_cifar, train=("data_batch_1", "data_batch_4"))
    with pytest.warns(UserWarning, match="3 of 5") as caught:
        (x_train, y_train), _ = cifar10(tmp_path)
    assert "data_batch_2, data_batch_3, data_batch_5" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert len(x_train) == len(y_train) == 2 * small_cifar


def test_the_fuller_version_is_read(tmp_path, small_cifar):
    write(tmp_path, small_cifar, BINARY, train=TRAIN[:2])
    write(tmp_path, small_cifar, PYTHON, train=TRAIN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(cifar10(tmp_path)[0][0]) == 5 * small_cifar


def test_test_batch_and_one_training_batch_are_required(tmp_path, small_cifar):
    with pytest.raises(FileNotFoundError) as nothing:
        cifar10(tmp_path)
    for text in ("data_batch_5.bin", "test_batch.bin", str(tmp_path / PYTHON), "download=True"):
        assert text in str(nothing.value)
    write(tmp_path, small_cifar)
    (tmp_path / BINARY / "test_batch.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"test_batch\.bin") as no_test:
        cifar10(tmp_path)
    assert "data_batch" not in str(no_test.value)


@pytest.mark.parametrize("change", [-1, 1, -3073, 3073, None])
def test_binary_batch_of_the_wrong_size(tmp_path, small_cifar, change):
    write(tmp_path, small_cifar)
    path = tmp_path / BINARY / "data_batch_2.bin"
    content = path.read_bytes()
    size = 0 if change is None else len(content) + change
    path.write_bytes((content + bytes(3073))[:size])
    with pytest.raises(ValueError, match=rf"data_batch_2\.bin: expected 61460 bytes, got {size}"):
        cifar10(tmp_path)


def test_label_out_of_range(tmp_path, small_cifar):
    write(tmp_path, small_cifar)
    path = tmp_path / BINARY / "test_batch.bin"
    content = bytearray(path.read_bytes())
    content[7 * 3073] = 10
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected labels 0 to 9, got 10 at position 7"):
        cifar10(tmp_path)


@pytest.fixture
def read_python(tmp_path, small_cifar):
    """Read a set whose first training batch has the given content."""
    write(tmp_path, small_cifar, PYTHON)

    def read(content):
        (tmp_path / PYTHON / "data_batch_1").write_bytes(content)
        return cifar10(tmp_path)

    return read


class Call:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [lambda call: call, lambda call: {"data": call, "labels": []}])
def test_malicious_pickle_is_refused(tmp_path, read_python, protocol, wrap):
    victim = tmp_path / "victim"
    touch = Call(subprocess.call, ["touch", str(victim)])
    make = Call(eval, f"__import__('pathlib').Path({str(victim)!r}).touch()")
    for call, name in ((touch, r"\w+\.call"), (make, r"\w+\.eval")):
        content = pickle.dumps(wrap(call), protocol)
        with pytest.raises(ValueError, match=f"data_batch_1.*{name}, refused"):
            read_python(content)
    assert not victim.exists()
    pickle.loads(content)  # the same file does harm an ordinary reader
    assert victim.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy.f2py\ndiagnose\n.",
        b"cnumpy\nload\n.",
        b"cnumpy\nndarray.tofile\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__class__\x93.",
        b"cnumpy\ndtype\n}b.",  # state for the stand-in class itself
        b"cnumpy.core.multiarray\n_reconstruct\n(tR}b.",  # a state that is not an array's
        b"\x80\x02r\xff\xff\xff\xff.",  # memo index 2**32 - 1
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes of length 2**63 - 1
        b"P1\n.",  # persistent id
        b"\x82\x01.",  # extension registry
        b"",
        b"no pickle",
    ],
)
def test_hostile_or_damaged_pickle_is_refused(read_python, content):
    with pytest.raises(ValueError, match="data_batch_1: expected"):
        read_python(content)


def test_python_batch_with_wrong_content(read_python, small_cifar):
    images, labels = batch(0, small_cifar)
    good = {b"data": planes(images), b"labels": labels.tolist()}
    read_python(python2(good))
    for changed, message in (
        ([1, 2], r"a dict with b'data' and b'labels', got \[1, 2\]"),
        ({b"data": good[b"data"]}, "a dict with b'data' and b'labels'"),
        (good | {b"data": good[b"data"][:-1]}, r"uint8 data of shape \(20, 3072\)"),
        (good | {b"data": good[b"data"].astype(np.int8)}, "uint8 data .* dtype b'i1'"),
        (good | {b"data": good[b"data"].astype(object)}, "uint8 data .* dtype b'O8'"),
        (good | {b"data": b"abc"}, "uint8 data"),
        (good | {b"labels": good[b"labels"][:-1]}, "a list of 20 labels"),
        (good | {b"labels": 7}, "a list of 20 labels, got 7"),
        (good | {b"labels": [10] * 20}, "labels 0 to 9, got 10"),
        (good | {b"labels": [-1] * 20}, "integer labels, got -1"),
        (good | {b"labels": [1.5] * 20}, r"integer labels, got 1\.5"),
    ):
        with pytest.raises(ValueError, match=f"data_batch_1: expected {message}"):
            read_python(python2(changed))


def test_column_major_python_batch(read_python, small_cifar):
    images, labels = batch(9, small_cifar)
    data = np.asfortranarray(planes(images))
    (x_train, _), _ = read_python(python2({b"data": data, b"labels": labels.tolist()}))
    np.testing.assert_array_equal(x_train[:small_cifar], images)


def test_truncated_python_batch(read_python, small_cifar):
    content = python(*batch(0, small_cifar))
    for size in {*range(0, 200, 7), *range(200, len(content), 4999), len(content) - 1}:
        with pytest.raises(ValueError, match="data_batch_1: expected"):
            read_python(content[:size])


def test_flipped_bytes_never_do_worse_than_value_error(read_python, small_cifar):
    content = python(*batch(0, small_cifar))
    head = content.index(b"\x00" * 0 + planes(batch(0, small_cifar)[0]).tobytes()[:16])
    for offset in [*range(head), *range(len(content) - 400, len(content), 3)]:
        damaged = bytearray(content)
        damaged[offset] ^= 0xFF
        try:
            (x_train, _), _ = read_python(damaged)
        except ValueError as error:
            assert "data_batch_1" in str(error)
        else:
            assert x_train.shape == (100, 32, 32, 3)


def test_oversized_python_batch(read_python):
    with pytest.raises(ValueError, match="expected at most 1171456 bytes, got 2000000"):
        read_python(bytes(2_000_000))


@pytest.mark.filterwarnings("ignore:cifar10")
def test_real_cifar10(real_data):
    if not (real_data / BINARY).is_dir():
        pytest.skip("no CIFAR-10 under FASTNN_DATA")
    (x_train, y_train), (x_test, y_test) = cifar10(real_data)
    assert len(x_train) == len(y_train) and len(x_train) in range(10_000, 50_001, 10_000)
    assert x_test.shape == (10_000, 32, 32, 3)
    assert np.bincount(y_test).tolist() == [1000] * 10
    assert y_test[:8].tolist() == [3, 8, 8, 0, 6, 6, 1, 6]
    # Neighbouring pixels of photographs are alike: the planes were put together correctly.
    right = x_test[:100].astype(int)
    assert np.abs(np.diff(right, axis=2)).mean() < 20
    assert np.abs(np.diff(right, axis=1)).mean() < 20

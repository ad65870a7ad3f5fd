"""MNIST readers: official files, damaged files, where files are looked for, the bundled subset."""

import gzip
import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn.datasets
from fastnn.datasets import _mnist, fashion_mnist, mnist, mnist_small
from fastnn.datasets._idx import read_idx

REPOSITORY = Path(__file__).resolve().parents[2]


def write(directory: Path, files: dict[str, bytes], zipped: bool = False) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = directory / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return directory


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("folder", ["", "mnist"])
def test_reads_what_was_written(tmp_path, zipped, folder, mnist_content):
    files = mnist_content()
    write(tmp_path / folder, files, zipped)
    splits = mnist(str(tmp_path))
    for (x, y), prefix in zip(splits, ("train", "t10k"), strict=True):
        pixels = files[f"{prefix}-images-idx3-ubyte"][16:]
        labels = files[f"{prefix}-labels-idx1-ubyte"][8:]
        assert x.dtype == np.uint8 and y.dtype == np.int64
        assert x.shape == (len(labels), 28, 28, 1)
        assert x.flags.c_contiguous and x.flags.writeable
        assert x.tobytes() == pixels
        assert y.tolist() == list(labels)


def test_gzip_is_recognised_by_content_not_name(tmp_path, mnist_content):
    files = mnist_content()
    write(tmp_path, files)
    for name, content in files.items():
        (tmp_path / name).write_bytes(gzip.compress(content))
    assert mnist(tmp_path)[0][0].shape == (30, 28, 28, 1)


def test_root_defaults(tmp_path, monkeypatch, mnist_content):
    write(tmp_path / "data" / "mnist", mnist_content(seed=1))
    write(tmp_path / "data" / "fashion_mnist", mnist_content(seed=2))
    write(tmp_path / "home" / ".cache" / "fastnn" / "mnist", mnist_content(seed=3))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    home = mnist()[0][0]
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "data"))
    env, fashion = mnist()[0][0], fashion_mnist()[0][0]
    np.testing.assert_array_equal(home, mnist(tmp_path / "home/.cache/fastnn/mnist")[0][0])
    np.testing.assert_array_equal(env, mnist(tmp_path / "data/mnist")[0][0])
    np.testing.assert_array_equal(fashion, fashion_mnist(tmp_path / "data")[0][0])
    assert not np.array_equal(home, env) and not np.array_equal(env, fashion)


def test_missing_files_are_listed(tmp_path, mnist_content):
    with pytest.raises(FileNotFoundError) as all_missing:
        mnist(tmp_path)
    for text in (*_mnist.FILES, str(tmp_path / "mnist"), "download=True", "http", "FASTNN_DATA"):
        assert text in str(all_missing.value)
    write(tmp_path, mnist_content())
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError) as one_missing:
        mnist(tmp_path)
    assert "t10k-labels-idx1-ubyte" in str(one_missing.value)
    assert "train-labels-idx1-ubyte" not in str(one_missing.value)


def test_bad_arguments(tmp_path):
    with pytest.raises(TypeError, match="mnist: root must be a path or None, got int"):
        mnist(3)
    with pytest.raises(TypeError, match="fashion_mnist: download must be True or False, got 'x'"):
        fashion_mnist(tmp_path, "x")


@pytest.mark.parametrize("zipped", [False, True])
def test_truncation_at_any_offset_is_an_error(tmp_path, zipped, idx):
    content = idx(np.random.default_rng(0).integers(0, 256, (3, 28, 28)))
    whole = gzip.compress(content) if zipped else content
    path = tmp_path / "images"
    # Every offset in the header and the tail, and a spread in between.
    offsets = {*range(40), *range(len(whole) - 20, len(whole)), *range(40, len(whole), 97)}
    for offset in sorted(offsets):
        path.write_bytes(whole[:offset])
        with pytest.raises(ValueError, match="images: expected"):
            read_idx(path, 3)
    path.write_bytes(whole)
    assert read_idx(path, 3).tobytes() == content[16:]


def test_any_corrupted_gzip_byte_is_seen_or_harmless(tmp_path, idx):
    content = idx(np.random.default_rng(1).integers(0, 10, 300))
    whole = gzip.compress(content, mtime=0)
    path = tmp_path / "labels.gz"
    refused = 0
    for offset in range(len(whole)):
        damaged = bytearray(whole)
        damaged[offset] ^= 0x55
        path.write_bytes(damaged)
        try:
            # Only the gzip header has bytes (time, system) that do not matter.
            assert read_idx(path, 1).tobytes() == content[8:] and offset < 10
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused >= len(whole) - 10


def header(*words: int) -> bytes:
    return np.array(words, ">u4").tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header(0x802, 1, 28, 28) + bytes(784), "expected magic number 0x0803, got 0x0802"),
        (header(0xD03, 1, 28, 28) + bytes(784), "expected magic number 0x0803, got 0x0d03"),
        (header(0x803, 0, 28, 28), r"expected at least one item, got shape \(0, 28, 28\)"),
        (header(0x803, 2, 28, 28) + bytes(784), "expected 1568 bytes .* got 784"),
        (header(0x803, 1, 28, 28) + bytes(785), "expected 784 bytes .* got more"),
        (header(0x803, *[2**32 - 1] * 3) + bytes(784), "expected 7922.* got 784"),
        (b"", "expected an IDX header of 16 bytes, got 0"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_wrong_header_or_size(tmp_path, content, message, zipped):
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(ValueError, match=f"images: {message}"):
        read_idx(path, 3)


def test_inconsistent_files(tmp_path, mnist_content, idx):
    files = mnist_content()
    write(tmp_path, files)

    def replaced(name, values):
        write(tmp_path, files | {name: idx(values)})
        return pytest.raises(ValueError, match=name)

    with replaced("train-labels-idx1-ubyte", np.zeros(29)) as error:
        mnist(tmp_path)
    assert "expected 30 labels" in str(error.value) and "got 29" in str(error.value)
    with replaced("t10k-labels-idx1-ubyte", np.arange(20) % 11) as error:
        mnist(tmp_path)
    assert "expected labels 0 to 9, got 10 at position 10" in str(error.value)
    with replaced("train-images-idx3-ubyte", np.zeros((30, 28, 27))) as error:
        mnist(tmp_path)
    assert "expected 28x28 images, got shape (30, 28, 27)" in str(error.value)
    write(tmp_path, files)
    mnist(tmp_path)


def test_mnist_is_not_taken_for_fashion_mnist(tmp_path, monkeypatch, mnist_content):
    files = write(tmp_path, mnist_content())
    labels = (files / "train-labels-idx1-ubyte").read_bytes()
    md5 = hashlib.md5(labels).hexdigest()
    monkeypatch.setattr(_mnist, "LABELS_MD5", {md5: "mnist"})
    mnist(tmp_path)
    with pytest.raises(ValueError, match="labels of fashion_mnist, got those of mnist"):
        fashion_mnist(tmp_path)


def test_mnist_small_is_balanced_real_and_small():
    (x_train, y_train), (x_test, y_test) = mnist_small()
    assert x_train.shape == (5000, 28, 28, 1) and x_test.shape == (1000, 28, 28, 1)
    assert x_train.dtype == x_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64
    assert np.bincount(y_train).tolist() == [500] * 10
    assert np.bincount(y_test).tolist() == [100] * 10
    # All images differ, and a nearest-mean classifier recognises most: they are digits.
    assert len(np.unique(np.concatenate([x_train, x_test]).reshape(6000, -1), axis=0)) == 6000
    means = np.stack([x_train[y_train == d].mean(axis=0).ravel() for d in range(10)])
    distances = ((x_test.reshape(1000, 1, -1) - means) ** 2).sum(axis=-1)
    assert (distances.argmin(axis=1) == y_test).mean() > 0.75
    folder = Path(fastnn.datasets.__file__).parent / "mnist_small"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 1.5e6


def test_choice_of_the_subset():
    path = REPOSITORY / "tools" / "make_mnist_small.py"
    spec = importlib.util.spec_from_file_location("make_mnist_small", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    labels = np.repeat(np.arange(10), 7)
    index = tool.choose(labels, 3)
    assert index.tolist() == [7 * digit + step for digit in range(10) for step in (0, 2, 4)]
    with pytest.raises(ValueError, match="expected at least 8 images of 0, got 7"):
        tool.choose(labels, 8)


def test_real_mnist(real_data):
    if not (real_data / "mnist").is_dir():
        pytest.skip("no MNIST under FASTNN_DATA")
    (x_train, y_train), (x_test, y_test) = mnist(real_data)
    assert x_train.shape == (60000, 28, 28, 1) and x_test.shape == (10000, 28, 28, 1)
    assert y_train[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert y_test[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert abs(x_train.mean() / 255 - 0.1307) < 1e-4 and abs(x_train.std() / 255 - 0.3081) < 1e-4
    with pytest.raises(ValueError, match="expected the labels of fashion_mnist"):
        fashion_mnist(real_data / "mnist")


def test_tool_makes_the_bundled_subset_again(real_data, tmp_path):
    if not (real_data / "mnist").is_dir():
        pytest.skip("no MNIST under FASTNN_DATA")
    tool = REPOSITORY / "tools" / "make_mnist_small.py"
    subprocess.run(
        [sys.executable, tool, real_data / "mnist", "--out", tmp_path], check=True, timeout=60
    )
    for split, bundled in zip(mnist(tmp_path), mnist_small(), strict=True):
        for array, expected in zip(split, bundled, strict=True):
            np.testing.assert_array_equal(array, expected)

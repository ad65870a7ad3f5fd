"""Image transforms against direct formulas, their randomness, and bad input."""

import numpy as np
import pytest

from fastnn.data import Compose, Normalize, RandomCrop, RandomHorizontalFlip, _transforms


def images(n=6, h=5, w=7, c=3, seed=0, dtype=np.uint8):
    x = np.random.default_rng(seed).integers(0, 256, (n, h, w, c), np.uint8)
    return x if dtype == np.uint8 else (x / 255).astype(dtype)


def rng(seed=0):
    return np.random.Generator(np.random.Philox(seed))


# Normalize

MEAN, STD = np.array([0.5, 0.3, 0.9]), np.array([0.2, 0.5, 0.01])


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("layout", ["contiguous", "strided", "empty"])
def test_normalize(dtype, layout):
    x = images(dtype=dtype)
    x = {"contiguous": x, "strided": x[::2, ::-1, 1:], "empty": x[:0]}[layout]
    before = x.copy()
    out = Normalize(MEAN, STD)(x)
    expected = (x.astype(np.float64) / (255 if dtype == np.uint8 else 1) - MEAN) / STD
    assert out.dtype == np.float32 and out.flags.c_contiguous and out.shape == x.shape
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(x, before)


def test_normalize_of_float64_keeps_its_digits():
    x = 1e6 + np.random.default_rng(3).random((3, 4, 5, 2))
    out = Normalize.fit(x)(x)
    assert out.dtype == np.float32
    wanted = (x - x.mean((0, 1, 2))) / x.std((0, 1, 2))
    np.testing.assert_allclose(out, wanted, rtol=1e-6, atol=1e-6)


def test_normalize_with_numbers_for_all_channels():
    x = images(c=2)
    expected = (x / 255 - 0.25) / 2
    for transform in (Normalize(0.25, 2), Normalize([0.25, 0.25], 2), Normalize(0.25, [2, 2])):
        np.testing.assert_allclose(transform(x), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("chunk", [1, 1000, 1 << 20])
def test_fit(dtype, chunk, monkeypatch):
    monkeypatch.setattr(_transforms, "CHUNK_VALUES", chunk)
    x = images(40, dtype=dtype)
    fitted = Normalize.fit(x)
    scaled = x.astype(np.float64) / (255 if dtype == np.uint8 else 1)
    np.testing.assert_allclose(fitted.mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(fitted.std, scaled.std(axis=(0, 1, 2)), rtol=1e-12)
    out = fitted(x).astype(np.float64)
    np.testing.assert_allclose(out.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(out.std(axis=(0, 1, 2)), 1, atol=1e-6)


def test_fit_is_accurate_far_from_zero():
    x = images(50, dtype=np.float64) + 1e6
    np.testing.assert_allclose(Normalize.fit(x).std, x.std(axis=(0, 1, 2)), rtol=1e-9)


@pytest.mark.parametrize(
    ("mean", "std", "error", "message"),
    [
        (0, 0, ValueError, "std must be positive"),
        (0, [1, -1], ValueError, r"std must be positive, got \[1.0, -1.0\]"),
        (np.nan, 1, ValueError, "mean must be finite, got nan"),
        (0, np.inf, ValueError, "std must be finite"),
        ([1, 2], [1, 2, 3], ValueError, "mean has 2 channels, std has 3"),
        ([], 1, ValueError, r"mean must be a number or a vector, got shape \(0,\)"),
        ([[1]], 1, ValueError, r"got shape \(1, 1\)"),
        ("a", 1, TypeError, "mean must be a number or a vector, got 'a'"),
        (0, None, TypeError, "std must be a number or a vector, got None"),
        (0, True, TypeError, "std must be a number or a vector, got True"),
    ],
)
def test_normalize_bad_statistics(mean, std, error, message):
    with pytest.raises(error, match=message):
        Normalize(mean, std)


def test_normalize_bad_images():
    transform = Normalize(MEAN, STD)
    with pytest.raises(ValueError, match="was made for 3 channels, x has 1"):
        transform(images(c=1))
    with pytest.raises(ValueError, match=r"images \(N, H, W, C\), got shape \(5, 7, 3\)"):
        transform(images()[0])
    for dtype in (np.int64, bool, complex):
        with pytest.raises(TypeError, match="expected uint8 or floating-point images, got"):
            transform(images().astype(dtype))
    with pytest.raises(TypeError, match="expected a numpy array, got list"):
        transform([1.0])


def test_fit_bad_images():
    bad = images(dtype=np.float32)
    for value in (np.nan, np.inf, -np.inf):
        bad[1, 2, 3, 1] = value
        with pytest.raises(ValueError, match="not finite"):
            Normalize.fit(bad)
    for dtype in (np.uint8, np.float32, np.float64):
        constant = images(300, dtype=dtype)
        constant[..., 2] = 7 if dtype == np.uint8 else 0.1
        with pytest.raises(ValueError, match="channel 2 of images is constant"):
            Normalize.fit(constant)
    with pytest.raises(ValueError, match=r"images is empty, got shape \(0, 5, 7, 3\)"):
        Normalize.fit(images()[:0])
    with pytest.raises(ValueError, match="got shape"):
        Normalize.fit(images()[0])
    with pytest.raises(TypeError, match="got int64"):
        Normalize.fit(images().astype(np.int64))


# RandomCrop


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("size", "padding"), [(5, 2), ((3, 4), 0), ((9, 11), 2), ((1, 13), 3)])
def test_crop_is_a_window_of_the_padded_image(dtype, size, padding):
    x = images(30, dtype=dtype)
    before = x.copy()
    out = RandomCrop(size, padding)(x, rng())
    h, w = (size, size) if isinstance(size, int) else size
    assert out.shape == (30, h, w, 3) and out.dtype == dtype and out.flags.c_contiguous
    p = padding
    padded = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
    tops, lefts = set(), set()
    for image, crop in zip(padded, out, strict=True):
        places = [
            (i, j)
            for i in range(image.shape[0] - h + 1)
            for j in range(image.shape[1] - w + 1)
            if np.array_equal(image[i : i + h, j : j + w], crop)
        ]
        assert places
        tops.add(places[0][0])
        lefts.add(places[0][1])
    np.testing.assert_array_equal(x, before)
    if size == 5:  # 5 and 7 possible places along the axes, all taken by some image
        assert tops == set(range(5)) and lefts == set(range(7))


def test_crop_bad_input():
    with pytest.raises(ValueError, match=r"\(10, 5\) is larger than the padded image \(9, 11\)"):
        RandomCrop((10, 5), 2)(images(), rng())
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        RandomCrop(0)
    with pytest.raises(ValueError, match="padding must be at least 0, got -1"):
        RandomCrop(3, -1)
    for size in (2.5, True, "3", (3, None)):
        with pytest.raises(TypeError, match="size must be int"):
            RandomCrop(size)
    with pytest.raises(ValueError, match=r"size must be an int or \(height, width\)"):
        RandomCrop((1, 2, 3))
    with pytest.raises(ValueError, match=r"got shape \(5, 7, 3\)"):
        RandomCrop(3)(images()[0], rng())


# RandomHorizontalFlip


def test_flip():
    x = images(400)
    before = x.copy()
    out = RandomHorizontalFlip(0.25)(x, rng())
    flipped = np.array([np.array_equal(o, i[:, ::-1]) for o, i in zip(out, x, strict=True)])
    same = np.array([np.array_equal(o, i) for o, i in zip(out, x, strict=True)])
    assert (flipped ^ same).all()
    assert 60 <= flipped.sum() <= 140  # 100 expected, standard deviation 8.7
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(RandomHorizontalFlip(0)(x, rng()), x)
    np.testing.assert_array_equal(RandomHorizontalFlip(1)(x, rng()), x[:, :, ::-1])


def test_flip_bad_input():
    for p in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="p must be from 0 to 1"):
            RandomHorizontalFlip(p)
    for p in ("a", None, True):
        with pytest.raises(TypeError, match="p must be a number"):
            RandomHorizontalFlip(p)
    with pytest.raises(ValueError, match="got shape"):
        RandomHorizontalFlip()(images()[0], rng())


# Compose


def test_compose():
    x = images(20)
    crop, flip, normalize = RandomCrop(4), RandomHorizontalFlip(), Normalize(MEAN, STD)
    chain = Compose(crop, flip, normalize)
    generator = rng(5)
    expected = normalize(flip(crop(x, generator), generator))
    np.testing.assert_array_equal(chain(x, rng(5)), expected)
    np.testing.assert_array_equal(Compose(Compose(crop, flip), normalize)(x, rng(5)), expected)
    np.testing.assert_array_equal(Compose(normalize)(x), normalize(x))
    np.testing.assert_array_equal(Compose(normalize)(x, rng()), normalize(x))
    assert Compose()(x) is x
    assert chain.takes_rng and not Compose(normalize).takes_rng
    with pytest.raises(TypeError, match="needs an rng"):
        chain(x)
    with pytest.raises(TypeError, match="Compose: transform must be callable, got int"):
        Compose(normalize, 3)


def test_repr():
    chain = Compose(RandomCrop(4, 1), RandomHorizontalFlip(), Normalize(0.5, [1, 2]))
    assert repr(chain) == (
        "Compose(RandomCrop(size=(4, 4), padding=1), RandomHorizontalFlip(p=0.5), "
        "Normalize(mean=0.5, std=[1.0, 2.0]))"
    )

"""Colour jitter, cutout and mixup against direct formulas, their randomness, and bad input."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn.data import ColorJitter, Compose, Cutout, DataLoader, Mixup


def images(n=6, h=5, w=7, c=3, seed=0, dtype=np.uint8):
    x = np.random.default_rng(seed).integers(0, 256, (n, h, w, c), np.uint8)
    return x if dtype == np.uint8 else (x / 255).astype(dtype)


def rng(seed=0):
    return np.random.Generator(np.random.Philox(seed))


ALL = [ColorJitter(0.4, 0.3, 0.2), Cutout(3), Cutout(4, fill=1)]


@pytest.mark.parametrize("transform", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_dtype_shape_seed_and_inputs(transform, dtype):
    x = images(dtype=dtype)[:, ::-1]
    before = x.copy()
    out = transform(x, rng(1))
    assert out.dtype == dtype and out.shape == x.shape
    np.testing.assert_array_equal(out, transform(x, rng(1)))
    assert (out != transform(x, rng(2))).any()
    np.testing.assert_array_equal(x, before)
    assert transform(x[:0], rng()).shape == (0, 5, 7, 3)
    with pytest.raises(ValueError, match=r"\(N, H, W, C\), got shape \(5, 7, 3\)"):
        transform(x[0], rng())


def grey(x):
    return (x @ [0.299, 0.587, 0.114])[..., None] if x.shape[-1] == 3 else x.mean(-1)[..., None]


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_jitter_is_its_formula(channels, dtype):
    x = images(c=channels, dtype=dtype)
    top = 255 if dtype == np.uint8 else 1
    strengths = np.array([0.9, 1.5, 0.8])
    f = rng(3).uniform(np.maximum(0, 1 - strengths), 1 + strengths, (6, 3))
    b, c, s = f.T[:, :, None, None, None]
    y = np.clip(x * b, 0, top)
    y = np.clip(c * y + (1 - c) * grey(y).mean((1, 2, 3), keepdims=True), 0, top)
    y = np.clip(s * y + (1 - s) * grey(y), 0, top)
    out = ColorJitter(*strengths)(x, rng(3))
    np.testing.assert_allclose(out, y, atol=0.51 if dtype == np.uint8 else 1e-5)


def test_jitter_alone_changes_only_what_it_says():
    x = images(dtype=np.float64) * 0.4 + 0.3  # nothing is clipped
    np.testing.assert_array_equal(ColorJitter()(x, rng()), x)
    bright = ColorJitter(brightness=0.4)(x, rng()) / x
    assert np.ptp(bright, axis=(1, 2, 3)).max() < 1e-6
    assert np.ptp(bright[:, 0, 0, 0]) > 0.1  # each image its own
    contrast = ColorJitter(contrast=0.4)(x, rng())
    np.testing.assert_allclose(grey(contrast).mean((1, 2)), grey(x).mean((1, 2)), rtol=1e-6)
    saturated = ColorJitter(saturation=0.4)(x, rng())
    np.testing.assert_allclose(grey(saturated), grey(x), rtol=1e-6)
    assert np.abs(saturated - x).max() > 0.01
    single = images(c=1)
    np.testing.assert_array_equal(ColorJitter(saturation=0.9)(single, rng()), single)


@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_cutout(size):
    x = np.full((4000, 6, 9, 2), 7, np.uint8)
    out = Cutout(size, fill=3)(x, rng())
    cut = out == 3
    assert (out[~cut] == 7).all()
    np.testing.assert_array_equal(cut[..., 0], cut[..., 1])
    share = np.zeros((6, 9))  # how often a place is covered, from all centres
    for i in range(6):
        for j in range(9):
            top, left = i - size // 2, j - size // 2
            share[max(top, 0) : top + size, max(left, 0) : left + size] += 1 / 54
    np.testing.assert_allclose(cut[..., 0].mean(0), share, atol=0.03)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mixup(dtype):
    x = np.random.default_rng(0).standard_normal((40, 2, 3, 1)).astype(dtype)
    y = np.arange(40) % 5
    mixed, targets = Mixup(5, alpha=1.0)(x, y, rng(2))
    assert mixed.dtype == targets.dtype == dtype and targets.shape == (40, 5)
    r = rng(2)
    share, other = r.beta(1.0, 1.0, 40), r.permutation(40)
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
    for i in range(40):
        f = share[i]
        np.testing.assert_allclose(mixed[i], f * x[i] + (1 - f) * x[other[i]], rtol=1e-4, atol=1e-6)
        expected = f * np.eye(5)[y[i]] + (1 - f) * np.eye(5)[y[other[i]]]
        np.testing.assert_allclose(targets[i], expected, rtol=1e-4, atol=1e-6)
    # A loss of mixed targets is the mixture of the losses.
    logits = np.random.default_rng(1).standard_normal((40, 5)).astype(dtype)
    loss, mate, soft = (
        fnn.functional.cross_entropy(logits, t, reduction="none").numpy()
        for t in (y, y[other], targets)
    )
    np.testing.assert_allclose(soft, share * loss + (1 - share) * mate, rtol=1e-4)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_loader_mixes_what_was_transformed(prefetch):
    x, y = images(20), np.arange(20) % 4

    def loader(seed):
        scale = Compose(Cutout(2), lambda x: x.astype(np.float32))
        return DataLoader(
            (x, y), 8, True, transform=scale, seed=seed, prefetch=prefetch, mix=Mixup(4)
        )

    first, again, other = (list(loader(seed)) for seed in (1, 1, 2))
    for (a, s), (b, t) in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(s, t)
        assert a.dtype == np.float32 and s.shape == (len(a), 4)
    assert (first[0][0] != other[0][0]).any()


def test_trainer_learns_from_mixtures():
    r = np.random.default_rng(0)
    y = r.integers(0, 3, 200)
    x = r.standard_normal((200, 4), dtype=np.float32) + 3 * np.eye(3, 4, dtype=np.float32)[y]
    found = []
    for compile in (False, True):
        fnn.manual_seed(0)
        model = fnn.nn.Linear(4, 3)
        optimizer = fnn.optim.SGD(model.parameters(), lr=0.1)
        trainer = fnn.Trainer(model, optimizer, progress=False, compile=compile)
        (record,) = trainer.fit((x, y), 1, batch_size=20, mix=Mixup(3, 0.4))
        assert "accuracy" not in record
        trainer.fit((x, y), 4, batch_size=20, mix=Mixup(3, 0.4))
        assert trainer.evaluate((x, y))["accuracy"] > 0.9
        found.append(model.weight.numpy().copy())
    np.testing.assert_array_equal(*found)
    with pytest.raises(ValueError, match="DataLoader, which has its own mix"):
        trainer.fit(DataLoader((x, y)), 1, mix=Mixup(3))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: ColorJitter("x"), TypeError, "brightness must be a number"),
        (lambda: ColorJitter(0, -1), ValueError, "contrast must be finite and not negative"),
        (lambda: ColorJitter(0, 0, np.inf), ValueError, "saturation must be finite"),
        (lambda: Cutout(0), ValueError, "size must be at least 1"),
        (lambda: Cutout(1.5), TypeError, "size must be int"),
        (lambda: Cutout(1, np.nan), ValueError, "fill must be finite"),
        (lambda: Cutout(1, 0.5)(images(), rng()), ValueError, "fill is 0.5, images are uint8"),
        (lambda: Cutout(1, 128)(images().astype("i1"), rng()), ValueError, "128, images are int8"),
        (lambda: ColorJitter()(images().astype("f"), rng()), ValueError, "before you normalize"),
        (lambda: ColorJitter()(images().astype(int), rng()), TypeError, "got int64"),
        (lambda: Mixup(0), ValueError, "num_classes must be at least 1"),
        (lambda: Mixup(2.0), TypeError, "num_classes must be int"),
        (lambda: Mixup(2, 0), ValueError, "alpha must be positive"),
        (lambda: Mixup(2)(images(), np.zeros(6, int), rng()), TypeError, "got uint8"),
        (lambda: Mixup(2)(np.zeros((2, 2)), np.zeros(3, int), rng()), TypeError, "label for each"),
        (lambda: Mixup(2)(np.zeros((2, 2)), np.zeros(2), rng()), TypeError, "got float64"),
        (lambda: Mixup(2)(np.zeros((2, 2)), np.array([0, 2]), rng()), ValueError, "0 to 1, got"),
        (lambda: DataLoader(images(), mix=3), TypeError, "mix must be callable, got int"),
        (lambda: next(iter(DataLoader(images(), mix=lambda x, rng: ()))), ValueError, "1 arrays"),
    ],
)
def test_bad_input(make, error, match):
    with pytest.raises(error, match=match):
        make()

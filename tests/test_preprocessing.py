"""Preprocessing: statistics against oracles, streaming, degenerate data, files, scikit-learn."""

import copy
import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import fastnn as fnn
from fastnn import io
from fastnn import preprocessing as pp
from fastnn.data import DataLoader, Normalize
from fastnn.preprocessing import _base

RNG = np.random.default_rng(7)
MIX = RNG.standard_normal((6, 6))
ROWS = RNG.standard_normal((50, 6)) @ MIX + [0, 1, -3, 100, 0, 5]
IMAGES = RNG.integers(0, 256, (20, 5, 4, 3)).astype(np.uint8)
ALL = [
    pp.MeanImage(), pp.ChannelMean(255.0), pp.Standardize(), pp.Standardize("channel"), pp.PCA(),
    pp.PCA(3), pp.PCA(0.9), pp.Whiten(), pp.Whiten("zca", eps=0.1),
    pp.Compose([pp.Standardize(), pp.PCA(4), pp.Whiten(eps=0.0)]),
]  # fmt: skip


def fresh(transformer):
    return copy.deepcopy(transformer)


# ---- values -------------------------------------------------------------------------------------


def test_means():
    x = IMAGES.astype(np.float64)
    image = pp.MeanImage(divisor=2).fit(IMAGES)
    np.testing.assert_allclose(image.mean_, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(image(IMAGES), (x - x.mean(0)) / 2, rtol=1e-5, atol=1e-5)
    channel = pp.ChannelMean().fit(IMAGES)
    np.testing.assert_allclose(channel.mean_, x.mean((0, 1, 2)), rtol=1e-13)
    other = RNG.integers(0, 256, (2, 7, 9, 3)).astype(np.uint8)  # another size of image
    np.testing.assert_allclose(channel(other), other - x.mean((0, 1, 2)), rtol=1e-5, atol=1e-5)


def test_standardize():
    z = pp.Standardize().fit_transform(ROWS)
    np.testing.assert_allclose(z, (ROWS - ROWS.mean(0)) / ROWS.std(0), rtol=1e-10, atol=1e-12)
    p = pp.Standardize(per="channel").fit(IMAGES)
    np.testing.assert_allclose(p.scale_, IMAGES.std((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(p.var_, IMAGES.var((0, 1, 2)), rtol=1e-12)
    z = p(IMAGES)
    assert z.shape == IMAGES.shape
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(z, Normalize.fit(IMAGES)(IMAGES), atol=2e-6)


def test_pca_against_the_singular_values():
    p = pp.PCA(4).fit(ROWS)
    centred = ROWS - ROWS.mean(0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(p.explained_variance_, s[:4] ** 2 / 49, rtol=1e-10)
    np.testing.assert_allclose(p.explained_variance_ratio_, s[:4] ** 2 / (s**2).sum(), rtol=1e-10)
    np.testing.assert_allclose(np.abs(np.vdot(p.components_[3], vt[3])), 1, rtol=1e-10)
    assert all(row[np.abs(row).argmax()] > 0 for row in p.components_)
    np.testing.assert_allclose(p(ROWS), centred @ p.components_.T, rtol=1e-10, atol=1e-10)
    back = p.inverse_transform(p(ROWS))  # the nearest of rank 4
    np.testing.assert_allclose(np.square(back - ROWS).sum(), (s[4:] ** 2).sum(), rtol=1e-8)
    share = np.cumsum(s**2) / (s**2).sum()
    assert pp.PCA(float(share[1]) + 1e-9).fit(ROWS).n_components_ == 3
    assert pp.PCA(float(share[1]) - 1e-9).fit(ROWS).n_components_ == 2


@pytest.mark.parametrize("kind", ["pca", "zca"])
def test_whitened_data_have_the_identity_as_covariance(kind):
    z = pp.Whiten(kind, eps=0.0).fit_transform(ROWS)
    np.testing.assert_allclose(np.cov(z.T), np.eye(6), atol=1e-9)
    p = pp.Whiten(kind, eps=2.0).fit(ROWS)
    expected = p.explained_variance_ / (p.explained_variance_ + 2)
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(p(ROWS).T))[::-1], expected, rtol=1e-8)


def test_zca_is_the_symmetric_square_root_and_keeps_shapes():
    z = pp.Whiten("zca", eps=0.5).fit_transform(ROWS)
    values, vectors = np.linalg.eigh(np.cov(ROWS.T) + 0.5 * np.eye(6))
    root = vectors / np.sqrt(values) @ vectors.T
    np.testing.assert_allclose(z, (ROWS - ROWS.mean(0)) @ root, rtol=1e-8, atol=1e-9)
    assert pp.Whiten("zca").fit_transform(IMAGES).shape == IMAGES.shape
    assert pp.Whiten("pca").fit_transform(IMAGES).shape == (20, 60)


@pytest.mark.parametrize("p", [*ALL[:5], *ALL[7:9]], ids=repr)  # those that lose nothing
def test_inverse_leads_back(p):
    p = fresh(p).fit(ROWS)
    np.testing.assert_allclose(p.inverse_transform(p(ROWS)), ROWS, rtol=1e-9, atol=1e-9)


def test_compose_fits_each_step_to_what_the_others_make():
    p = pp.Compose([pp.Standardize(), pp.PCA(2), pp.Standardize()])
    z = p.fit_transform(ROWS)
    first = pp.Standardize().fit_transform(ROWS)
    second = pp.PCA(2).fit_transform(first)
    np.testing.assert_array_equal(z, pp.Standardize().fit_transform(second))
    assert p.inverse_transform(z).shape == ROWS.shape


# ---- dtypes and layouts -------------------------------------------------------------------------


@pytest.mark.parametrize("p", ALL, ids=repr)
def test_dtypes_and_strides_and_inputs_stay(p):
    p = fresh(p).fit(ROWS)
    assert p(ROWS).dtype == np.float64
    assert p(ROWS.astype(np.float32)).dtype == p(ROWS.astype(np.int32)).dtype == np.float32
    wide = np.repeat(ROWS, 2, axis=1)[:, ::2]
    wide.flags.writeable = False
    np.testing.assert_array_equal(p(wide), p(ROWS))
    np.testing.assert_array_equal(fresh(p).fit(np.asfortranarray(ROWS))(ROWS), p(ROWS))
    np.testing.assert_array_equal(wide, ROWS)
    np.testing.assert_array_equal(p(fnn.tensor(ROWS)), p(ROWS))
    assert len(p(ROWS[:0])) == 0
    np.testing.assert_array_equal(p(ROWS[3:5]), p(ROWS)[3:5])  # whatever else is in the batch


# ---- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [ROWS, IMAGES], ids=["rows", "images"])
@pytest.mark.parametrize("p", [p for p in ALL if hasattr(p, "partial_fit")], ids=repr)
def test_parts_give_the_statistics_of_the_whole(p, data, monkeypatch):
    whole = fresh(p).fit(data)
    parts = fresh(p)
    for part in (data[:1], data[1:7], data[7:8], data[8:]):
        parts.partial_fit(part)
    assert parts.n_samples_seen_ == whole.n_samples_seen_
    np.testing.assert_allclose(parts(data), whole(data), rtol=1e-7, atol=2e-5)
    monkeypatch.setattr(_base, "_BLOCK", 24)  # fit works by parts, too
    np.testing.assert_allclose(fresh(p).fit(data)(data), whole(data), rtol=1e-7, atol=2e-5)
    np.testing.assert_allclose(parts.fit(ROWS[:30]).mean_, fresh(p).fit(ROWS[:30]).mean_)


def test_the_same_parts_give_the_same_bits():
    a, b = (pp.Whiten("zca") for _ in range(2))
    for part in (ROWS[:9], ROWS[9:]):
        a.partial_fit(part)
        b.partial_fit(part)
    np.testing.assert_array_equal(a(ROWS), b(ROWS))


# ---- degenerate data ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 + 0.1, -3e-5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_features(value, dtype):
    x = ROWS.astype(dtype)
    x[:, 2] = value
    p = pp.Standardize()
    for part in (x[:11], x[11:12], x[12:]):
        p.partial_fit(part)
    assert p.var_[2] == 0.0
    assert p.scale_[2] == 1.0
    assert p.mean_[2] == x[0, 2]
    assert not p(x)[:, 2].any()
    for kind in ("pca", "zca"):
        z = pp.Whiten(kind).fit_transform(x)
        assert np.isfinite(z).all()
        assert np.abs(z).max() < 10
    assert np.isfinite(pp.PCA().fit_transform(x)).all()


def test_a_large_mean_in_float32():
    x = (1e6 + RNG.standard_normal((4000, 3)).round(2)).astype(np.float32)
    exact = x.astype(np.longdouble)
    p = pp.Standardize().fit(x)
    np.testing.assert_allclose(p.mean_, exact.mean(0).astype(float), rtol=1e-15)
    np.testing.assert_allclose(p.scale_, exact.std(0).astype(float), rtol=1e-12)
    z = p(x)
    np.testing.assert_allclose(z.mean(0, dtype=float), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(0, dtype=float), 1, rtol=1e-6)
    w = pp.Whiten(eps=0.0).fit_transform(x)
    np.testing.assert_allclose(np.cov(w.T.astype(float)), np.eye(3), atol=1e-5)


@pytest.mark.parametrize("kind", ["pca", "zca"])
def test_fewer_samples_than_features(kind):
    x = RNG.standard_normal((4, 30))
    for eps in (0.0, 1e-5):
        p = pp.Whiten(kind, eps=eps).fit(x)
        assert (p.explained_variance_ > 0).sum() == 3
        other = RNG.standard_normal((100, 30))  # directions that training data never had
        assert np.abs(p(other)).max() < 20
        np.testing.assert_allclose(p.inverse_transform(p(x)), x, atol=1e-6)
    assert pp.PCA().fit(x).n_components_ == 4
    assert np.isfinite(pp.PCA().fit_transform(x[:1])).all()
    with pytest.raises(ValueError, match="n_components is 5, but 4 samples of 30 features have 4"):
        pp.PCA(5).fit(x)


def test_values_too_large_to_be_squared():
    with pytest.raises(ValueError, match="too large"), np.errstate(over="ignore"):
        pp.Standardize().fit(ROWS * 1e200)


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", ALL, ids=repr)
def test_transform_before_fit(p):
    for method in (p.transform, p.inverse_transform, p):
        with pytest.raises(pp.NotFittedError, match="fit it to training data first"):
            method(ROWS)
    assert not hasattr(p, "mean_")


@pytest.mark.parametrize("p", ALL, ids=repr)
def test_bad_data(p):
    p = fresh(p).fit(ROWS)
    spoiled = ROWS.copy()
    spoiled[4, 2] = np.nan
    for method in (p.transform, fresh(p).fit):
        with pytest.raises(ValueError, match=r"value at \(4, 2\) is nan"):
            method(spoiled)
        with pytest.raises(TypeError, match="array of numbers, got <U1"):
            method(np.array([["a"]]))
        with pytest.raises(ValueError, match=r"got shape \(6,\)"):
            method(ROWS[0])
    with pytest.raises(ValueError, match=r"\.fit: there are no values in shape \(0, 6\)"):
        fresh(p).fit(ROWS[:0])
    with pytest.raises(ValueError, match="was fitted to"):
        p.transform(ROWS[:, :5])
    with pytest.raises(ValueError, match=r"expected|was fitted to"):
        p.inverse_transform(np.zeros((2, 9)))


def test_a_spoiled_part_leaves_the_sums_as_they_were():
    p = pp.Standardize().partial_fit(ROWS)
    before = p.mean_.copy()
    spoiled = ROWS.copy()
    spoiled[-1, -1] = np.inf
    for bad in (spoiled, ROWS[:, :3]):
        with pytest.raises(ValueError, match=r"is inf|was fitted to"):
            p.partial_fit(bad)
    np.testing.assert_array_equal(p.mean_, before)
    assert p.n_samples_seen_ == 50


@pytest.mark.parametrize(
    ("p", "error", "match"),
    [
        (pp.MeanImage(0.0), ValueError, "divisor must be positive"),
        (pp.ChannelMean("x"), TypeError, "divisor must be a number"),
        (pp.Standardize("row"), ValueError, "per must be 'feature' or 'channel'"),
        (pp.PCA(0), ValueError, "n_components must be"),
        (pp.PCA(1.5), ValueError, "n_components must be"),
        (pp.PCA(True), TypeError, "n_components must be a number"),
        (pp.Whiten("lda"), ValueError, "kind must be 'pca' or 'zca'"),
        (pp.Whiten(eps=-1), ValueError, "eps must be finite and not negative"),
        (pp.Whiten(eps=np.nan), ValueError, "eps must be finite and not negative"),
        (pp.Compose([]), TypeError, "steps must be a list"),
        (pp.Compose([3]), TypeError, r"steps\[0\] must be an instance with a transform, got 3"),
        (pp.Compose([pp.PCA]), TypeError, r"steps\[0\] must be an instance"),
        (pp.Compose([ALL[2]] * 2), ValueError, r"steps\[1\] is the same object"),
    ],
)
def test_bad_parameters(p, error, match):
    with pytest.raises(error, match=match):
        p.fit(ROWS)


def test_parameters_by_name():
    p = pp.Whiten("zca", eps=0.5)
    assert p.get_params() == {"kind": "zca", "eps": 0.5}
    assert p.set_params(eps=1.0) is p
    assert repr(p) == "Whiten(kind='zca', eps=1.0)"
    with pytest.raises(ValueError, match="no parameter 'k', known: kind, eps"):
        p.set_params(k=3)


def test_parameters_may_change_after_the_fit():
    p = pp.Whiten("pca", eps=1e-5).fit(IMAGES)
    p(IMAGES)  # keeps its matrix
    p.set_params(kind="zca", eps=1.0)
    wanted = pp.Whiten("zca", eps=1.0).fit(IMAGES)
    np.testing.assert_array_equal(p(IMAGES), wanted(IMAGES))
    np.testing.assert_array_equal(p.inverse_transform(IMAGES), wanted.inverse_transform(IMAGES))
    p.eps = -1.0
    with pytest.raises(ValueError, match="eps must be finite and not negative"):
        p(IMAGES)
    for first, then in (("feature", "channel"), ("channel", "feature")):
        p = pp.Standardize(first).fit(IMAGES).set_params(per=then)
        for method in (p, p.inverse_transform, p.partial_fit(IMAGES)):
            with pytest.raises(ValueError, match="`per` was changed since the fit"):
                method(IMAGES)
        p.fit(IMAGES)
        np.testing.assert_array_equal(p(IMAGES), pp.Standardize(then).fit(IMAGES)(IMAGES))


# ---- with models and in files -------------------------------------------------------------------


@pytest.mark.parametrize("p", [*ALL, Normalize([0.1, 0.5, 0.2], 0.25)], ids=repr)
def test_saved_with_a_model_and_the_same_bits_after(p, tmp_path):
    x = IMAGES if isinstance(p, Normalize) else ROWS
    p = p if isinstance(p, Normalize) else fresh(p).fit(ROWS)
    path = tmp_path / "m.safetensors"
    model = fnn.nn.Linear(6, 2)
    fnn.save(model, path, {"a": 1}, preprocessing=p)
    again = fnn.load_preprocessing(path)
    assert type(again) is type(p)
    assert repr(again) == repr(p)
    np.testing.assert_array_equal(again(x), p(x))
    if hasattr(p, "inverse_transform"):
        np.testing.assert_array_equal(again.inverse_transform(p(x)), p.inverse_transform(p(x)))
    assert io.read_metadata(path) == {"a": 1}
    np.testing.assert_array_equal(fnn.load(path).weight.numpy(), model.weight.numpy())
    first = path.read_bytes()
    fnn.save(fnn.load(path), path, {"a": 1}, preprocessing=again)
    assert path.read_bytes() == first
    if hasattr(again, "partial_fit"):
        assert again.n_samples_seen_ == p.n_samples_seen_
        with pytest.raises(RuntimeError, match="has no sums"):
            again.partial_fit(ROWS)
        assert again.fit(ROWS[:20]).n_samples_seen_ == 20


def test_what_cannot_be_saved_leaves_the_file(tmp_path):
    path = tmp_path / "m.safetensors"
    model = fnn.nn.Linear(6, 2)

    class Mine(pp.Standardize):
        pass

    for p, error in (
        (pp.PCA(), pp.NotFittedError), (Mine().fit(ROWS), TypeError), (np.log1p, TypeError),
        (pp.Compose([pp.Standardize().fit(ROWS), Mine().fit(ROWS)]), TypeError),
    ):  # fmt: skip
        with pytest.raises(error, match="save"):
            fnn.save(model, path, preprocessing=p)
    assert not path.exists()
    fnn.save(model, path)
    with pytest.raises(ValueError, match="was saved without preprocessing"):
        fnn.load_preprocessing(path)
    with pytest.raises(FileNotFoundError):
        fnn.load_preprocessing(tmp_path / "none")


def edited(path, change):
    """Writes the file anew with other content."""
    arrays = load_file(path)
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        content = json.loads(json.loads(file.read(size))["__metadata__"]["fastnn"])
    change(content["preprocessing"], arrays)
    save_file(arrays, path, {"fastnn": json.dumps(content)})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d, a: d.update({"class": "os.system"}), "unknown preprocessing 'os.system'"),
        (lambda d, a: d.update({"class": "_Statistic"}), "unknown preprocessing"),
        (lambda d, a: d["params"].update(kind="x"), "kind must be"),
        (lambda d, a: d["params"].update(more=1), "broken"),
        (lambda d, a: d.update(shape=[5]), "must be finite float64 of shape"),
        (lambda d, a: d.update(shape="abc"), "broken"),
        (lambda d, a: a.pop(".preprocessing.mean"), "broken"),
        (lambda d, a: a.update({".preprocessing.mean": np.full(6, np.nan)}), "must be finite"),
        (lambda d, a: a.update({".preprocessing.mean": np.zeros(6, np.float32)}), "float64"),
    ],
)
def test_broken_files(change, match, tmp_path):
    path = tmp_path / "m.safetensors"
    fnn.save(fnn.nn.Linear(6, 2), path, preprocessing=pp.Whiten().fit(ROWS))
    edited(path, change)
    with pytest.raises(ValueError, match=match):
        fnn.load_preprocessing(path)
    fnn.load(path)


def test_a_model_whose_layer_is_called_preprocessing(tmp_path):
    model = fnn.nn.Sequential({"preprocessing": fnn.nn.Linear(6, 2)})
    path = tmp_path / "m.safetensors"
    fnn.save(model, path, preprocessing=pp.MeanImage().fit(ROWS))
    loaded = fnn.load(path)
    np.testing.assert_array_equal(loaded(ROWS.astype("f")).numpy(), model(ROWS.astype("f")).numpy())
    assert fnn.load_preprocessing(path)(ROWS).shape == ROWS.shape


def test_trainer_and_loader_take_them(tmp_path):
    labels = (ROWS[:, 0] > 0).astype(np.int64)
    x = ROWS.astype(np.float32)
    p = pp.Whiten("zca").fit(x)
    fnn.manual_seed(0)
    model = fnn.nn.Linear(6, 2)
    trainer = fnn.Trainer(
        model, fnn.optim.SGD(model.parameters(), lr=0.5), preprocess=p, progress=False
    )
    trainer.fit((x, labels), 20, batch_size=10)
    assert trainer.evaluate((x, labels))["accuracy"] > 0.9
    fnn.save(model, tmp_path / "m", preprocessing=p)
    again = fnn.Trainer(
        fnn.load(tmp_path / "m"),
        trainer.optimizer,
        preprocess=fnn.load_preprocessing(tmp_path / "m"),
    )
    np.testing.assert_array_equal(again.predict(x), trainer.predict(x))
    (batch,) = next(iter(DataLoader(x, 10, transform=p)))
    np.testing.assert_array_equal(batch, p(x[:10]))


def test_copies_and_pickles():
    p = pp.PCA(2).fit(ROWS)
    for again in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        np.testing.assert_array_equal(again(ROWS), p(ROWS))


# ---- scikit-learn -------------------------------------------------------------------------------


def test_agrees_with_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    scaler = pytest.importorskip("sklearn.preprocessing").StandardScaler().fit(ROWS)
    ours = pp.Standardize().fit(ROWS)
    for name in ("mean_", "var_", "scale_", "n_samples_seen_", "n_features_in_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(scaler, name), rtol=1e-12)
    np.testing.assert_allclose(ours(ROWS), scaler.transform(ROWS), rtol=1e-9, atol=1e-12)
    for data in (ROWS, ROWS[:4], IMAGES.reshape(20, -1).astype(float)):
        theirs = decomposition.PCA(3, svd_solver="full").fit(data)
        pca = pp.PCA(3).fit(data)
        sign = np.sign((pca.components_ * theirs.components_).sum(1))
        for name in ("explained_variance_", "explained_variance_ratio_", "mean_"):
            np.testing.assert_allclose(getattr(pca, name), getattr(theirs, name), rtol=1e-8)
        np.testing.assert_allclose(pca(data), theirs.transform(data) * sign, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(
            pca.inverse_transform(pca(data)),
            theirs.inverse_transform(theirs.transform(data)), rtol=1e-7, atol=1e-7,
        )  # fmt: skip
    pixels = IMAGES.reshape(-1, 3).astype(float)
    scaler = type(scaler)().fit(pixels)
    wanted = scaler.transform(pixels).reshape(IMAGES.shape)
    channels = pp.Standardize("channel").fit(IMAGES)
    for name in ("mean_", "var_", "scale_", "n_samples_seen_"):
        np.testing.assert_allclose(getattr(channels, name), getattr(scaler, name), rtol=1e-12)
    np.testing.assert_allclose(channels(IMAGES), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(Normalize.fit(IMAGES)(IMAGES), wanted, rtol=1e-5, atol=2e-6)
    centred = (scaler.set_params(with_std=False).fit_transform(pixels) / 255).reshape(IMAGES.shape)
    np.testing.assert_allclose(pp.ChannelMean(255).fit(IMAGES)(IMAGES), centred, atol=1e-7)
    flat = IMAGES.reshape(20, -1).astype(float)
    centred = scaler.fit_transform(flat).reshape(IMAGES.shape)
    np.testing.assert_allclose(pp.MeanImage().fit(IMAGES)(IMAGES), centred, rtol=1e-6, atol=1e-5)
    parts, peer = pp.Standardize(), type(scaler)()
    for part in np.array_split(ROWS, 7):
        parts.partial_fit(part)
        peer.partial_fit(part)
        for name in ("mean_", "var_", "n_samples_seen_"):
            np.testing.assert_allclose(getattr(parts, name), getattr(peer, name), rtol=1e-10)
    theirs = decomposition.PCA(whiten=True, svd_solver="full").fit_transform(ROWS)
    white = pp.Whiten(eps=0.0).fit_transform(ROWS)
    np.testing.assert_allclose(np.abs(white), np.abs(theirs), rtol=1e-7, atol=1e-9)
    pca = decomposition.PCA(svd_solver="full").fit(ROWS)
    scaled = pca.transform(ROWS) / np.sqrt(pca.explained_variance_ + 0.1)
    zca = pp.Whiten("zca", eps=0.1).fit_transform(ROWS)
    np.testing.assert_allclose(zca, scaled @ pca.components_, rtol=1e-7, atol=1e-9)
    for share in (0.5, 0.9, 0.99):
        theirs = decomposition.PCA(share, svd_solver="full").fit(ROWS)
        assert pp.PCA(share).fit(ROWS).n_components_ == theirs.n_components_


@pytest.mark.filterwarnings("default")
def test_works_inside_scikit_learn():
    base = pytest.importorskip("sklearn.base")
    from scipy.sparse import csr_array
    from sklearn.exceptions import NotFittedError
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.utils.validation import check_is_fitted

    for p in ALL:
        again = base.clone(fresh(p).fit(ROWS))
        assert repr(again) == repr(p)
        with pytest.raises((NotFittedError, pp.NotFittedError)):
            again.transform(ROWS)
        with pytest.raises(NotFittedError):
            check_is_fitted(again)
        check_is_fitted(again.fit(ROWS))
        with pytest.raises(TypeError, match="sparse data are not supported"):
            again.transform(csr_array(ROWS))
    labels = (ROWS[:, 0] > 0).astype(int)
    pipe = make_pipeline(pp.Standardize(), pp.PCA(), LogisticRegression())
    assert pipe.fit(ROWS, labels).score(ROWS, labels) > 0.9
    search = GridSearchCV(pipe, {"pca__n_components": [1, 6]}, cv=3).fit(ROWS, labels)
    assert search.best_params_["pca__n_components"] == 6

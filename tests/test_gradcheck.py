"""gradcheck passes right gradients, also beside kinks, and fails wrong ones."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn
from fastnn.gradcheck import GradcheckError, gradcheck
from fastnn.tensor import Tensor, record

RNG = np.random.default_rng(3)
X = RNG.standard_normal((4, 5))


def planted(value, gradient):
    """A function of x (and nothing else) with the given value and backward, both in NumPy."""

    def fn(x):
        a = x.numpy().copy()

        def backward(dy):
            return (fnn.tensor(gradient(a, np.asarray(dy)))._array,)

        return record("planted", fnn.tensor(value(a))._array, (x,), backward)

    return fn


def cube(a):
    return a**3


def right(a, dy):
    return 3 * a**2 * dy


def one_element_wrong(a, dy):
    g = right(a, dy)
    g[2, 3] *= 1.5
    return g


WRONG = {
    "scaled": lambda a, dy: 1.01 * right(a, dy),
    "zero": lambda a, dy: 0 * dy,
    "sign": lambda a, dy: -right(a, dy),
    "missing factor": lambda a, dy: a**2 * dy,
    "ignores dy": lambda a, dy: 3 * a**2,
    "one element": one_element_wrong,
    "shifted": lambda a, dy: np.roll(right(a, dy), 1, axis=1),
    "nan": lambda a, dy: right(a, dy) * np.nan,
    "infinite": lambda a, dy: right(a, dy) / 0.0,
    "one row": lambda a, dy: right(a, dy)[:1],
    "flat": lambda a, dy: right(a, dy).ravel(),
    "float32": lambda a, dy: right(a, dy).astype(np.float32),
}


def test_right_gradient_passes():
    report = gradcheck(planted(cube, right), X)
    assert report
    assert report.directions >= 3
    assert report.kinks == []


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("size", [1.0, 1e-6, 1e4])
def test_wrong_gradients_fail_at_every_size(name, size):
    fn, factor = planted(cube, WRONG[name]), float(size)
    with np.errstate(all="ignore"), pytest.raises((GradcheckError, TypeError)):
        gradcheck(lambda x: fn(x) * factor, X)


def test_right_gradients_pass_at_every_size():
    for size in (1e-6, 1e-3, 1e4):
        gradcheck(lambda x, size=size: x.exp() * size, X)


def test_transposed_gradient_fails():
    a = RNG.standard_normal((3, 3))

    def product(x, transpose):
        y = x.numpy() @ a
        array = fnn.tensor(y)._array

        def backward(dy):
            g = np.asarray(dy) @ (a if transpose else a.T)
            return (fnn.tensor(g)._array,)

        return record("product", array, (x,), backward)

    x = RNG.standard_normal((3, 3))
    gradcheck(lambda x: product(x, False), x)
    with pytest.raises(GradcheckError, match="wrong along a direction"):
        gradcheck(lambda x: product(x, True), x)


def test_missing_term_fails():
    def fn(x):
        return x * x + (x * 3).detach()

    with pytest.raises(GradcheckError):
        gradcheck(fn, X)


def test_missing_input_is_named_in_the_report():
    with pytest.raises(
        GradcheckError, match=r"gradient of inputs\[1\] is wrong(.|\n)*analytic"
    ) as e:
        gradcheck(lambda a, b: a * b + b.detach(), [X, X + 1])
    for part in ("numeric", "relative error", "atol", "rtol"):
        assert part in str(e.value)


def test_slopes_lost_in_rounding_are_not_a_pass():
    def wrong(x):  # by a factor of 2
        return (x.detach() * x).sum() + 1e11

    with pytest.raises(GradcheckError, match="rounding of the outputs hides slopes"):
        gradcheck(wrong, X)
    with pytest.raises(GradcheckError, match="is wrong"):
        gradcheck(lambda x: (x.detach() * x).sum(), X)
    assert gradcheck(lambda x: (x * x).sum() + 1e4, X)


def test_everything_zero_is_not_a_pass():
    with pytest.raises(GradcheckError, match="nothing was checked"):
        gradcheck(lambda x: x * 0.0, X)
    with pytest.raises(GradcheckError, match="nothing was checked"):
        gradcheck(lambda x: fnn.tensor(X), X)


def test_gradcheck_fails_are_assertion_errors():
    assert issubclass(GradcheckError, AssertionError)


@pytest.mark.parametrize("seed", range(5))
def test_kinked_functions_pass_away_from_their_kinks(seed):
    x = np.random.default_rng(seed).standard_normal((50, 40))
    gradcheck(lambda x: x.relu(), x)
    gradcheck(lambda x: x.abs(), x)
    gradcheck(lambda x: fnn.maximum(x, 0.3 * x), x)


def test_a_kink_within_the_step_is_stepped_around_and_reported():
    x = X.copy()
    x[1, 1] = 3e-9  # closer than the step of most directions, not than smaller ones
    report = gradcheck(lambda x: x.relu() * 2.0, x, eps=1e-6)
    assert any("inputs[0]" in kink for kink in report.kinks)


def test_a_wrong_gradient_is_not_excused_by_kinks():
    x = X.copy()
    x[1, 1] = 3e-9

    def wrong(x):
        return x.relu() * 2.0 + (x.relu() * 0.1).detach()

    with pytest.raises(GradcheckError):
        gradcheck(wrong, x)


def test_at_a_kink_the_report_says_so():
    with pytest.raises(GradcheckError, match="kinks are suspected"):
        gradcheck(lambda x: x.relu(), np.zeros(3))


def test_several_inputs_and_outputs():
    def fn(a, b):
        return a @ b, (a * a).sum(), fnn.tensor([1, 2])

    gradcheck(fn, (X, RNG.standard_normal((5, 2))))

    def wrong(a, b):
        return a @ b, (a * a).sum() + a.detach().sum()

    with pytest.raises(GradcheckError, match=r"inputs\[0\]"):
        gradcheck(wrong, (X, RNG.standard_normal((5, 2))))


def test_only_inputs_that_require_a_gradient_are_checked_if_any_does():
    a = fnn.tensor(X, requires_grad=True)
    fixed = fnn.tensor(X + 3)
    gradcheck(lambda a, b: a * b.detach(), (a, fixed))
    with pytest.raises(GradcheckError):
        gradcheck(lambda a, b: a * b.detach(), (fnn.tensor(X), fixed))


def test_inputs_and_gradients_are_left_as_they_were():
    x = fnn.tensor(X, requires_grad=True)
    x.grad = fnn.tensor(X)
    model = nn.Linear(5, 2).double()
    before = model.weight.numpy().copy()
    gradcheck(model, x)
    np.testing.assert_array_equal(x.numpy(), X)
    np.testing.assert_array_equal(x.grad.numpy(), X)
    np.testing.assert_array_equal(model.weight.numpy(), before)
    assert model.weight.grad is None


def test_integer_inputs_pass_through():
    labels = np.array([0, 1, 2, 4])
    gradcheck(lambda x, t: fnn.functional.cross_entropy(x, t), (X, labels))


def test_float32_is_a_type_error():
    with pytest.raises(TypeError, match=r"inputs\[0\] must be float64"):
        gradcheck(lambda x: x, X.astype(np.float32))
    with pytest.raises(TypeError, match="weight must be float64"):
        gradcheck(nn.Linear(5, 2), X)
    with pytest.raises(TypeError, match="must return Tensors"):
        gradcheck(lambda x: 3.0, X)
    with pytest.raises(ValueError, match="no float64 input"):
        gradcheck(lambda x: x, np.arange(3))
    with pytest.raises(ValueError, match="eps"):
        gradcheck(lambda x: x, X, eps=0.0)


def test_random_functions_are_refused():
    with pytest.raises(GradcheckError, match="different results"):
        gradcheck(nn.Dropout(0.5), X)


def test_dropout_passes_where_it_draws_the_same_numbers():
    def fn(x):
        fnn.manual_seed(1)
        return fnn.functional.dropout(x, 0.4)

    gradcheck(fn, RNG.standard_normal((20, 20)))


class Branches(nn.Module):
    """Residual, concatenation, shared weights, a branch that rejoins by a product."""

    def __init__(self) -> None:
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.block = nn.Residual(
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 4, 1)),
            activation="relu",
        )
        self.shared = nn.Linear(4, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.stem(x).relu())
        pooled = fnn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        once = self.shared(pooled)
        twice = self.shared(once.sigmoid())
        return self.head(fnn.cat([once, twice * pooled], 1))


def test_a_network_that_branches_and_joins_passes():
    fnn.manual_seed(0)
    model = Branches().double()
    report = gradcheck(model, RNG.standard_normal((2, 6, 6, 2)))
    assert report.directions >= 3 * (1 + len(list(model.parameters())))


def test_a_network_with_one_wrong_parameter_fails():
    fnn.manual_seed(0)
    model = Branches().double()
    model.shared.bias.register_hook(lambda g: g * 0.5)  # as if one of two uses were forgotten
    with pytest.raises(GradcheckError, match=r"shared\.bias"):
        gradcheck(model, RNG.standard_normal((2, 6, 6, 2)))


# ---- reports ------------------------------------------------------------------------------------


def element_wrong(index, factor):
    def gradient(a, dy):
        g = right(a, dy)
        g[index] *= factor
        return g

    return planted(cube, gradient)


@pytest.mark.parametrize("shape", [(4, 5), (30, 40), (7, 3, 3, 11)])
def test_the_worst_element_is_found(shape):
    rng = np.random.default_rng(1)
    x = rng.uniform(0.5, 2.0, shape)
    wrong = tuple(int(n) for n in rng.integers(0, shape))
    fn = element_wrong(wrong, 3.0)
    report = gradcheck(lambda x: fn(x).sum(), x, report=True)
    assert not report
    (variable,) = report.variables
    assert variable.worst.index == wrong
    np.testing.assert_allclose(variable.worst.numeric, 3 * x[wrong] ** 2, rtol=1e-6)
    np.testing.assert_allclose(variable.worst.analytic, 9 * x[wrong] ** 2, rtol=1e-12)
    assert variable.worst.relative_error == pytest.approx(2 / 3, rel=1e-5)
    with pytest.raises(GradcheckError) as error:
        gradcheck(lambda x: fn(x).sum(), x)
    assert f"worst element          {wrong} of {shape}" in str(error.value)
    assert not variable.worst.kink


def test_a_report_goes_through_all_variables():
    fnn.manual_seed(0)
    model = Branches().double()
    x = RNG.standard_normal((2, 6, 6, 2))
    report = gradcheck(model, x, report=True)
    assert report
    names = ["inputs[0]", *(name for name, _ in model.named_parameters())]
    assert [v.name for v in report.variables] == names
    assert all(v.relative_error < 1e-4 and v.compared and v.worst for v in report.variables)
    lines = str(report).splitlines()
    assert len(lines) == 1 + len(names)
    assert all("ok" in line and name in line for line, name in zip(lines[1:], names, strict=True))
    model.shared.bias.register_hook(lambda g: g * 0.5)
    model.head.weight.register_hook(lambda g: -g)
    report = gradcheck(model, x, report=True)
    assert not report
    assert [v.name for v in report.variables if v.error] == ["shared.bias", "head.weight"]
    assert str(report).count("WRONG") == 2
    assert "gradient of shared.bias is wrong" in report.error
    assert model.head.weight.grad is None


def test_a_report_of_a_loss_and_of_a_kink():
    labels = np.array([0, 1, 2, 4])
    report = gradcheck(nn.CrossEntropyLoss(label_smoothing=0.1), (X, labels), report=True)
    assert report
    assert report.variables[0].compared == X.size
    x = X.copy()
    x[2, 1] = 0.0
    report = gradcheck(lambda x: x.relu(), x, report=True)
    assert not report
    worst = report.variables[0].worst
    assert worst.index == (2, 1)
    assert worst.kink
    assert "kink?" in str(report)
    assert "at (2, 1) the slopes to the left and right differ" in report.error


def test_a_report_of_what_cannot_be_checked():
    report = gradcheck(lambda x: x * 0.0, X, report=True)
    assert not report
    assert "nothing was checked" in str(report)
    assert "eval()" in gradcheck(nn.Dropout(0.5), X, report=True).error


def test_buffers_are_left_as_they_were():
    model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)).double()
    before = {k: t.numpy().copy() for k, t in model.state_dict().items()}
    assert gradcheck(model, X)
    for name, t in model.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[name])

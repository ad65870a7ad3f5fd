"""Update rules against their formulas in float64; targets, threads, state, penalties, errors."""

import copy
import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn, optim

SHAPES = [(3,), (4, 5), (), (70, 331), (0, 4), (20_001,)]


def penalized(p, g, options):
    """The gradient that a rule sees."""
    g = -g if options.get("maximize") else g
    decay = 0.0 if options.get("decoupled_weight_decay") else options.get("weight_decay", 0.0)
    return g + decay * p + options.get("l1", 0.0) * np.sign(p)


def decayed(p, options):
    if not options.get("decoupled_weight_decay"):
        return p
    return p - options["lr"] * options["weight_decay"] * p


def adam(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, amsgrad=False, **options):
    options["lr"] = lr
    m = v = top = np.zeros_like(p)
    for k, raw in enumerate(gradients, 1):
        g = penalized(p, raw, options)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        top = np.maximum(top, v)
        used = (top if amsgrad else v) / (1 - betas[1] ** k)
        step = lr * m / (1 - betas[0] ** k) / (np.sqrt(used) + eps)
        p = decayed(p, options) - step
    return p


def adamw(p, gradients, weight_decay=1e-2, **options):
    return adam(p, gradients, weight_decay=weight_decay, decoupled_weight_decay=True, **options)


def nadam(
    p, gradients, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, momentum_decay=4e-3, **options
):  # fmt: skip
    options["lr"] = lr
    m = v = np.zeros_like(p)
    product = 1.0
    for k, raw in enumerate(gradients, 1):
        g = penalized(p, raw, options)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        now, after = (
            betas[0] * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in (k, k + 1)
        )  # fmt: skip
        product *= now
        ahead = after * m / (1 - product * after) + (1 - now) * g / (1 - product)
        p = decayed(p, options) - lr * ahead / (np.sqrt(v / (1 - betas[1] ** k)) + eps)
    return p


def rmsprop(
    p, gradients, lr=1e-2, alpha=0.99, eps=1e-8, momentum=0.0, centered=False, **options
):  # fmt: skip
    v = a = b = np.zeros_like(p)
    for raw in gradients:
        g = penalized(p, raw, options)
        v = alpha * v + (1 - alpha) * g**2
        a = alpha * a + (1 - alpha) * g
        b = momentum * b + g / (np.sqrt(v - a**2 if centered else v) + eps)
        p = p - lr * b
    return p


def adagrad(
    p, gradients, lr=1e-2, lr_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, **options
):  # fmt: skip
    total = np.full_like(p, initial_accumulator_value)
    for k, raw in enumerate(gradients):
        g = penalized(p, raw, options)
        total = total + g**2
        p = p - lr / (1 + k * lr_decay) * g / (np.sqrt(total) + eps)
    return p


def adadelta(p, gradients, lr=1.0, rho=0.9, eps=1e-6, **options):
    v = a = np.zeros_like(p)
    for raw in gradients:
        g = penalized(p, raw, options)
        v = rho * v + (1 - rho) * g**2
        x = np.sqrt(a + eps) / np.sqrt(v + eps) * g
        a = rho * a + (1 - rho) * x**2
        p = p - lr * x
    return p


def sgd(p, gradients, lr=1e-3, momentum=0.0, **options):
    b = np.zeros_like(p)
    for raw in gradients:
        b = momentum * b + penalized(p, raw, options)
        p = p - lr * b
    return p


REFERENCES = {
    "SGD": sgd, "Adam": adam, "AdamW": adamw, "NAdam": nadam, "RMSprop": rmsprop,
    "Adagrad": adagrad, "Adadelta": adadelta,
}  # fmt: skip
ELASTIC = {"l1": 0.2, "weight_decay": 0.1}
CASES = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, **ELASTIC}),
    ("SGD", {"lr": 0.1, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.5, 0.9), "amsgrad": True, **ELASTIC}),
    ("AdamW", {"lr": 0.05, "maximize": True, "l1": 0.1}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.05, "momentum_decay": 0.1, "decoupled_weight_decay": True, **ELASTIC}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.8, "momentum": 0.7, "centered": True, "eps": 1e-2, **ELASTIC}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.2, "maximize": True}),
    ("Adagrad", {"lr": 0.1, **ELASTIC}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.5, "eps": 1e-3, **ELASTIC}),
]


def test_every_rule_has_a_formula():
    rules = {name for name in dir(optim) if isinstance(getattr(optim, name), type)}
    assert {*REFERENCES, "LBFGS", "Optimizer"} == rules  # L-BFGS has a file of its own
    assert {*REFERENCES} == {name for name, _ in CASES}


@pytest.fixture(params=_core.runnable_targets())
def target(request):
    before = _core.current_target()
    _core.set_target(request.param)
    yield request.param
    _core.set_target(before)


def trained(name, options, starts, gradients):
    params = [nn.Parameter(fnn.tensor(a)) for a in starts]
    optimizer = getattr(optim, name)(params, **options)
    for step in gradients:
        for p, g in zip(params, step, strict=True):
            p.grad = fnn.tensor(g)
        optimizer.step()
    return [p.numpy() for p in params]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps_follow_the_formula_at_any_thread_count(name, options, dtype, target):
    rng = np.random.default_rng(7)
    starts = [rng.standard_normal(s).astype(dtype) for s in SHAPES]
    gradients = [[rng.standard_normal(s).astype(dtype) for s in SHAPES] for _ in range(4)]
    if "l1" in options:
        starts[0][1] = 0.0  # where its derivative is 0
    threads = fnn.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            fnn.set_num_threads(count)
            found.append(trained(name, options, starts, gradients))
    finally:
        fnn.set_num_threads(threads)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for i, (one, two) in enumerate(zip(*found, strict=True)):
        np.testing.assert_array_equal(one, two)
        assert one.dtype == dtype
        wanted = REFERENCES[name](
            starts[i].astype(np.float64), [step[i] for step in gradients], **options
        )
        # Where a penalized weight crosses 0, the sign that l1 sees may differ by rounding.
        sure = np.abs(one) > 1e-6
        np.testing.assert_allclose(one[sure], wanted[sure], rtol=tolerance, atol=tolerance)


def test_a_value_does_not_depend_on_its_position():
    for name in REFERENCES:
        p = nn.Parameter(fnn.full(37, 0.3))
        optimizer = getattr(optim, name)([p], lr=0.1, l1=0.01, weight_decay=0.1)
        for g in (0.7, -0.1):
            p.grad = fnn.full(37, g)
            optimizer.step()
        assert len(np.unique(p.numpy())) == 1, name


@pytest.mark.parametrize("name", REFERENCES)
def test_nan_and_inf_stay_where_they_are(name):
    p = nn.Parameter(fnn.ones(40))
    g = np.ones(40, np.float32)
    g[3], g[38] = math.nan, math.inf
    p.grad = fnn.tensor(g)
    getattr(optim, name)([p], lr=0.1, maximize=True).step()
    finite = np.isfinite(p.numpy())
    assert np.isnan(p.numpy()[3])
    assert finite[[i for i in range(40) if i not in (3, 38)]].all()


def test_a_constant_gradient_has_no_variance_below_zero():
    p = nn.Parameter(fnn.zeros(1000))
    optimizer = optim.RMSprop([p], alpha=0.5, centered=True, eps=1e-2)
    g = fnn.from_numpy(np.linspace(0.1, 3.0, 1000, dtype=np.float32))
    for _ in range(60):
        p.grad = g
        optimizer.step()
    assert np.isfinite(p.numpy()).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9}), ("Adam", {"amsgrad": True}), ("AdamW", {}), ("NAdam", {}),
        ("RMSprop", {"centered": True, "momentum": 0.5}), ("Adagrad", {"lr_decay": 0.1}),
        ("Adadelta", {}),
    ],
)  # fmt: skip
def test_a_checkpoint_goes_on_bit_for_bit(name, options, tmp_path):
    rng = np.random.default_rng(9)
    gradients = rng.standard_normal((6, 2, 3)).astype(np.float32)

    def run(model, optimizer, steps):
        for i in steps:
            model.weight.grad = fnn.tensor(gradients[i])
            if i != 1:
                model.bias.grad = fnn.tensor(gradients[i, :, 0])
            optimizer.step()
            optimizer.zero_grad()

    whole, part, again = (nn.Linear(3, 2) for _ in range(3))
    part.load_state_dict(whole.state_dict())
    make = getattr(optim, name)
    first = make(part.parameters(), lr=0.1, **options)
    run(whole, make(whole.parameters(), lr=0.1, **options), range(6))
    run(part, first, range(3))
    copied = copy.deepcopy(first)  # does not share its state
    fnn.save_checkpoint(tmp_path / "c.safetensors", part, first)
    second = make(again.parameters())
    fnn.load_checkpoint(tmp_path / "c.safetensors", again, second)
    run(again, second, range(3, 6))
    np.testing.assert_array_equal(again.weight.numpy(), whole.weight.numpy())
    np.testing.assert_array_equal(again.bias.numpy(), whole.bias.numpy())
    assert copied.param_groups[0]["lr"] == 0.1


def test_state_may_be_replaced_between_steps():
    p = nn.Parameter(fnn.ones(2))
    adam = optim.Adam([p], lr=0.1)
    p.grad = fnn.ones(2)
    adam.step()
    assert adam.state[p]["step"].item() == 1
    adam.state.clear()
    p.grad = fnn.full(2, 100.0)
    adam.step()
    np.testing.assert_allclose(p.numpy(), 0.8, rtol=1e-6)  # a first step again
    adam.state[p]["exp_avg"] = fnn.ones(3)
    with pytest.raises(ValueError, match=r"Adam: parameter has shape \(2,\), exp_avg has \(3,\)"):
        adam.step()
    adam.state[p]["exp_avg"] = np.ones(2, np.float32)
    with pytest.raises(TypeError, match="state 'exp_avg' must be a Tensor, got ndarray"):
        adam.step()
    adam.state[p] = {"step": fnn.ones(1)}
    with pytest.raises(ValueError, match="state 'step' must be one float64 number"):
        adam.step()


def test_a_wrong_step_count_is_refused():
    p = nn.Parameter(fnn.ones(2))
    adam = optim.Adam([p])
    p.grad = fnn.ones(2)
    adam.step()
    state = adam.state_dict()
    for wrong in (-1, math.nan, [1, 2]):
        state["state"][0]["step"] = wrong
        with pytest.raises(ValueError, match="step must be a number of at least 0"):
            adam.load_state_dict(state)
    state["state"][0]["step"] = 5
    adam.load_state_dict(state)
    assert adam.state[p]["step"].item() == 5.0


def test_options_are_read_at_every_step():
    p = nn.Parameter(fnn.zeros(1))
    adam = optim.Adam([p], lr=0.1, betas=[0.9, 0.99])
    p.grad = fnn.ones(1)
    adam.step()
    adam.param_groups[0]["lr"] = 0.0
    adam.step()
    np.testing.assert_allclose(p.item(), -0.1, rtol=1e-6)
    adam.param_groups[0]["betas"] = (0.9, 1.0)
    with pytest.raises(ValueError, match="betas must be finite and at least 0 and less than 1"):
        adam.step()


def test_a_closure_is_called_first():
    p = nn.Parameter(fnn.ones(1))
    adam = optim.Adam([p], lr=0.5)

    def closure():
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert adam.step(closure).item() == 1.0
    np.testing.assert_allclose(p.item(), 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "option", "value", "message"),
    [
        ("Adam", "betas", (0.9, 1.0), "less than 1, got 1.0"),
        ("Adam", "betas", (-0.1, 0.9), "at least 0"),
        ("AdamW", "weight_decay", -1, "AdamW: weight_decay"),
        ("NAdam", "momentum_decay", math.nan, "NAdam: momentum_decay"),
        ("RMSprop", "alpha", 1.5, "at most 1, got 1.5"),
        ("Adagrad", "initial_accumulator_value", -1.0, "initial_accumulator_value"),
        ("Adadelta", "rho", 2.0, "at most 1"),
        ("SGD", "l1", -0.1, "SGD: l1 must be finite and at least 0"),
    ],
)
def test_options_out_of_range(name, option, value, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([fnn.zeros(1)], **{option: value})


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_common_errors(name):
    make = getattr(optim, name)
    p = nn.Parameter(fnn.ones(2))
    for option in ("lr", "weight_decay", "l1"):
        with pytest.raises(ValueError, match=f"{name}: {option} must be finite"):
            make([p], **{option: math.inf})
        with pytest.raises(TypeError, match=f"{name}: {option} must be a number"):
            make([p], **{option: "1"})
    optimizer = make([p])
    for grad, error, message in (
        (np.ones(2, np.float32), TypeError, f"{name}: .grad must be a Tensor"),
        (fnn.ones(3), ValueError, f"{name}: parameter has shape"),
        (fnn.ones(2, dtype="float64"), TypeError, f"{name}: parameter is float32"),
    ):
        p.grad = grad
        with pytest.raises(error, match=message):
            optimizer.step()
    assert p.tolist() == [1.0, 1.0] and not optimizer.state
    values = np.ones(2, np.float32)
    values.flags.writeable = False
    fixed = fnn.from_numpy(values)
    fixed.grad = fnn.ones(2)
    with pytest.raises(ValueError, match="read-only"):
        make([fixed]).step()
    with pytest.raises(TypeError, match="pair of numbers"):
        optim.Adam([p], betas=0.9)

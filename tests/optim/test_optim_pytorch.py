"""Agreement with PyTorch, where it is installed: rules, schedules, clipping, averages, L-BFGS."""

import inspect
import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.optim import lr_scheduler, swa_utils

torch = pytest.importorskip("torch")
# PyTorch's, about schedules whose optimizer makes no steps.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RULES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "maximize": True}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1, "eps": 1e-3}),
    ("Adam", {"lr": 0.01, "betas": (0.0, 0.9), "weight_decay": 0.1,
              "decoupled_weight_decay": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.0, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.01, "momentum_decay": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.005, "alpha": 0.9, "momentum": 0.8, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.005, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.005, "centered": True, "eps": 1e-3}),
    ("RMSprop", {"lr": 0.005, "centered": True, "eps": 1e-3, "momentum": 0.5, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1,
                 "initial_accumulator_value": 0.3}),
    ("Adagrad", {"lr": 0.1, "eps": 1e-3, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
]  # fmt: skip


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, request.param))  # also of NAdam's product
    yield request.param
    torch.set_default_dtype(before)


@pytest.mark.parametrize(("name", "options"), RULES)
def test_fifty_steps_of_a_rule_agree(name, options, dtype):
    rng = np.random.default_rng(1)
    shapes = [(7, 3), (), (130,), (2, 3, 3, 5)]
    starts = [rng.standard_normal(s).astype(dtype) for s in shapes]
    ours = [nn.Parameter(fnn.tensor(a)) for a in starts]
    theirs = [torch.tensor(a, requires_grad=True) for a in starts]
    optimizer = getattr(optim, name)(ours, **options)
    peer = getattr(torch.optim, name)(theirs, **options)
    for step in range(50):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            g = rng.standard_normal(p.shape).astype(dtype)
            skipped = i == 2 and step % 3 == 1  # tensors then have steps of their own
            p.grad = None if skipped else fnn.tensor(g)
            q.grad = None if skipped else torch.tensor(g)
        optimizer.step()
        peer.step()
        for p, q in zip(ours, theirs, strict=True):
            expected = q.detach().numpy()
            bound = (1e-6 if dtype == "float32" else 1e-12) * max(1.0, np.abs(expected).max())
            assert np.abs(p.numpy() - expected).max() <= bound
    for p, q in zip(ours, theirs, strict=True):
        assert set(optimizer.state.get(p, {})) == {
            k for k, v in peer.state[q].items() if v is not None
        } - ({"step"} if name in ("RMSprop", "Adadelta") else set())


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "NAdam", "RMSprop", "Adagrad", "Adadelta", "LBFGS"]
)
def test_order_and_defaults_of_options_agree(name):
    ours = inspect.signature(getattr(optim, name)).parameters
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    for option in ours.keys() - {"l1"}:
        assert ours[option].default == theirs[option].default, option
    positional = [k for k, v in ours.items() if v.kind is v.POSITIONAL_OR_KEYWORD]
    assert positional == [k for k in theirs if k in positional]


def test_every_rule_and_schedule_is_compared():
    rules = {name for name, _ in RULES} | {"LBFGS"}
    assert rules == {kind.__name__ for kind in all_subclasses(optim.Optimizer)}
    schedules = {name for name, _ in SCHEDULES} | {
        "OneCycleLR", "ReduceLROnPlateau", "SequentialLR"
    }  # fmt: skip
    assert schedules == {*lr_scheduler.__all__} - {"LRScheduler"}


def all_subclasses(kind):
    """Those that fastnn defines."""
    found = {k for k in kind.__subclasses__() if k.__module__.startswith("fastnn.")}
    return found.union(*map(all_subclasses, found))


SCHEDULES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 11], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 7}),
    ("CosineAnnealingLR", {"T_max": 8, "eta_min": 0.01}),
]
CYCLES = [
    {},
    {"anneal_strategy": "linear", "pct_start": 0.4},
    {"three_phase": True, "div_factor": 10.0, "final_div_factor": 100.0},
]


def pair(name, **options):
    """An optimizer of ours with two groups, and PyTorch's."""
    a, b = nn.Parameter(fnn.ones(1)), nn.Parameter(fnn.ones(1))
    ours = getattr(optim, name)([{"params": [a]}, {"params": [b], "lr": 0.7}], **options)
    c, d = (torch.ones(1, requires_grad=True) for _ in range(2))
    theirs = getattr(torch.optim, name)([{"params": [c]}, {"params": [d], "lr": 0.7}], **options)
    return ours, theirs


def rates(optimizer):
    keys = ("lr", "momentum", "betas")
    return [group[key] for group in optimizer.param_groups for key in keys if key in group]


def assert_rates(ours, theirs):
    for mine, its in zip(rates(ours), rates(theirs), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_rates_agree(name, options):
    ours, theirs = pair("SGD", lr=0.4)
    schedule = getattr(lr_scheduler, name)(ours, **options)
    peer = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    for _ in range(20):
        assert_rates(ours, theirs)
        np.testing.assert_allclose(schedule.get_last_lr(), peer.get_last_lr(), rtol=1e-12)
        schedule.step()
        peer.step()


@pytest.mark.parametrize("options", CYCLES)
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_one_cycle_agrees(name, options):
    extra = {"momentum": 0.9} if name == "SGD" else {}
    ours, theirs = pair(name, lr=0.4, **extra)
    options = {"max_lr": [0.3, 0.6], "epochs": 4, "steps_per_epoch": 5, **options}
    schedule = lr_scheduler.OneCycleLR(ours, **options)
    peer = torch.optim.lr_scheduler.OneCycleLR(theirs, **options)
    for _ in range(20):
        assert_rates(ours, theirs)
        schedule.step()
        peer.step()
    with pytest.raises(ValueError, match="step 21 of 20"):
        schedule.step()


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1},
        {"mode": "max", "patience": 0, "cooldown": 2, "factor": 0.5, "threshold": 0.1},
        {"patience": 1, "threshold_mode": "abs", "threshold": 0.2, "min_lr": [0.1, 0.01]},
        {"mode": "max", "threshold_mode": "abs", "patience": 2},
    ],
)
def test_plateau_agrees(options):
    ours, theirs = pair("SGD", lr=0.4)
    schedule = lr_scheduler.ReduceLROnPlateau(ours, **options)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    rng = np.random.default_rng(3)
    for i in range(40):
        value = math.nan if i == 7 else float(rng.random() + 3.0 / (1 + i))
        schedule.step(value)
        peer.step(value)
        assert_rates(ours, theirs)


def test_sequences_agree():
    def make(module, optimizer):
        parts = [
            module.LinearLR(optimizer, 0.1, total_iters=3),
            module.CosineAnnealingLR(optimizer, 6),
            module.ExponentialLR(optimizer, 0.5),
        ]
        return module.SequentialLR(optimizer, parts, [3, 8])

    ours, theirs = pair("SGD", lr=0.4)
    schedule, peer = make(lr_scheduler, ours), make(torch.optim.lr_scheduler, theirs)
    for _ in range(14):
        assert_rates(ours, theirs)
        schedule.step()
        peer.step()


@pytest.mark.parametrize("norm", [2.0, 1.0, 3.5, math.inf])
@pytest.mark.parametrize("limit", [0.5, 1e9])
def test_clipping_agrees(norm, limit, dtype):
    rng = np.random.default_rng(2)
    grads = [rng.standard_normal(s).astype(dtype) for s in [(5, 7), (1,), (40000,)]]
    ours = [nn.Parameter(fnn.zeros(g.shape, dtype=dtype)) for g in grads]
    theirs = [torch.zeros(g.shape, requires_grad=True) for g in grads]
    for p, q, g in zip(ours, theirs, grads, strict=True):
        p.grad, q.grad = fnn.tensor(g), torch.tensor(g)
    mine = optim.clip_grad_norm_(ours, limit, norm)
    its = torch.nn.utils.clip_grad_norm_(theirs, limit, norm)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(mine.item(), its.item(), rtol=tolerance)
    optim.clip_grad_value_(ours, 0.001)
    torch.nn.utils.clip_grad_value_(theirs, 0.001)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=tolerance)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "NAdam", "RMSprop"])
def test_training_with_all_of_it_agrees(name):
    """Groups, a warm-up before one cycle or a cosine, clipping and a moving average, 30 steps."""
    rng = np.random.default_rng(5)
    data, target = rng.standard_normal((16, 6)), rng.integers(0, 3, 16)
    ours = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    theirs = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
    ).double()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        q.data = torch.tensor(p.numpy().copy())
    extra = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    x, y = (fnn.tensor(data), target), (torch.tensor(data), torch.tensor(target))

    def train(model, library, schedules, averages, norm, loss_of, batch):
        groups = [{"params": [*model[0].parameters()], "weight_decay": 0.1, "lr": 0.02},
                  {"params": [*model[2].parameters()]}]  # fmt: skip
        optimizer = getattr(library, name)(groups, lr=0.01, **extra)
        if name == "NAdam":
            schedule = schedules.SequentialLR(
                optimizer,
                [schedules.LinearLR(optimizer, 0.1, total_iters=8),
                 schedules.CosineAnnealingLR(optimizer, 22)], [8],
            )  # fmt: skip
        else:
            schedule = schedules.OneCycleLR(optimizer, [0.05, 0.1], total_steps=31)
        average = averages.AveragedModel(model, multi_avg_fn=averages.get_ema_multi_avg_fn(0.8))
        path = []
        for _ in range(30):
            optimizer.zero_grad()
            loss = loss_of(model(batch[0]), batch[1])
            loss.backward()
            total = norm(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            path.append([loss.item(), total.item()])
        kept = [*model.parameters(), *average.module.parameters()]
        return path, [p.detach().numpy().copy() for p in kept]

    path, kept = train(ours, optim, lr_scheduler, swa_utils, optim.clip_grad_norm_,
                       nn.CrossEntropyLoss(), x)  # fmt: skip
    peers = torch.optim
    clip, loss = torch.nn.utils.clip_grad_norm_, torch.nn.CrossEntropyLoss()
    peer_path, wanted = train(theirs, peers, peers.lr_scheduler, peers.swa_utils, clip, loss, y)
    np.testing.assert_allclose(path, peer_path, rtol=1e-6, atol=1e-9)
    for a, b in zip(kept, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("limit", [0.5, 3.0, 100.0])
def test_max_norm_agrees(limit, dtype):
    weight = np.random.default_rng(7).standard_normal((9, 3, 3, 5)).astype(dtype)
    p = nn.Parameter(fnn.tensor(weight))
    optim.max_norm_([p], limit)
    wanted = torch.renorm(torch.tensor(weight), 2, 0, limit).numpy()
    np.testing.assert_allclose(p.numpy(), wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("use_buffers", [False, True])
def test_buffers_and_their_renewal_agree(use_buffers):
    rng = np.random.default_rng(8)
    ours = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).double()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        q.data = torch.tensor(p.numpy().copy())
    peers = torch.optim.swa_utils
    average = swa_utils.AveragedModel(ours, use_buffers=use_buffers)
    peer = peers.AveragedModel(theirs, use_buffers=use_buffers)
    batches = [rng.standard_normal((n, 3)) for n in (5, 9, 4)]

    def same():
        for name, value in peer.module.state_dict().items():
            mine = average.module.state_dict()[name]
            if use_buffers and mine.dtype.kind == "i":
                continue  # PyTorch rounds the mean of counts; ours is the last one
            np.testing.assert_allclose(mine.numpy(), value.numpy(), rtol=1e-10, err_msg=name)

    for batch in batches:
        ours(fnn.tensor(batch))
        theirs(torch.tensor(batch))
        average.update_parameters(ours)
        peer.update_parameters(theirs)
        same()
    swa_utils.update_bn(batches, average)
    peers.update_bn([torch.tensor(batch) for batch in batches], peer)
    same()


@pytest.mark.parametrize("decay", [None, 0.9])
def test_averages_agree(decay):
    ours, theirs = nn.Linear(3, 2), torch.nn.Linear(3, 2)
    peers = torch.optim.swa_utils
    average = swa_utils.AveragedModel(
        ours, None if decay is None else swa_utils.get_ema_multi_avg_fn(decay)
    )
    peer = peers.AveragedModel(
        theirs, multi_avg_fn=None if decay is None else peers.get_ema_multi_avg_fn(decay)
    )
    rng = np.random.default_rng(4)
    for _ in range(5):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            values = rng.standard_normal(p.shape).astype(np.float32)
            p.copy_(values) if not p.requires_grad else p.detach().copy_(values)
            q.data = torch.tensor(values)
        average.update_parameters(ours)
        peer.update_parameters(theirs)
    for p, q in zip(average.parameters(), peer.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-6, atol=1e-7)
    assert average.n_averaged.item() == peer.n_averaged.item() == 5


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize(
    "options", [{"lr": 0.1}, {"lr": 1.0, "history_size": 3, "max_iter": 7}, {"max_eval": 9}]
)
def test_lbfgs_agrees(search, options):
    start = np.array([-1.2, 1.0, 0.7, -0.4])
    if search is None:
        options = {**options, "lr": 1e-3}  # without a search, longer steps diverge

    def rosenbrock(x):
        total = 0.0
        for i in range(3):
            total = total + 100.0 * (x[i + 1] - x[i] * x[i]) ** 2 + (1.0 - x[i]) ** 2
        return total

    def trained(x, optimizer, take):
        def closure():
            optimizer.zero_grad()
            loss = rosenbrock(x)
            loss.backward()
            return loss

        path = []
        for _ in range(4):
            loss = optimizer.step(closure)
            path.append([loss.item(), *take(x)])
        return path

    p = nn.Parameter(fnn.tensor(start))
    q = torch.tensor(start, requires_grad=True)
    mine = trained(p, optim.LBFGS([p], line_search_fn=search, **options), lambda x: x.tolist())
    peer = torch.optim.LBFGS([q], line_search_fn=search, **options)
    np.testing.assert_allclose(mine, trained(q, peer, lambda x: x.tolist()), rtol=1e-7, atol=1e-9)

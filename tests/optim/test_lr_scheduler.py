"""Schedules: rates computed by hand, resuming, errors."""

import json
import math

import pytest

import fastnn as fnn
from fastnn import optim
from fastnn.optim import lr_scheduler as lrs


def sgd(lr=1.0, **options):
    return optim.SGD([fnn.ones(1)], lr=lr, **options)


def rates(schedule, steps):
    found = []
    for _ in range(steps):
        found += schedule.get_last_lr()
        schedule.step()
    return found


MAKE = {
    "StepLR": (lambda o: lrs.StepLR(o, 2, 0.5), [1, 1, 0.5, 0.5, 0.25]),
    "MultiStepLR": (lambda o: lrs.MultiStepLR(o, [3, 1], 0.5), [1, 0.5, 0.5, 0.25, 0.25]),
    "ExponentialLR": (lambda o: lrs.ExponentialLR(o, 0.5), [1, 0.5, 0.25, 0.125, 0.0625]),
    "ConstantLR": (lambda o: lrs.ConstantLR(o, 0.5, 2), [0.5, 0.5, 1, 1, 1]),
    "LinearLR": (lambda o: lrs.LinearLR(o, 0.25, 1.0, 3), [0.25, 0.5, 0.75, 1, 1]),
    "CosineAnnealingLR": (
        lambda o: lrs.CosineAnnealingLR(o, 4, 0.5),
        [1, 0.75 + 0.125 * math.sqrt(2) * 1.0, 0.75, 0.75 - 0.125 * math.sqrt(2), 0.5],
    ),
    "OneCycleLR": (
        lambda o: lrs.OneCycleLR(
            o, 1.0, 6, pct_start=0.5, anneal_strategy="linear", cycle_momentum=False,
            div_factor=2.0, final_div_factor=5.0,
        ),
        [0.5, 0.75, 1.0, 0.7, 0.4],
    ),
    "SequentialLR": (
        lambda o: lrs.SequentialLR(o, [lrs.ConstantLR(o, 0.5, 9), lrs.StepLR(o, 1, 0.5)], [2]),
        [0.5, 0.5, 1.0, 0.5, 0.25],
    ),
}  # fmt: skip


def test_every_schedule_is_computed_by_hand():
    assert {*MAKE, "ReduceLROnPlateau", "LRScheduler"} == {*lrs.__all__}


@pytest.mark.parametrize("name", MAKE)
def test_rates(name):
    make, expected = MAKE[name]
    assert rates(make(sgd()), 5) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", MAKE)
def test_a_schedule_goes_on_from_its_state(name):
    make, expected = MAKE[name]
    first = make(sgd())
    rates(first, 2)
    state = json.loads(json.dumps(first.state_dict()))
    second = make(sgd(lr=7.0))
    second.load_state_dict(state)
    assert rates(second, 3) == pytest.approx(expected[2:], rel=1e-12)


def test_momentum_cycles_against_the_rate():
    optimizer = sgd(momentum=0.9)
    schedule = lrs.OneCycleLR(optimizer, 1.0, 10, pct_start=0.5)
    found = [optimizer.param_groups[0]["momentum"]]
    for _ in range(9):
        schedule.step()
        found.append(optimizer.param_groups[0]["momentum"])
    assert found[0] == found[9] == pytest.approx(0.95)
    assert min(found) == found[4] == pytest.approx(0.85)
    optimizer.param_groups[0]["params"][0].grad = fnn.ones(1)
    optimizer.step()  # what the schedule wrote is in range


def test_plateau():
    optimizer = sgd()
    schedule = lrs.ReduceLROnPlateau(optimizer, patience=1, cooldown=1, factor=0.5, min_lr=0.2)
    found = []
    for loss in (3, 2, 2, 2, 2, 2, 2, math.nan, 2, 2, 2):
        schedule.step(loss)
        found += schedule.get_last_lr()
    assert found == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2]
    again = lrs.ReduceLROnPlateau(sgd(), patience=1)
    again.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert (again.best, again.last_epoch, again.cooldown_counter) == (2.0, 11, 0)
    with pytest.raises(TypeError, match="needs the figure"):
        schedule.step()


def test_groups_keep_their_ratio_and_the_first_schedule_fixes_the_base():
    optimizer = optim.Adam([{"params": fnn.ones(1)}, {"params": fnn.ones(1), "lr": 0.1}], lr=1.0)
    warm = lrs.LinearLR(optimizer, 0.5)
    assert warm.get_last_lr() == [0.5, 0.05]
    assert lrs.StepLR(optimizer, 3).base_lrs == [1.0, 0.1]


def test_a_group_that_comes_later_is_refused():
    optimizer = sgd()
    schedules = [lrs.StepLR(optimizer, 1, 0.5), lrs.ReduceLROnPlateau(optimizer)]
    optimizer.add_param_group({"params": fnn.ones(1)})
    for schedule in schedules:
        with pytest.raises(ValueError, match=r"was made for 1 parameter groups, .* now has 2"):
            schedule.step(*[1.0] * isinstance(schedule, lrs.ReduceLROnPlateau))
        assert schedule.last_epoch == 0
    lrs.StepLR(optimizer, 1, 0.5).step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lrs.StepLR(fnn.ones(1), 3), TypeError, "StepLR: optimizer must be an Optimizer"),
        (lambda: lrs.StepLR(sgd(), 0), ValueError, "step_size must be at least 1, got 0"),
        (lambda: lrs.StepLR(sgd(), 1.5), TypeError, "step_size must be an int, got float"),
        (lambda: lrs.StepLR(sgd(), 1, math.nan), ValueError, "StepLR: gamma must be finite"),
        (lambda: lrs.MultiStepLR(sgd(), ["a"]), TypeError, "milestones must be an int"),
        (lambda: lrs.LinearLR(sgd(), 0.0), ValueError, "start_factor must be positive"),
        (lambda: lrs.LinearLR(sgd(), 2.0), ValueError, "at most 1, got 2"),
        (lambda: lrs.CosineAnnealingLR(sgd(), 0), ValueError, "T_max must be at least 1"),
        (lambda: lrs.OneCycleLR(sgd(), 1.0), ValueError, "give total_steps, or epochs"),
        (lambda: lrs.OneCycleLR(sgd(), [1.0, 2.0], 5), ValueError, "2 rates for 1 groups"),
        (lambda: lrs.OneCycleLR(sgd(), 1.0, 5, anneal_strategy="up"), ValueError, "'cos' or"),
        (lambda: lrs.OneCycleLR(sgd(), 1.0, 5, pct_start=2), ValueError, "pct_start"),
        (lambda: lrs.OneCycleLR(None, 1.0, 5), TypeError, "must be an Optimizer, got NoneType"),
        (
            lambda: lrs.OneCycleLR(optim.Adagrad([fnn.ones(1)]), 1.0, 5),
            ValueError, "Adagrad has no momentum to cycle",
        ),
        (lambda: lrs.ReduceLROnPlateau(sgd(), "least"), ValueError, "'min' or 'max'"),
        (lambda: lrs.ReduceLROnPlateau(sgd(), factor=1.0), ValueError, "less than 1"),
        (lambda: lrs.ReduceLROnPlateau(sgd(), min_lr=[0, 0]), ValueError, "2 rates for 1 groups"),
        (lambda: lrs.SequentialLR(sgd(), [], []), ValueError, "at least one schedule"),
    ],
)  # fmt: skip
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_sequences_of_wrong_parts():
    optimizer = sgd()
    steps = lrs.StepLR(optimizer, 1)
    for parts, milestones, error, message in (
        ([steps, lrs.ReduceLROnPlateau(optimizer)], [1], TypeError, "cannot run a ReduceLROn"),
        ([steps, lrs.StepLR(sgd(), 1)], [1], ValueError, "of its optimizer"),
        ([steps, steps], [], ValueError, "2 schedulers need 1 milestones, got 0"),
        ([steps, steps, steps], [2, 2], ValueError, r"must increase, got \[2, 2\]"),
    ):
        with pytest.raises(error, match=message):
            lrs.SequentialLR(optimizer, parts, milestones)


def test_a_wrong_state_changes_nothing():
    schedule = lrs.StepLR(sgd(), 1, 0.5)
    schedule.step()
    for state in ({}, None, {"last_epoch": 3}, {"last_epoch": -1, "base_lrs": [1.0]},
                  {"last_epoch": 3, "base_lrs": [1.0, 2.0]}):  # fmt: skip
        with pytest.raises(ValueError, match=r"StepLR.load_state_dict"):
            schedule.load_state_dict(state)
    assert schedule.last_epoch == 1 and schedule.get_last_lr() == [0.5]

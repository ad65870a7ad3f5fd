# SPDX-License-Identifier: BSD-3-Clause
"""What is wrong with a training, in sentences, from the records of a Monitor.

A rule is a function from a `_Run` to its findings. They are asked in the order of RULES, causes
before their consequences; a rule that found something silences those that it explains. All
thresholds stand at the top: they lie well between what healthy networks and broken ones do, as the
tests measure on both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from statistics import median
from typing import Any, NamedTuple

from .log import Entry, Log

__all__ = ["Advice", "advise"]

DEAD = 0.25  # share of units; 10 to 20% are common in networks that do well
ENOUGH = 200  # samples, before a silent unit is called dead
SATURATED, SATURATED_LATER = (
    0.75,
    0.9,
)  # share of outputs at the start, and of one that learns badly
SHRINKS, GROWS = 0.6, 1.35  # factor from layer to layer, and over all of them:
COLLAPSED, EXPLODED = 0.05, 50.0
VANISHED, BLOWN_UP = 1e-3, 100.0
ONE_SIGN = 0.8  # how much the gradients of a unit's weights agree in sign, from 0 to 1
GOOD_RATIO = 1e-3  # of the norm of an update to that of the weights
SLOW, FAST = 3e-5, 2e-2
DEEP = 3  # layers that it takes to speak of a trend
_WAYS = ("activation", "gradient")
LONG, PATIENT = 50, 200  # steps before a loss is called flat, and before data are blamed for it


class Advice(NamedTuple):
    """One finding: the rule that found it, the layer ("" for the whole model), the sentence."""

    rule: str
    layer: str
    text: str

    def __str__(self) -> str:
        return self.text


def advise(log: Log) -> list[Advice]:
    """What is wrong by the last record of a run, causes first.

    Parameters
    ----------
    log : Log
        What `read_log` gives, or a Monitor collected.
    """
    run, found = _Run(log), list[Advice]()
    silenced = set[Rule]()
    for rule, explains in RULES.items():
        if rule in silenced or not run.records:
            continue
        new = [Advice(rule.__name__.lstrip("_"), *finding) for finding in rule(run)]
        found += new[:3]
        if new:
            silenced.update(RULES if explains is ALL else explains)
    return found


class _Run:
    """A run, as rules ask about it."""

    def __init__(self, log: Log) -> None:
        self.records, self.epochs = log.records, log.epochs
        # A step that was not observed has a record if its loss is not finite: `end` may be one.
        observed = [record for record in log.records if record["layers"]] or [{"layers": {}}]
        self.first, self.last, self.end = observed[0], observed[-1], [*observed, *log.records][-1]
        self.info = {layer["name"]: layer for layer in log.header.get("layers", [])}

    @cached_property
    def order(self) -> list[str]:
        """Layers, as they were called."""
        return [name for name in self.last["layers"] if name in self.info]

    @cached_property
    def weights(self) -> list[str]:
        """Layers with a matrix or a kernel of weights."""
        return [name for name in self.order if "identical" in self.layer(name).get("weight", {})]

    @cached_property
    def hidden(self) -> list[str]:
        """Activations, but for one that ends the network."""
        end = self.weights[-1] if self.weights else ""
        until = self.order.index(end) if end else 0
        return [name for name in self.order[:until] if self.info[name]["activation"]]

    def layer(self, name: str, record: Entry | None = None) -> Entry:
        return (self.last if record is None else record)["layers"].get(name, {})

    def label(self, name: str) -> str:
        info = self.info[name]
        behind = info["behind"]
        return info["label"] + ("" if behind == name else f" behind {self.info[behind]['label']}")

    def loss(self, record: Entry) -> float | None:
        """The mean since the observation before."""
        return record.get("mean_loss")

    def ratio(self, record: Entry) -> float:
        """The median update:weight ratio of the layers; infinite if it is beyond all numbers."""
        ratio = record.get("update_ratio", 0.0)
        return math.inf if ratio is None else ratio

    @property
    def guess(self) -> float | None:
        """The loss of a guess, log C, if the loss is cross-entropy."""
        classes = self.first.get("output", {}).get("classes", 0)
        known = self.first.get("loss_kind") == "cross_entropy" and classes > 1
        return math.log(classes) if known else None

    def lower_lr(self, ratio: float) -> str:
        """Advice for the learning rate, with a figure if it is known."""
        lr = self.last.get("lr")
        if not lr or not ratio > GOOD_RATIO:
            return "lower the learning rate"
        if ratio == math.inf:
            return f"lower the learning rate (from {lr:.3g}) by powers of ten"
        to = lr * GOOD_RATIO / min(ratio, 1.0)  # beyond 1, the ratio tells of an explosion
        return f"lower the learning rate (from {lr:.3g} to about {_rate(to)})"


def _rate(value: float) -> str:
    """A learning rate, with the one digit that is known of it."""
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e+")


def _figure(value: float) -> str:
    """Three digits, with an exponent only where it is shorter."""
    return f"{value:,.0f}" if 1e3 <= value < 1e6 else f"{value:.3g}"


Finding = tuple[str, str]  # layer, sentence
Rule = Callable[[_Run], Iterator[Finding]]


# --- numbers -------------------------------------------------------------------------------------


def _bad(record: Entry) -> bool:
    layers = record["layers"].values()
    figures = [record.get("input", {}), *(e.get(w, {}) for e in layers for w in _WAYS)]
    return ("loss" in record and record["loss"] is None) or any("nonfinite" in f for f in figures)


def _not_finite(run: _Run) -> Iterator[Finding]:
    record = run.end
    if not run.records or not _bad(record):
        return
    for earlier in reversed(run.records):
        if not _bad(earlier):
            break
        record = earlier  # where it began
    step = record["step"]
    count = record.get("input", {}).get("nonfinite")
    if count:
        yield (
            "",
            (
                f"Inputs are NaN or infinite in step {step} ({count:,} of them): look for missing "
                "values, or for a division by 0 in the preprocessing."
            ),
        )
        return
    for what in _WAYS:
        order = [name for name in record["layers"] if name in run.info]
        for name in order if what == "activation" else order[::-1]:
            count = run.layer(name, record).get(what, {}).get("nonfinite", 0)
            if count:
                outcome = "outputs" if what == "activation" else "gradients"
                yield (
                    name,
                    (
                        f"{run.label(name)}: {count:,} of its {outcome} are NaN or infinite in "
                        f"step {step}, the first in the network; {_blame(run, step)}"
                    ),
                )
                return
    yield "", f"The loss is NaN or infinite in step {step}; {_blame(run, step)}"


def _blame(run: _Run, step: int) -> str:
    """What made it so: the updates before this step, or something else."""
    ratio = max((run.ratio(r) for r in run.records if r["step"] < step), default=0.0)
    if ratio > FAST:
        size = "infinite" if ratio == math.inf else f"up to {ratio:.2g} of the weights' size"
        return f"updates before it were {size}: {run.lower_lr(ratio)}, or clip gradients."
    return "detect_anomaly() finds the operation; a logarithm or a root of 0, or a division?"


# --- the data ------------------------------------------------------------------------------------


def _inputs_unscaled(run: _Run) -> Iterator[Finding]:
    x = run.first.get("input")
    if not x or x["std"] is None:
        return
    if x["std"] == 0.0:
        yield (
            "",
            f"All inputs have the same value, {x['mean']:.3g}: nothing can be learned of them.",
        )
    elif x["std"] > 10.0 or x["std"] < 0.01:
        yield (
            "",
            (
                f"The inputs are not scaled: their standard deviation is {x['std']:.3g}, their "
                f"mean {x['mean']:.3g}. Subtract the mean and divide by the deviation of the "
                "training data (data.Normalize)."
            ),
        )
    elif x.get("scales") and x["scales"][1] > 100.0 * x["scales"][0] > 0.0:
        yield (
            "",
            (
                "The inputs are on different scales: the standard deviations of the features go "
                f"up to {x['scales'][1]:.3g}, where most are about {x['scales'][0]:.3g}. "
                "Standardize each."
            ),
        )


def _inputs_not_centred(run: _Run) -> Iterator[Finding]:
    x = run.first.get("input")
    if x and x["std"] and abs(x["mean"]) > x["std"]:
        sign = (
            "all positive" if x["min"] >= 0.0 else "all negative" if x["max"] <= 0.0 else "mostly"
        )
        side = "" if sign != "mostly" else " on one side of 0"
        yield (
            "",
            (
                f"The inputs are not centred: they are {sign}{side}, with mean {x['mean']:.3g} and "
                f"standard deviation {x['std']:.3g}. Subtract the mean of the training data "
                "(data.Normalize)."
            ),
        )


def _one_sign(run: _Run) -> Iterator[Finding]:
    if not run.weights:
        return
    name = run.weights[0]
    known = [run.layer(name, r).get("weight", {}).get("one_sign") for r in run.records[:20]]
    agree = [value for value in known if value]
    x = run.first.get("input", {})
    if len(agree) > 1 and median(agree) > ONE_SIGN and x.get("std") is not None:
        share = 0.5 + 0.5 * median(agree)
        yield (
            name,
            (
                f"{run.label(name)}: {share:.0%} of the gradients of a unit's weights have the "
                f"same sign, so that its weights can only rise or fall together: its inputs are "
                f"{x['positive']:.0%} positive. Centre them on zero."
            ),
        )


# --- the start -----------------------------------------------------------------------------------


def _symmetric(run: _Run) -> Iterator[Finding]:
    for name in run.weights[:-1]:
        if all(
            run.layer(name, record).get("weight", {}).get("identical") == 1.0
            for record in run.records
        ):
            yield (
                name,
                (
                    f"{run.label(name)}: all of its units have the same weights, get the same "
                    "gradients and stay identical. Start with random weights "
                    "(init.kaiming_normal_ for ReLU, init.xavier_normal_ for tanh), not with a "
                    "constant."
                ),
            )


def _initial_loss(run: _Run) -> Iterator[Finding]:
    guess, loss = run.guess, run.first.get("loss")
    if run.first["step"] == 0 and guess and loss and loss > guess + max(guess, 1.0):
        output = run.layer(run.weights[-1], run.first)["activation"] if run.weights else {}
        yield (
            "",
            (
                f"The first loss is {loss:.3g}, that of a guess would be log("
                f"{run.first['output']['classes']}) = {guess:.3g}: the scores start with a "
                f"standard deviation of {output.get('std') or math.inf:.2g}. Start the weights of "
                "the last layer smaller (0.01), and check the scale of the inputs."
            ),
        )


def _trend(run: _Run, what: str, record: Entry) -> tuple[float, float, float] | None:
    """First and last hidden layer's size of activations or gradients, and the factor per layer."""
    names = run.hidden if len(run.hidden) >= DEEP else run.weights[:-1]
    sizes = []
    for name in names:
        figures = run.layer(name, record).get(what)
        if figures is None or figures["norm"] is None:
            return None
        # Gradients are compared as wholes: layers differ in size, and so does what each unit gets.
        spread = math.hypot(figures["mean"], figures["std"])
        sizes.append(spread if what == "activation" else figures["norm"])
    if len(sizes) < DEEP or not sizes[0] or not sizes[-1]:
        return None
    return sizes[0], sizes[-1], (sizes[-1] / sizes[0]) ** (1 / (len(sizes) - 1))


def _activations_collapse(run: _Run) -> Iterator[Finding]:
    trend = _trend(run, "activation", run.first)
    if trend and trend[2] < SHRINKS and trend[1] < COLLAPSED * trend[0]:
        yield (
            run.hidden[-1] if run.hidden else "",
            (
                f"Activations shrink from layer to layer, to {trend[2]:.2g} of their size each, "
                f"from {trend[0]:.2g} to {trend[1]:.2g} at the start: gradients will, too. The "
                "weights start too small: use init.init_model (Kaiming for ReLU, Xavier for "
                "tanh), or batch norm."
            ),
        )


def _activations_explode(run: _Run) -> Iterator[Finding]:
    trend = _trend(run, "activation", run.first)
    if trend and trend[2] > GROWS and trend[1] > EXPLODED * trend[0]:
        yield (
            run.hidden[-1] if run.hidden else "",
            (
                f"Activations grow from layer to layer, by {trend[2]:.2g} each, from "
                f"{trend[0]:.2g} to {trend[1]:.2g} at the start. The weights start too large: use "
                "init.init_model (Kaiming for ReLU, Xavier for tanh), or batch norm."
            ),
        )


# --- units ---------------------------------------------------------------------------------------


def _dead(run: _Run) -> Iterator[tuple[str, Entry]]:
    """Hidden layers with many dead units, and their figures."""
    for name in run.hidden:
        units = run.layer(name).get("activation", {})
        if units.get("dead", 0.0) > DEAD and units["window"] >= ENOUGH and units["units"] >= 4:
            yield name, units


def _silence(run: _Run, name: str, units: Entry) -> str:
    kind = run.info[name]["kind"]
    return (
        f"{run.label(name)}: {units['dead']:.0%} of {units['units']:,} {kind} units have not fired "
        f"in the last {units['window']:,} samples"
    )


def _dead_at_start(run: _Run) -> Iterator[Finding]:
    for name, units in _dead(run):
        if units["never_fired"] > 0.5 * units["dead"]:
            yield (
                name,
                (
                    f"{_silence(run, name, units)}; {units['never_fired'] / units['dead']:.0%} of "
                    "these never have: the start put them off the data. Centre the inputs, use "
                    "init.kaiming_normal_ with biases of 0 or slightly above, or use leaky ReLU."
                ),
            )


def _dead_by_updates(run: _Run) -> Iterator[Finding]:
    for name, units in _dead(run):
        if units["never_fired"] > 0.5 * units["dead"] or "died" not in units:
            continue
        low, high = units["died"]
        behind = run.info[name]["behind"]
        ratios = [
            run.layer(behind, r).get("update_ratio")
            for r in run.records
            if low <= r["step"] <= high
        ]
        ratio = max((r for r in ratios if r is not None), default=0.0)
        after = f", after updates of {ratio:.2g} of the weights' size" if ratio else ""
        yield (
            name,
            (
                f"{_silence(run, name, units)}; they died between steps {low:,} and "
                f"{high:,}{after}: {run.lower_lr(ratio)}, or use leaky ReLU."
            ),
        )


def _saturated(run: _Run) -> Iterator[Finding]:
    first, last = run.loss(run.first), run.loss(run.last)
    learns = first is not None and last is not None and last < 0.5 * first
    for name in run.hidden:
        share = run.layer(name)["activation"].get("saturated", 0.0)
        start = run.layer(name, run.first).get("activation", {}).get("saturated", 0.0)
        head = (
            f"{run.label(name)}: {share:.0%} of its outputs are saturated, where there is next to "
            f"no gradient; at the start {start:.0%} were. "
        )
        if start > SATURATED and share > SATURATED:
            before = run.layer(run.info[name]["behind"], run.first)["activation"]["std"]
            yield (
                name,
                head
                + (
                    f"Its inputs start with a standard deviation of {before or math.inf:.2g}: use "
                    "smaller weights (init.xavier_normal_), scale the inputs, or use ReLU."
                ),
            )
        elif share > SATURATED_LATER and not learns:
            ratio = max(run.ratio(record) for record in run.records)
            yield (
                name,
                head
                + (
                    f"Updates were up to {ratio:.2g} of the weights' size: {run.lower_lr(ratio)}, "
                    "or use batch norm or ReLU."
                ),
            )


# --- gradients and updates -----------------------------------------------------------------------


def _gradient_trend(run: _Run) -> tuple[float, float, float] | None:
    """Sizes in the first and the last hidden layer, factor on the way back; the median record."""
    trends = [trend for r in run.records[-3:] if (trend := _trend(run, "gradient", r))]
    if not trends:
        return None
    first, last, factor = sorted(trends, key=lambda t: t[2])[len(trends) // 2]
    return first, last, 1 / factor


def _vanishing_gradient(run: _Run) -> Iterator[Finding]:
    trend = _gradient_trend(run)
    if trend and trend[2] < SHRINKS and trend[0] < VANISHED * trend[1]:
        name = run.weights[0]
        kinds = {run.info[n]["kind"] for n in run.hidden} & {"Sigmoid", "Tanh", "Hardsigmoid"}
        cause = f"{' and '.join(sorted(kinds))} layers pass on a fraction" if kinds else (
            "the weights are too small"
        )  # fmt: skip
        yield (
            name,
            (
                f"Gradients vanish on the way back, to {trend[2]:.2g} of their size with each "
                f"layer: {trend[1]:.2g} at the last hidden layer, {trend[0]:.2g} at the first, "
                f"{run.label(name)}, which learns next to nothing. The cause: {cause}. Use ReLU "
                "with Kaiming's start, batch norm, or residual connections."
            ),
        )


def _exploding_gradient(run: _Run) -> Iterator[Finding]:
    trend = _gradient_trend(run)
    if trend and trend[2] > GROWS and trend[0] > BLOWN_UP * trend[1]:
        yield (
            run.weights[0],
            (
                f"Gradients explode on the way back, by {trend[2]:.2g} with each layer: "
                f"{trend[1]:.2g} at the last hidden layer, {trend[0]:.2g} at the first. Start "
                "with smaller weights (init.init_model), use batch norm, or clip gradients "
                "(optim.clip_grad_norm_)."
            ),
        )


def _lr_too_high(run: _Run) -> Iterator[Finding]:
    known = [(r, loss) for r in run.records if (loss := run.loss(r)) is not None]
    if len(known) < 4:
        return
    ratio = max(run.ratio(r) for r, _ in known[1:])
    losses = [loss for _, loss in known]
    start, best, peak, now = losses[0], min(losses), max(losses), losses[-1]
    rose = now > (1.05 if run.last["step"] >= LONG else 1.5) * start or peak > 2.0 * start
    if ratio > FAST and (rose or now > max(2.0 * best, 0.5 * start)):
        low, high = (start, peak) if peak > start else (best, now)
        yield (
            "",
            (
                f"The learning rate is too high: the loss rose from {_figure(low)} to "
                f"{_figure(high)}, with updates of up to {ratio:.2g} of the weights' size, "
                f"where about {GOOD_RATIO:g} is usual: {run.lower_lr(ratio)}."
            ),
        )


def _lr_too_low(run: _Run) -> Iterator[Finding]:
    known = [(r, loss) for r in run.records if (loss := run.loss(r)) is not None]
    if len(known) < 4 or run.last["step"] - run.first["step"] < LONG:
        return
    ratio = median(run.ratio(r) for r, _ in known)
    start, now = known[0][1], known[-1][1]
    if 0.0 < ratio < SLOW and 0.9 * start < now < 1.1 * start:
        lr = run.last.get("lr")
        to = lr * min(GOOD_RATIO / ratio, 1e3) if lr else 0.0
        more = f" (from {lr:.3g} to about {_rate(to)})" if lr else ""
        yield (
            "",
            (
                f"The learning rate is too low: after {run.last['step']:,} steps the loss went "
                f"from {start:.3g} to {now:.3g} only, with updates of {ratio:.1g} of the weights' "
                f"size, where about {GOOD_RATIO:g} is usual: raise it{more}; find_lr() measures it."
            ),
        )


# --- what is learned -----------------------------------------------------------------------------


def _stays_at_guess(run: _Run) -> Iterator[Finding]:
    guess = run.guess
    recent = [loss for r in run.records[-3:] if (loss := run.loss(r)) is not None]
    if not guess or len(recent) < 3 or run.last["step"] < PATIENT:
        return
    if all(abs(loss - guess) < 0.03 * guess for loss in recent):
        spread = run.last["output"]["spread"]
        if spread is not None and spread < 1e-3:
            why = (
                "the outputs are the same for all inputs (they spread by "
                f"{spread:.1g}): are the inputs constant, or cut off from the outputs?"
            )
        elif run.ratio(run.last) < SLOW:
            why = "the layers get next to no updates."
        else:
            why = (
                "the layers do get updates, so the labels do not follow from the inputs: were the "
                "two shuffled apart, or is the preprocessing wrong?"
            )
        yield (
            "",
            (
                f"The loss stays at that of a guess, {guess:.3g}, after {run.last['step']:,} "
                f"steps; {why} overfit_check() asks whether the model can learn a few samples."
            ),
        )


def _overfitting(run: _Run) -> Iterator[Finding]:
    known = [
        (i, e["loss"], e["validation_loss"])
        for i, e in enumerate(run.epochs, 1)
        if e.get("loss") is not None and e.get("validation_loss") is not None
    ]
    if len(known) < 3:
        return
    best, _, lowest = min(known, key=lambda epoch: epoch[2])
    now, loss, validation = known[-1]
    if now - best >= 2 and validation > 1.1 * lowest and validation > 1.5 * loss:
        yield (
            "",
            (
                f"The model overfits: the validation loss was best in epoch {best} ({lowest:.3g}) "
                f"and is {validation:.3g} by now, that of the training data {loss:.3g}. Stop at "
                f"epoch {best}, use more data or augmentation, weight decay, dropout, or a "
                "smaller model."
            ),
        )


ALL = object()
RULES: dict[Rule, Any] = {
    _inputs_unscaled: (
        _inputs_not_centred,
        _saturated,
        _dead_at_start,
        _activations_explode,
        _initial_loss,
        _dead_by_updates,
        _stays_at_guess,
    ),
    _inputs_not_centred: (_stays_at_guess,),
    _activations_explode: (_exploding_gradient, _dead_at_start),
    _not_finite: ALL,
    _symmetric: ALL,
    _one_sign: (),
    _activations_collapse: (
        _dead_at_start,
        _dead_by_updates,
        _vanishing_gradient,
        _lr_too_low,
        _stays_at_guess,
    ),
    _saturated: (_vanishing_gradient, _stays_at_guess),
    _initial_loss: (),
    _dead_at_start: (_vanishing_gradient, _stays_at_guess),
    _dead_by_updates: (_vanishing_gradient, _stays_at_guess),
    _vanishing_gradient: (_lr_too_low, _stays_at_guess),
    _exploding_gradient: (_stays_at_guess,),
    _lr_too_high: (_stays_at_guess,),
    _lr_too_low: (_stays_at_guess,),
    _stays_at_guess: (),
    _overfitting: (),
}

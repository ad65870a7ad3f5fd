# SPDX-License-Identifier: BSD-3-Clause
"""Trainer: the loop that fits a model to data, and measures and applies it.

It holds policy only: order of calls, modes, progress, where to stop. What is computed is the
model's, the loss's and the optimizer's.
"""

from __future__ import annotations

import contextlib
import math
import operator
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import functional as F
from .autograd import no_grad
from .data import ArrayDataset, Compose, DataLoader
from .nn import Module, fold_batch_norm
from .optim.lr_scheduler import ReduceLROnPlateau
from .plan import CompiledStep
from .random import get_rng_state, manual_seed, set_rng_state
from .tensor import Tensor, from_numpy

__all__ = ["EarlyStopping", "Trainer"]

Transform = Callable[..., NDArray[Any]]
Record = dict[str, float]
Hook = Callable[["Trainer"], object]


class EarlyStopping:
    """Ends a fit when a figure of the epochs' records has not improved for a while.

    Parameters
    ----------
    patience : int
        Epochs without improvement after which the fit ends, at least 1.
    min_delta : float
        What counts as improvement is more than this.
    monitor : str
        A name in the records: smaller is better, except for those that end with "accuracy".
        The fit must have validation data for those that begin with "validation".
    restore_best : bool
        Give the model the weights of its best epoch when the fit ends, early or after all epochs.
        Optimizer and schedule stay as they are.

    Attributes
    ----------
    best : float or None
        The best value of the last fit.
    best_epoch : int or None
        The number of that epoch, as in the records.
    stopped : bool
        Whether the last fit was ended early.

    Examples
    --------
    >>> stopping = EarlyStopping(patience=3, min_delta=1e-3)
    """

    def __init__(
        self,
        patience: int = 5,
        min_delta: float = 0.0,
        monitor: str = "validation_loss",
        restore_best: bool = True,
    ) -> None:
        self.patience = _at_least_1("patience", patience, "EarlyStopping")
        if not 0 <= min_delta < math.inf:
            raise ValueError(
                f"EarlyStopping: min_delta must be finite and not negative, got {min_delta}"
            )
        self.min_delta, self.monitor, self.restore_best = float(min_delta), monitor, restore_best
        self._begin()

    def _begin(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.stopped = False
        self._waited = 0
        self._weights: dict[str, NDArray[Any]] | None = None

    def _enough(self, record: Record, model: Any) -> bool:
        """Looks at an epoch's record; whether to stop."""
        if self.monitor not in record:
            known = ", ".join(record)
            raise ValueError(f"EarlyStopping: monitor is {self.monitor!r}, records have {known}")
        value = record[self.monitor]
        sign = -1.0 if self.monitor.endswith("accuracy") else 1.0
        if self.best is None or sign * (self.best - value) > self.min_delta:
            self.best, self.best_epoch, self._waited = value, int(record["epoch"]), 0
            if self.restore_best:
                self._weights = {k: t.numpy().copy() for k, t in model.state_dict().items()}
        else:
            self._waited += 1
        self.stopped = self._waited >= self.patience
        return self.stopped

    def _end(self, model: Any) -> None:
        if self._weights is not None and self._waited:
            model.load_state_dict(self._weights)
        self._weights = None


class Trainer:
    """Fits a model to data, evaluates it, and predicts with it.

    What a fit computes depends on the model, the data and `seed`, never on the number of threads
    or on what was prefetched: the same call gives the same bits.

    Parameters
    ----------
    model : nn.Module
        Called with a batch of inputs.
    optimizer : optim.Optimizer
        Of the model's parameters; not `LBFGS`, which wants all data at once.
    loss : callable, optional
        ``loss(outputs, targets)``: a Tensor of one element, the mean over the batch. Default:
        cross-entropy with integer labels.
    preprocess : callable, optional
        Applied to every batch of inputs, in training, evaluation and prediction: for example
        ``data.Normalize``, which makes float32 of uint8 images.
    progress : bool
        Show a bar for each epoch, on stderr.
    scheduler : optim.lr_scheduler.LRScheduler, optional
        Its `step` is called after every epoch or every step, as `schedule_by` says.
        `ReduceLROnPlateau` gets the epoch's validation loss, or without validation its loss.
    schedule_by : "epoch" or "step", optional
        Default: `scheduler.unit`, which is "step" for `OneCycleLR` and "epoch" for the others.
    compile : bool
        Record the step and replay it: see `fastnn.compile`. The same bits.
    before_step, after_step, after_epoch : callable, optional
        Called with the trainer: before each step of `fit` (to set a learning rate, say), after it
        (to limit weights, say), and when the record of an epoch has joined `history`.
    monitor : diagnostics.Monitor, optional
        Of the same model: is told of every step and every epoch.

    Attributes
    ----------
    history : list of dict
        One for each epoch: ``epoch, steps, loss, accuracy, seconds, images_per_second``, and with
        validation data ``validation_loss, validation_accuracy``. Loss and accuracy are means over
        the epoch, taken as the model changed. Accuracy is there if the targets are labels.
    epoch, step : int
        Epochs and steps done, over all calls of `fit`.
    progress_made : float
        The part of the current fit's steps that is done, from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn as fnn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((256, 2), dtype=np.float32)
    >>> y = (x.sum(axis=1) > 0).astype(np.int64)
    >>> model = fnn.nn.Linear(2, 2)
    >>> optimizer = fnn.optim.SGD(model.parameters(), lr=0.5)
    >>> trainer = Trainer(model, optimizer, progress=False)
    >>> history = trainer.fit((x, y), epochs=10, batch_size=32)
    >>> trainer.evaluate((x, y))["accuracy"] > 0.95
    True
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loss: Callable[[Any, Any], Tensor] | None = None,
        *,
        preprocess: Transform | None = None,
        progress: bool = True,
        scheduler: Any = None,
        schedule_by: str | None = None,
        compile: bool = False,
        before_step: Hook | None = None,
        after_step: Hook | None = None,
        after_epoch: Hook | None = None,
        monitor: Any = None,
    ) -> None:
        for name, value, wanted in (
            ("model", model, "parameters"), ("model", model, "train"),
            ("optimizer", optimizer, "step"), ("optimizer", optimizer, "zero_grad"),
        ):  # fmt: skip
            if not callable(getattr(value, wanted, None)):
                raise TypeError(f"Trainer: {name} has no method {wanted}, got {_kind(value)}")
        for name, value in (
            ("loss", loss), ("preprocess", preprocess),
            ("before_step", before_step), ("after_step", after_step), ("after_epoch", after_epoch),
        ):  # fmt: skip
            if value is not None and not callable(value):
                raise TypeError(f"Trainer: {name} must be callable, got {_kind(value)}")
        if scheduler is not None and not callable(getattr(scheduler, "step", None)):
            raise TypeError(f"Trainer: scheduler has no method step, got {_kind(scheduler)}")
        if monitor is not None and getattr(monitor, "model", None) is not model:
            raise ValueError("Trainer: monitor must be a Monitor of the same model")
        if schedule_by not in (None, "epoch", "step"):
            raise ValueError(f"Trainer: schedule_by must be 'epoch' or 'step', got {schedule_by!r}")
        self.scheduler = scheduler
        self.schedule_by = schedule_by or getattr(scheduler, "unit", "epoch")
        if isinstance(scheduler, ReduceLROnPlateau) and self.schedule_by == "step":
            raise ValueError("Trainer: ReduceLROnPlateau goes by epochs, schedule_by is 'step'")
        self.model = model
        self.optimizer = optimizer
        self.loss = F.cross_entropy if loss is None else loss
        self.preprocess = preprocess
        self.progress = progress
        self._compiled = CompiledStep(model, self.loss, optimizer) if compile else None
        self.before_step = before_step
        self.after_step = after_step
        self.after_epoch = after_epoch
        self.monitor = monitor
        self.history: list[Record] = []
        self.epoch = 0
        self.step = 0
        self.progress_made = 0.0

    def fit(
        self,
        train_data: Any,
        epochs: int,
        batch_size: int = 64,
        validation: Any = None,
        seed: int = 0,
        transform: Transform | None = None,
        *,
        mix: Callable[..., Any] | None = None,
        early_stopping: EarlyStopping | None = None,
    ) -> list[Record]:
        """Train for some epochs more; a further call goes on where the last one ended.

        Parameters
        ----------
        train_data : (inputs, targets), ArrayDataset or DataLoader
            Shuffled anew in each epoch. A DataLoader is used as it is: its own batch size, order
            and transform.
        epochs : int
            At least 1.
        batch_size : int
            The last batch of an epoch may be smaller.
        validation : (inputs, targets), ArrayDataset or DataLoader, optional
            Evaluated after each epoch.
        seed : int
            Non-negative; decides order, `transform` and dropout, together with the epoch.
        transform : callable, optional
            Augmentation, of the training batches only, before `preprocess`; see `DataLoader`.
        mix : callable, optional
            Augmentation of the training batches' inputs and targets after `preprocess`, such as
            `data.Mixup`; see `DataLoader`.
        early_stopping : EarlyStopping, optional
            May end the fit before all epochs are done.

        Returns
        -------
        list of dict
            The records of these epochs, which also join `history`.

        Raises
        ------
        FloatingPointError
            The loss is NaN or infinite; the message names the layer where that began. The model is
            as it was before that step or, if its parameters were not finite by then, when the
            epoch began.
        TypeError, ValueError
            Arguments of the wrong kind, no data, or inputs and targets that do not fit each other
            or the model.
        KeyboardInterrupt
            When interrupted; the model stays as it is after the last step and can be used.
        """
        epochs = _at_least_1("epochs", epochs)
        loader, prepare = self._loader(
            "fit", "train_data", train_data, batch_size, True, seed, transform, mix
        )
        if validation is not None:
            self._loader("fit", "validation", validation, batch_size)  # raises now, not later
        before = len(self.history)
        stream, training = get_rng_state(), self.model.training
        if early_stopping is not None:
            if validation is None and early_stopping.monitor.startswith("validation"):
                raise ValueError(
                    f"Trainer.fit: early stopping looks at {early_stopping.monitor}, but there is "
                    "no validation data"
                )
            early_stopping._begin()
        try:
            for i in range(epochs):
                manual_seed(_stream_seed(loader.seed, self.epoch))
                loader.set_epoch(self.epoch)
                self.model.train()
                record = self._train_epoch(loader, prepare, i, epochs)
                if validation is not None:
                    measured = self.evaluate(validation, loader.batch_size)
                    record |= {f"validation_{name}": value for name, value in measured.items()}
                if isinstance(self.scheduler, ReduceLROnPlateau):
                    self.scheduler.step(record.get("validation_loss", record["loss"]))
                elif self.scheduler is not None and self.schedule_by == "epoch":
                    self.scheduler.step()
                self.epoch += 1
                self.history.append(record)
                if self.monitor is not None:
                    self.monitor.end_epoch(**record)
                if self.after_epoch is not None:
                    self.after_epoch(self)
                if early_stopping is not None and early_stopping._enough(record, self.model):
                    break
        finally:
            self.model.train(training)
            set_rng_state(stream)
        if early_stopping is not None:
            early_stopping._end(self.model)
        return self.history[before:]

    def evaluate(
        self,
        data: Any,
        batch_size: int = 256,
        metrics: Mapping[str, Callable[[Any, Any], Any]] | None = None,
    ) -> dict[str, Any]:
        """Mean loss, and accuracy if the targets are labels, over all of `data`.

        Parameters
        ----------
        data : (inputs, targets), ArrayDataset or DataLoader
        batch_size : int
        metrics : mapping, optional
            Names to functions of all outputs and all targets, as NumPy arrays: those of
            `fastnn.metrics`, for example.

        Returns
        -------
        dict
            ``{"loss": ..., "accuracy": ...}``, and what the metrics return.
        """
        loader, prepare = self._loader("evaluate", "data", data, batch_size)
        mean, kept = _Mean(), list[Any]()
        with self._inference() as model:
            for x, y in loader:
                outputs = model(self._inputs("evaluate", x, prepare))
                mean.add(self.loss(outputs, y).item(), outputs, y)
                if metrics:
                    kept.append((outputs.numpy(), y))
        found = {}
        if metrics:
            whole = [np.concatenate(parts) for parts in zip(*kept, strict=True)]
            found = {name: metric(*whole) for name, metric in metrics.items()}
        return {**mean.record(), **found}

    def predict(self, x: Any, batch_size: int = 256) -> NDArray[Any]:
        """The model's outputs for inputs x (N, ...), as a NumPy array (N, ...)."""
        loader = DataLoader(ArrayDataset(x), batch_size, transform=self.preprocess)
        with self._inference() as model:
            return np.concatenate(
                [model(self._inputs("predict", part)).numpy() for (part,) in loader]
            )

    def _loader(
        self, method: str, name: str, data: Any, batch_size: int,
        shuffle: bool = False, seed: int = 0, transform: Transform | None = None, mix: Any = None,
    ) -> tuple[DataLoader, Transform | None]:  # fmt: skip
        """A loader of inputs and targets, and what is left to be done to its inputs."""
        where = f"Trainer.{method}: {name}"
        if isinstance(data, DataLoader):
            if transform is not None or mix is not None:
                name = "transform" if mix is None else "mix"
                raise ValueError(f"{where} is a DataLoader, which has its own {name}")
            loader, rest = data, self.preprocess
        else:
            if isinstance(data, tuple | list) and len(data) == 2:
                data = ArrayDataset(*data)
            if not isinstance(data, ArrayDataset):
                got = f"{len(data)} items" if isinstance(data, tuple | list) else _kind(data)
                raise TypeError(
                    f"{where} must be (inputs, targets), an ArrayDataset or a DataLoader, got {got}"
                )
            # All of it in the loader, whose thread works ahead.
            steps = [step for step in (transform, self.preprocess) if step is not None]
            whole = Compose(*steps) if steps else None
            loader = DataLoader(data, batch_size, shuffle, transform=whole, seed=seed, mix=mix)
            rest = None
        if len(loader.dataset.arrays) != 2:
            raise ValueError(
                f"{where} must hold inputs and targets, got {len(loader.dataset.arrays)} arrays"
            )
        return loader, rest

    def _train_epoch(
        self, loader: DataLoader, prepare: Transform | None, number: int, epochs: int
    ) -> Record:
        mean, steps, clock = _Mean(), len(loader), time.perf_counter()
        items = len(loader.dataset)
        if loader.drop_last:
            items = steps * loader.batch_size
        bar = _Bar(f"epoch {number + 1}/{epochs}", items) if self.progress else None
        self._good = _GoodState(self.model)
        batches: Any = iter(loader)
        with contextlib.closing(batches), bar or contextlib.nullcontext():
            for i, (x, y) in enumerate(batches):
                self.progress_made = (number + i / steps) / epochs
                if self.before_step is not None:
                    self.before_step(self)
                loss, outputs = self._train_step(self._inputs("fit", x, prepare), y, i)
                mean.add(loss, outputs, y)
                if bar is not None:
                    bar.update(len(x), mean)
        self.progress_made = (number + 1) / epochs
        seconds = time.perf_counter() - clock
        return {
            "epoch": self.epoch + 1, "steps": steps, **mean.record(), "seconds": seconds,
            "images_per_second": mean.count / seconds,
        }  # fmt: skip

    def _train_step(self, x: Tensor, y: NDArray[Any], i: int) -> tuple[float, Tensor]:
        loss, monitor = None, self.monitor
        self._good.before_step()
        if self._compiled is not None and not (monitor is not None and monitor.observing):
            value = self._compiled.backward(x, y)
            outputs = self._compiled.output
        else:
            self.optimizer.zero_grad()
            outputs = self.model(x)
            loss = self.loss(outputs, y)
            value = float(loss.item())
        if not math.isfinite(value):
            if monitor is not None:
                monitor.step(value)
            why = self._find_cause(x, y)
            raise FloatingPointError(
                f"Trainer.fit: the loss is {value} in epoch {self.epoch + 1}, step {i + 1};{why} "
                f"the model is as it was {self._good.restore()}. Is the learning rate too large, "
                "or are there NaNs in the data?"
            )
        if loss is not None:
            loss.backward()
        self.optimizer.step()
        if self.scheduler is not None and self.schedule_by == "step":
            self.scheduler.step()
        self.step += 1
        if monitor is not None:
            monitor.step(value if loss is None else loss, outputs, y, progress=self.progress_made)
        if self.after_step is not None:
            self.after_step(self)
        return value, outputs

    def _find_cause(self, x: Tensor, y: NDArray[Any]) -> str:
        """Where NaN or infinity begins, for a message."""
        from .diagnostics import detect_anomaly

        for name, parameter in getattr(self.model, "named_parameters", dict)():
            if not np.isfinite(parameter.numpy()).all():
                return f" an update made {name} so;"
        try:
            with no_grad(), detect_anomaly():
                self.loss(self.model(x), y)
        except FloatingPointError as error:
            return f" {error};"
        return ""

    def _inputs(self, method: str, x: NDArray[Any], prepare: Transform | None = None) -> Tensor:
        if prepare is not None:
            x = prepare(x)
        if x.dtype == np.uint8:
            raise TypeError(
                f"Trainer.{method}: the inputs are uint8; give the trainer a preprocess that makes "
                "floats of them, such as data.Normalize.fit(images)"
            )
        return from_numpy(x)

    @contextlib.contextmanager
    def _inference(self) -> Iterator[Any]:
        """The model in eval mode, with batch normalization folded where possible."""
        training = self.model.training
        self.model.eval()
        try:
            with no_grad():
                yield fold_batch_norm(self.model) if isinstance(self.model, Module) else self.model
        finally:
            self.model.train(training)


class _GoodState:
    """What a model goes back to: its buffers before each step, all of it as the epoch began."""

    def __init__(self, model: Any) -> None:
        self.parameters = _copies(model.parameters())
        self.buffers = _copies(getattr(model, "buffers", tuple)())
        self.all = self.parameters + [(b, b.numpy().copy()) for b, _ in self.buffers]

    def before_step(self) -> None:
        """Takes down the buffers, which a forward pass changes."""
        for tensor, kept in self.buffers:
            np.copyto(kept, tensor.numpy())

    def restore(self) -> str:
        """Which state it is."""
        finite = all(np.isfinite(p.numpy()).all() for p, _ in self.parameters)
        for tensor, kept in self.buffers if finite else self.all:
            np.copyto(tensor.numpy(), kept)
            tensor._array.touch()
        return "before this step" if finite else "when the epoch began, the optimizer is not"


def _copies(tensors: Any) -> list[tuple[Tensor, NDArray[Any]]]:
    return [(tensor, tensor.numpy().copy()) for tensor in tensors]


class _Mean:
    """Loss and accuracy over the batches so far."""

    def __init__(self) -> None:
        self.count, self.loss, self.right, self.labels = 0, 0.0, 0, True

    def add(self, loss: float, outputs: Any, targets: NDArray[Any]) -> None:
        n = len(targets)
        self.count += n
        self.loss += loss * n
        if targets.dtype.kind in "iu" and outputs.ndim == 2 and targets.ndim == 1:
            self.right += int((outputs.numpy().argmax(axis=1) == targets).sum())
        else:
            self.labels = False

    def record(self) -> Record:
        record = {"loss": self.loss / self.count}
        return record | {"accuracy": self.right / self.count} if self.labels else record

    def text(self) -> str:
        return ", ".join(
            f"accuracy {value:.1%}" if name == "accuracy" else f"{name} {value:.4f}"
            for name, value in self.record().items()
        )


class _Bar:
    """A progress bar in images, whose loss and accuracy are renewed a few times a second."""

    def __init__(self, title: str, total: int) -> None:
        from tqdm import tqdm

        # A log gets a line now and then, a terminal a lively bar.
        self._interval = 0.1 if sys.stderr is not None and sys.stderr.isatty() else 10.0
        self._bar = tqdm(
            total=total, desc=title, unit=" images", mininterval=self._interval, dynamic_ncols=True
        )
        self._left, self._renewed = total, 0.0

    def update(self, n: int, mean: _Mean) -> None:
        """Move on by n images."""
        self._left -= n
        now = time.perf_counter()
        if self._left <= 0 or now - self._renewed >= self._interval:
            self._bar.set_postfix_str(mean.text(), refresh=False)
            self._renewed = now
        self._bar.update(n)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()


def _stream_seed(seed: int, epoch: int) -> int:
    """A seed of the random stream (dropout) for one epoch, unlike those that users choose."""
    return int(np.random.SeedSequence(seed, spawn_key=(epoch,)).generate_state(1, np.uint64)[0])


def _at_least_1(name: str, value: Any, owner: str = "Trainer.fit") -> int:
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{owner}: {name} must be an int, got {_kind(value)}") from None
    if number < 1:
        raise ValueError(f"{owner}: {name} must be at least 1, got {number}")
    return number


def _kind(value: object) -> str:
    return type(value).__name__

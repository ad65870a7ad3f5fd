# SPDX-License-Identifier: BSD-3-Clause
"""Monitor: looks into the layers of a model at some of the steps of its training."""

from __future__ import annotations

import math
import operator
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import _core, nn
from ..autograd import is_grad_enabled
from ..tensor import Handle, Tensor, as_tensor
from .advice import Advice, advise
from .log import FORMAT, Entry, Log, LogWriter, plain, read_log
from .stats import Figures, Limits, limits_of

if TYPE_CHECKING:
    from ..watch import Server

__all__ = ["Monitor"]

_EARLY = (1, 2, 5, 10, 20)  # what goes wrong mostly does so at once
_UNITS = 64  # of the first layer, whose gradients' signs are counted
_KEPT_FIRST, _KEPT = 50, 200  # records in memory, some 0.2 MB each; the log has all of them


class _Layer:
    """What is known of one module: while a step is observed, and of its units over time."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        kind = type(module).__name__
        self.label = f"{name} ({kind})" if name else kind
        own = [p for p in module.parameters(recurse=False) if p._array.size]
        self.weight = next((p for p in own if p.ndim > 1), own[0] if own else None)
        self.limits: Limits | None = limits_of(module)
        self.ranges: dict[str, Any] = {}
        self.seen = 0  # samples
        self.silent: Any = None  # of each unit: samples since it fired last
        self.last: Any = None  # and the step at which that was; -1: never
        self.clear()

    def clear(self) -> None:
        self.figures: dict[str, Figures] = {}
        self.before: Any = None  # the weight as it was before the step
        self.shape: tuple[int, ...] = ()

    def see(self, what: str, array: _core.Array) -> None:
        """Takes in an activation or a gradient."""
        limits = self.limits if what == "activation" else None
        figures = Figures(array, limits, self.ranges.get(what))
        self.ranges[what] = figures.range
        if what in self.figures:
            self.figures[what].join(figures)
        else:
            self.figures[what] = figures

    def count_silent(self, step: int, samples: int) -> None:
        """Notes which units fired in this step."""
        fired = self.figures["activation"].fired
        if fired is None:
            return
        if self.silent is None or len(self.silent) != len(fired):
            self.seen, self.silent = 0, np.zeros(len(fired), np.int64)
            self.last = np.full(len(fired), -1)
        self.seen += samples
        self.silent += samples
        self.silent[fired] = 0
        self.last[fired] = step


class Monitor:
    """Measures activations, gradients, weights and updates of each layer, and says what is wrong.

    At the steps that are observed (the first ones, then every `every`-th), hooks on the layers
    compute the figures in one pass over each output and each gradient; at all others only the loss
    is noted, and the layers run fused as ever. The model's results are the same bits throughout.

    Watched are modules with parameters of their own and activation modules, while they are in
    training mode and recorded by the tape. Functions called in `forward` are not seen.

    Parameters
    ----------
    model : nn.Module
    optimizer : optim.Optimizer, optional
        For its learning rate.
    every : int
        Steps between observations.
    window : int
        A unit is dead that did not fire for the last `window` samples that were looked at, or,
        while there are not twice as many, for half of them.
    log : str or path, optional
        A file to which everything is appended, as lines of JSON; see `read_log`.

    Attributes
    ----------
    records : list of dict
        The observations, as in the log; of many the first and the last ones.
    epochs : list of dict
        What `end_epoch` was told.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range.
    OSError
        If the log cannot be opened. If it cannot be written later, there is a warning.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn as fnn
    >>> from fastnn.diagnostics import Monitor
    >>> fnn.manual_seed(0)
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.standard_normal((64, 8), dtype=np.float32), rng.integers(0, 3, 64)
    >>> model = fnn.models.mlp(8, (16,), 3)
    >>> optimizer = fnn.optim.SGD(model.parameters(), lr=0.1)
    >>> with Monitor(model, optimizer) as monitor:
    ...     for step in range(3):
    ...         optimizer.zero_grad()
    ...         loss = fnn.functional.cross_entropy(model(fnn.from_numpy(x)), y)
    ...         loss.backward()
    ...         optimizer.step()
    ...         monitor.step(loss)
    >>> [record["step"] for record in monitor.records]
    [0, 1, 2]
    >>> list(monitor.records[0]["layers"])
    ['1', '2', '3']
    """

    load = staticmethod(read_log)

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any = None,
        every: int = 50,
        window: int = 2000,
        log: str | os.PathLike[str] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"Monitor: model must be a Module, got {type(model).__name__}")
        if optimizer is not None and not hasattr(optimizer, "param_groups"):
            raise TypeError(f"Monitor: optimizer has no groups, got {type(optimizer).__name__}")
        self.model, self.optimizer = model, optimizer
        self.every, self.window = _positive("every", every), _positive("window", window)
        self.records: list[Entry] = []
        self.epochs: list[Entry] = []
        self.header: Entry = {}
        self._layers: list[_Layer] = []
        self._log = None if log is None else LogWriter(log)
        self._server: Server | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # of a log for the page only
        self._start = time.perf_counter()
        self._step = 0
        self._losses: list[float] = []
        self._broken = False  # the last loss was not finite
        self._closed = False
        self._handles: list[tuple[nn.Module, Handle]] = []
        self._clear()
        self._attach()

    @property
    def observing(self) -> bool:
        """Whether the step that comes or runs is observed."""
        return bool(self._handles)

    def step(
        self,
        loss: Any = None,
        outputs: Any = None,
        targets: Any = None,
        *,
        progress: float | None = None,
    ) -> None:
        """Says that a step is over: forward, backward and the optimizer's step.

        Parameters
        ----------
        loss : Tensor or float, optional
        outputs, targets : Tensor or array, optional
            Scores (N, classes) and labels (N,), for the accuracy.
        progress : float, optional
            How much of the training is done, from 0 to 1, for the log.
        """
        if self._closed:
            return
        if loss is not None:
            self._losses.append(float(loss))
        broken = bool(self._losses) and not math.isfinite(self._losses[-1])
        news = broken and not self._broken
        if self._order or news:
            self._observe(loss, outputs, targets, progress)
        if self._handles:
            self._detach()
        self._step += 1
        self._broken = broken
        if self._step % self.every == 0 or self._step in _EARLY or news:
            self._attach()

    def end_epoch(self, **measured: Any) -> None:
        """Takes down what was measured at the end of an epoch.

        Parameters
        ----------
        loss, accuracy, validation_loss, validation_accuracy, ... : number
        """
        entry: Entry = {"epoch_end": len(self.epochs) + 1, "step": self._step}
        entry = plain(entry | measured)
        self.epochs.append(entry)
        if self._log is not None and self.header:
            self._log.write(entry)

    def advice(self) -> list[Advice]:
        """What is wrong by now, the cause first where one thing leads to another."""
        return advise(Log(self.header, self.records, self.epochs))

    def report(self) -> str:
        """`advice` as text."""
        found = self.advice()
        return "\n".join(str(item) for item in found) if found else "No problems found."

    def serve(self, port: int = 0) -> Server:
        """Shows what is collected on a page of the browser, while it is collected.

        Parameters
        ----------
        port : int
            On 127.0.0.1; 0: any that is free.

        Returns
        -------
        Server
            Its `url` is the page's address. It ends with its `close`, the monitor's `close` or the
            process. A second call closes the first server.

        Raises
        ------
        OSError
            If the port is in use, or not allowed.
        TypeError, ValueError
            If `port` is not an integer from 0 to 65535.
        """
        from ..watch import Server

        if self._server is not None:
            self._server.close()
        if self._log is None:
            self._folder = tempfile.TemporaryDirectory(prefix="fastnn-")
            self._log = LogWriter(Path(self._folder.name) / "log.jsonl")
            if self.header:
                for entry in (self.header, *self.records, *self.epochs):
                    self._log.write(entry)
        self._server = Server(self._log.path, port, self._log.start)
        return self._server

    def to_tensorboard(self, directory: str | os.PathLike[str]) -> None:
        """Writes what is collected for TensorBoard; see `fastnn.watch.write_tensorboard`."""
        from ..watch import write_tensorboard

        write_tensorboard(Log(self.header, self.records, self.epochs), directory)

    def close(self) -> None:
        """Stops watching and serving, for good; what was collected stays."""
        self._closed = True
        self._detach()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = self._log = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- while a step is observed ---------------------------------------------------------------

    def _attach(self) -> None:
        if self._handles:
            return
        self._find_layers()
        add = self._handles.append
        add((self.model, self.model.register_forward_pre_hook(self._begin)))
        for layer in self._layers:
            hook = partial(self._see_output, layer)
            add((layer.module, layer.module.register_forward_hook(hook)))
        add((self.model, self.model.register_forward_hook(self._end)))

    def _find_layers(self) -> None:
        """What there is to watch: layers may have been replaced since the last time."""
        known = {layer.module: layer for layer in self._layers}
        self._layers = []
        for name, module in self.model.named_modules():
            new = _Layer(name, module)
            old = known.get(module)
            if old is not None and old.name == name and old.weight is new.weight:
                new = old
            if isinstance(module, nn.activation.Elementwise) or new.weight is not None:
                self._layers.append(new)

    def _detach(self) -> None:
        for module, handle in self._handles:
            handle.remove()
            if not module.has_hooks():
                module._hooks = None  # calls take the short way again
        self._handles.clear()
        self._clear()

    def _clear(self) -> None:
        """Forgets what was seen of a step."""
        self._order: list[_Layer] = []
        self._inside = False
        self._samples = 0
        self._input: Figures | None = None
        self._scales: list[float] | None = None
        self._output: Any = None
        for layer in self._layers:
            layer.clear()

    def _begin(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """The forward pass of the model begins."""
        if self._inside:  # the one before has failed
            self._clear()
        self._inside = self.model.training and is_grad_enabled()
        if not self._inside:
            return
        if not self._order:
            for layer in self._layers:
                if layer.weight is not None:
                    layer.before = layer.weight.numpy().copy()
        given = next((a for a in args if isinstance(a, Tensor | np.ndarray)), None)
        if given is None or not given.ndim or not given.shape[0]:
            return
        x = as_tensor(given, "Monitor")
        self._samples += x.shape[0]
        if x._array.dtype.startswith("float"):
            self._input = Figures(x._array)
            if x.ndim == 2 and x.shape[0] > 1 and not self.records:
                spread = np.sort(x.numpy().std(axis=0))
                self._scales = [float(np.median(spread)), float(spread[-1])]

    def _see_output(self, layer: _Layer, module: nn.Module, args: Any, output: Any) -> None:
        if not (self._inside and isinstance(output, Tensor)):
            return
        if not layer.figures:
            self._order.append(layer)
            layer.shape = output.shape[1:]
        layer.see("activation", output._array)
        if output.requires_grad:
            output.register_hook(lambda gradient: layer.see("gradient", gradient._array))

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._inside and isinstance(output, Tensor) and output._array.dtype.startswith("float"):
            self._output = output.numpy()
        self._inside = False

    # --- what comes of it ------------------------------------------------------------------------

    def _observe(self, loss: Any, outputs: Any, targets: Any, progress: float | None) -> None:
        """Makes a record of the step that is over."""
        record: Entry = {"step": self._step, "epoch": len(self.epochs)}
        record["seconds"] = time.perf_counter() - self._start
        if progress is not None:
            record["progress"] = float(progress)
        record["samples"] = self._samples
        if loss is not None:
            record["loss"] = self._losses[-1]
            record["mean_loss"] = float(np.mean(self._losses))
            node = getattr(loss, "_node", None)
            if node is not None:
                record["loss_kind"] = node.name
        self._losses.clear()
        accuracy = _accuracy(outputs, targets)
        if accuracy is not None:
            record["accuracy"] = accuracy
        if self.optimizer is not None:
            record["lr"] = float(self.optimizer.param_groups[0]["lr"])
        if self._input is not None:
            record["input"] = self._input.entry()
            if self._scales is not None:
                record["input"]["scales"] = self._scales
        if self._output is not None and self._output.ndim == 2 and len(self._output):
            with np.errstate(all="ignore"):  # it may not be finite
                spread = self._output.std(axis=0, dtype=np.float64)
            record["output"] = {"classes": self._output.shape[1], "spread": float(spread.mean())}
        norms = _core.grad_norm(
            "Monitor", [p.grad._array for p in self.model.parameters() if p.grad is not None], 2.0
        )
        record["gradient_norm"] = math.hypot(*norms)
        first = next((layer for layer in self._order if layer.weight is not None), None)
        record["layers"] = {
            layer.name: self._measure(layer, layer is first) for layer in self._order
        }
        ratios = [
            entry["update_ratio"]
            for entry in record["layers"].values()
            if "update_ratio" in entry and "identical" in entry["weight"]
        ]
        if ratios:
            record["update_ratio"] = float(np.median(ratios))
        if not self.header:
            self._write_header()
        record = plain(record)
        self.records.append(record)
        if len(self.records) > _KEPT:
            del self.records[_KEPT_FIRST]
        record["advice"] = [item._asdict() for item in self.advice()]
        if self._log is not None:
            self._log.write(record)
        self._clear()

    def _measure(self, layer: _Layer, first: bool) -> Entry:
        """What is recorded of one layer."""
        out: Entry = {}
        limits = layer.limits
        if "activation" in layer.figures:
            layer.count_silent(self._step, self._samples)
            entry = layer.figures["activation"].entry(limits is not None and limits.saturates)
            if layer.silent is not None:
                entry |= self._deaths(layer)
            out["activation"] = entry
        if "gradient" in layer.figures:
            out["gradient"] = layer.figures["gradient"].entry()
        if layer.weight is not None and layer.before is not None:
            self._measure_weight(layer, out, first)
        return out

    def _deaths(self, layer: _Layer) -> Entry:
        """Which of its units are dead, and between which observations they died."""
        samples = min(self.window, max(self._samples, layer.seen // 2))
        dead = layer.silent >= samples
        out: Entry = {
            "units": len(dead), "dead": float(dead.mean()), "window": samples,
            "never_fired": float((layer.last < 0).mean()),
        }  # fmt: skip
        when = layer.last[dead & (layer.last >= 0)]
        if when.size:
            low, high = np.percentile(when, (10, 90), method="nearest")
            steps = [record["step"] for record in self.records] + [self._step]
            out["died"] = [int(low), min((s for s in steps if s > high), default=self._step)]
        return out

    def _measure_weight(self, layer: _Layer, out: Entry, first: bool) -> None:
        weight = layer.weight
        assert weight is not None
        now = Figures(weight._array, bins=0)
        size = math.sqrt(float(np.vdot(layer.before, layer.before)))
        moved = np.subtract(weight.numpy(), layer.before, out=layer.before)
        update = math.sqrt(float(np.vdot(moved, moved)))
        out["weight"] = {"norm": now.norm, "std": now.std, "update_norm": update}
        if size > 0.0 and weight.requires_grad:
            out["update_ratio"] = update / size
        values = weight.numpy()
        if values.ndim > 1 and len(values) > 1:
            out["weight"]["identical"] = _identical(values)
        if weight.grad is not None:
            gradient = weight.grad.numpy()
            out["weight"]["gradient_norm"] = Figures(weight.grad._array, bins=0).norm
            if first and gradient.ndim > 1:
                signs = np.sign(gradient[:_UNITS].reshape(min(len(gradient), _UNITS), -1))
                known = np.abs(signs).sum(axis=1)
                some = known > 0
                if some.any():
                    agree = np.abs(signs.sum(axis=1)[some]) / known[some]
                    out["weight"]["one_sign"] = float(agree.mean())

    def _write_header(self) -> None:
        layers = []
        weights: _Layer | None = None
        for layer in self._order:
            if layer.weight is not None:
                weights = layer
            elif weights is None:
                continue
            layers.append({
                "name": layer.name, "label": layer.label, "kind": type(layer.module).__name__,
                "shape": list(layer.shape),
                "parameters": sum(p.numel() for p in layer.module.parameters(recurse=False)),
                "activation": isinstance(layer.module, nn.activation.Elementwise | nn.PReLU),
                "behind": weights.name,
            })  # fmt: skip
        self.header = {
            "fastnn_monitor": FORMAT, "time": int(time.time()), "model": type(self.model).__name__,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "optimizer": None if self.optimizer is None else type(self.optimizer).__name__,
            "every": self.every, "window": self.window, "layers": layers,
        }  # fmt: skip
        if self._log is not None:
            self._log.write(self.header)


def _positive(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"Monitor: {name} must be an int, got {type(value).__name__}") from None
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"Monitor: {name} must be at least 1, got {value}")
    return number


def _accuracy(outputs: Any, targets: Any) -> float | None:
    if outputs is None or targets is None:
        return None
    scores, labels = np.asarray(outputs), np.asarray(targets)
    if labels.dtype.kind not in "iu" or scores.ndim != 2 or labels.ndim != 1:
        return None
    return float((scores.argmax(axis=1) == labels).mean())


def _identical(weight: Any) -> float:
    """The share of units whose weights are those of the first unit."""
    if not (weight[1:4] == weight[0]).all(axis=tuple(range(1, weight.ndim))).any():
        return 0.0
    return float((weight == weight[0]).all(axis=tuple(range(1, weight.ndim))).mean())

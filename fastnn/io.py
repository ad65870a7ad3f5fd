"""Files: models and checkpoints as safetensors, with the architecture as JSON in the metadata.

A file is read without running anything from it: layers are looked up in the list of ours, numbers
are numbers. A write goes to a temporary file beside the target, is synced and then takes its place,
so that a crash leaves the old file or the new one. Equal weights give equal bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from . import nn
from .ensemble import Ensemble
from .random import get_rng_state, set_rng_state
from .tensor import Tensor
from .torch_weights import from_torch_state, to_torch_state

__all__ = [
    "from_torch_state", "load", "load_checkpoint", "load_preprocessing", "read_metadata",
    "replace_file", "save", "save_checkpoint", "to_torch_state",
]  # fmt: skip

_FORMAT = 1
_LAYER = ".layer"  # marks the JSON of a layer; no sub-module can have a name with a dot
_PREPROCESSING = ".preprocessing."  # before the names of its arrays; no weight's begins with a dot
_LAYERS: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Conv2d,
        nn.ConvTranspose2d, nn.DropConnect, nn.Dropout, nn.Embedding, nn.Flatten, nn.GroupNorm,
        nn.Identity, nn.Input, nn.LayerNorm, nn.Linear, nn.MaxPool2d, nn.Maxout, nn.Residual,
        nn.Sequential, Ensemble,
        *(getattr(nn, name) for name in nn.activation.__all__),
    )
}  # fmt: skip


@contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, to be written; it replaces `path` if the block succeeds."""
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: there is no directory {target.parent}")
    temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if error.errno and not error.filename:  # a full disk does not name the file
            error.filename = str(target)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too
    finally:
        os.close(folder)


def save(
    model: nn.Module,
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any] | None = None,
    *,
    preprocessing: Any = None,
) -> None:
    """Writes a model of fastnn's own layers: architecture and weights.

    Parameters
    ----------
    model : Module
    path : str or Path
        Replaced as a whole if it exists.
    metadata : mapping, optional
        JSON values of yours, stored along.
    preprocessing : optional
        A fitted transformer of `fastnn.preprocessing`, or a `data.Normalize`: what the model's
        inputs go through, for `load_preprocessing`.

    Raises
    ------
    ValueError
        If the model has a layer of another kind, or one layer or parameter in two places, or
        `preprocessing` is not fitted.
    TypeError
        If `metadata` is not JSON, or `preprocessing` of another kind.
    """
    content: dict[str, Any] = {
        "format": _FORMAT,
        "kind": "model",
        "model": _architecture(model),
        "metadata": dict(metadata or {}),
    }
    arrays = _arrays("", model.state_dict())
    if preprocessing is not None:
        from .preprocessing._compose import describe

        content["preprocessing"], found = describe("save", preprocessing)
        arrays |= {_PREPROCESSING + name: array for name, array in found.items()}
    _write("save", path, arrays, content)


def load(path: str | os.PathLike[str]) -> nn.Module:
    """The model that `save` wrote (or a checkpoint's), in training mode and with all trainable.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, not fastnn's, or names an unknown layer, or weights are missing.
    """
    content, arrays = _read("load", path)
    if content["kind"] == "checkpoint":
        arrays = _below("model.", arrays)
    else:
        arrays = {k: v for k, v in arrays.items() if not k.startswith(_PREPROCESSING)}
    return _rebuild("load", path, content, arrays)


def load_preprocessing(path: str | os.PathLike[str]) -> Any:
    """The transformer that `save` stored along with a model: the same bits as when it was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        As `load`; also if the model was saved without preprocessing, or with an unknown one.

    Examples
    --------
    >>> import numpy as np, os, tempfile, fastnn as fnn
    >>> scale = fnn.preprocessing.Standardize().fit(np.array([[1.0, 2.0], [3.0, 6.0]]))
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> fnn.save(fnn.nn.Linear(2, 1), path, preprocessing=scale)
    >>> fnn.load_preprocessing(path).transform(np.array([[3.0, 6.0]])).tolist()
    [[1.0, 1.0]]
    """
    from .preprocessing._compose import rebuild

    content, arrays = _read("load_preprocessing", path)
    description = content.get("preprocessing")
    if description is None:
        raise ValueError(f"load_preprocessing: {path} was saved without preprocessing")
    try:
        return rebuild(description, _below(_PREPROCESSING, arrays))
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise ValueError(f"load_preprocessing: {path} is broken: {error}") from None


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The `metadata` that `save` stored along with a model.

    `fastnn train --save` stores the settings, the classes' names, and the mean and standard
    deviation that `data.Normalize` takes.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load`.
    """
    content, _ = _read("read_metadata", path)
    found = content.get("metadata", {})
    return dict(found)


def save_checkpoint(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: Any = None,
    epoch: int = 0,
    **extra: Any,
) -> None:
    """Writes all that training needs to go on: weights, optimizer state, random stream, epoch.

    Parameters
    ----------
    path : str or Path
    model : Module
        Of any layers; only a model of fastnn's own can be loaded without making it first.
    optimizer : Optimizer, optional
    epoch : int
    **extra
        JSON values.
    """
    try:
        architecture = _architecture(model)
    except ValueError:
        architecture = None
    content: dict[str, Any] = {
        "format": _FORMAT, "kind": "checkpoint", "model": architecture, "epoch": epoch,
        "extra": extra, "random": list(get_rng_state()), "optimizer": None,
    }  # fmt: skip
    arrays = _arrays("model.", model.state_dict())
    if optimizer is not None:
        state = optimizer.state_dict()
        plain: dict[str, dict[str, Any]] = {}
        for number, values in state["state"].items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    arrays[f"optimizer.{number}.{name}"] = value.numpy()
                else:
                    plain.setdefault(str(number), {})[name] = value
        content["optimizer"] = {
            "class": type(optimizer).__name__, "groups": state["param_groups"], "plain": plain
        }  # fmt: skip
    _write("save_checkpoint", path, arrays, content)


def load_checkpoint(
    path: str | os.PathLike[str], model: nn.Module | None = None, optimizer: Any = None
) -> dict[str, Any]:
    """Puts model, optimizer and random stream back to where `save_checkpoint` found them.

    Parameters
    ----------
    path : str or Path
    model : Module, optional
        Takes the weights; made from the file's architecture unless given.
    optimizer : Optimizer, optional
        Of the class that was saved.

    Returns
    -------
    dict
        "model", "epoch", and what was saved as `extra`.

    Raises
    ------
    ValueError, RuntimeError
        If the file is broken, or does not fit the model or the optimizer; nothing was changed.
    """
    op = "load_checkpoint"
    content, arrays = _read(op, path)
    if content["kind"] != "checkpoint":
        raise ValueError(f"{op}: {path} holds a model and no training state; use load")
    weights = _below("model.", arrays)
    try:
        seed, counter = map(int, content["random"])
        result = {**content["extra"], "epoch": int(content["epoch"])}
        state = None if optimizer is None else _optimizer_state(content, arrays, optimizer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{op}: {path} does not fit: {error}") from None
    if model is None:
        model = _rebuild(op, path, content, weights)
    else:
        model.check_state_dict(weights)
    if state is not None:
        optimizer.load_state_dict(state)
    model.load_state_dict(weights)
    set_rng_state((seed, counter))
    return {**result, "model": model}


def _optimizer_state(
    content: dict[str, Any], arrays: Mapping[str, Any], optimizer: Any
) -> dict[str, Any]:
    saved = content["optimizer"]
    if saved is None:
        raise ValueError("it was saved without an optimizer")
    if saved["class"] != type(optimizer).__name__:
        raise ValueError(
            f"it has the state of {saved['class']}, optimizer is {type(optimizer).__name__}"
        )
    state: dict[int, dict[str, Any]] = {int(n): dict(v) for n, v in saved["plain"].items()}
    for key, array in _below("optimizer.", arrays).items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = array
    return {"state": state, "param_groups": saved["groups"]}


def _architecture(model: nn.Module) -> Any:
    if not isinstance(model, nn.Module):
        raise TypeError(f"save: model must be a Module, got {type(model).__name__}")
    paths = sum(len(list(m.parameters(recurse=False))) for _, m in model._walk(""))
    if paths != len(list(model.parameters())):
        raise ValueError("save: one parameter or layer stands in two places; save its state_dict()")
    return _describe(model)


def _describe(value: Any, seen: set[nn.Module] | None = None) -> Any:
    """JSON for a layer and those inside it."""
    seen = set() if seen is None else seen
    if isinstance(value, nn.Module):
        kind = type(value).__name__
        if _LAYERS.get(kind) is not type(value):
            raise ValueError(f"save: {kind} is not one of fastnn's layers; save its state_dict()")
        if value in seen:
            raise ValueError(f"save: one {kind} stands in two places; save its state_dict()")
        seen.add(value)
        return {_LAYER: kind, "config": _describe(value.config(), seen)}
    if isinstance(value, Mapping):
        return {name: _describe(item, seen) for name, item in value.items()}
    return value


def _make(value: Any, path: Any) -> Any:
    """The layer that `_describe` described."""
    if not isinstance(value, dict):
        return value
    made = {name: _make(item, path) for name, item in value.items() if name != _LAYER}
    if _LAYER not in value:
        return made
    kind = _LAYERS.get(value[_LAYER]) if isinstance(value[_LAYER], str) else None
    if kind is None:
        known = ", ".join(sorted(_LAYERS))
        raise ValueError(f"load: {path} has an unknown layer {value[_LAYER]!r}; known: {known}")
    try:
        return kind.from_config(made["config"])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"load: {path} has a wrong {kind.__name__}: {error}") from error


def _rebuild(
    op: str, path: Any, content: dict[str, Any], weights: dict[str, np.ndarray[Any, Any]]
) -> nn.Module:
    if content.get("model") is None:
        raise ValueError(f"{op}: {path} has weights of a model with layers of its own; pass model")
    before = get_rng_state()  # layers draw weights that are overwritten at once
    try:
        model = _make(content["model"], path)
    except RecursionError:
        raise ValueError(f"{op}: {path} has layers nested too deeply") from None
    finally:
        set_rng_state(before)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{op}: {path} does not describe a model")
    for name, tensor in model.state_dict().items():
        if name in weights and weights[name].dtype != tensor.dtype:
            if weights[name].dtype not in (np.float32, np.float64):
                raise ValueError(f"{op}: {path}: {name} is {weights[name].dtype}, not float")
            model.to_dtype(weights[name].dtype)
            break
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{op}: {path} does not fit its own architecture: {error}") from None
    return model


def _arrays(prefix: str, state: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    return {prefix + name: tensor.numpy() for name, tensor in state.items()}


def _below(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _write(
    op: str, path: str | os.PathLike[str], arrays: dict[str, np.ndarray[Any, Any]], content: Any
) -> None:
    import json  # here and below, to keep `import fastnn` fast

    from safetensors.numpy import save as serialize

    try:
        # One key: safetensors writes several in an order that changes from run to run.
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{op}: only JSON values can be stored: {error}") from None
    data = serialize(arrays, {"fastnn": text})
    with replace_file(path) as temporary, open(temporary, "xb") as file:
        file.write(data)


def _read(
    op: str, path: str | os.PathLike[str]
) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """(content of the metadata, arrays)."""
    import json

    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{op}: no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{op}: {path} is not a whole safetensors file: {error}") from None
    if "fastnn" not in metadata:
        raise ValueError(
            f"{op}: {path} has no architecture: it was not written by fastnn.save "
            "(its weights can go to load_state_dict of a model)"
        )
    try:
        content = json.loads(metadata["fastnn"])
        version, kind = content["format"], content["kind"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{op}: {path} has broken metadata: {error}") from None
    if version != _FORMAT or kind not in ("model", "checkpoint"):
        raise ValueError(f"{op}: {path} has format {version} {kind}, known: {_FORMAT}")
    return content, arrays

"""ArrayDataset and DataLoader: mini-batches, shuffled and transformed ahead of time.

What a batch contains depends on (seed, epoch, batch index) alone, never on which thread made it
or when: every random decision has a Philox generator of its own, seeded with these three.
"""

from __future__ import annotations

import operator
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._transforms import takes_rng

__all__ = ["ArrayDataset", "DataLoader"]

Batch = tuple[NDArray[Any], ...]


class ArrayDataset:
    """Arrays of equal length, indexed together along their first axis.

    Parameters
    ----------
    *arrays : array
        NumPy arrays, or objects with ``__array__``. Not copied if they are C-contiguous.

    Raises
    ------
    TypeError
        Not an array, or an array of objects.
    ValueError
        No arrays, an array without axes, or unequal lengths.

    Examples
    --------
    >>> data = ArrayDataset(np.arange(6).reshape(3, 2), np.array([7, 8, 9]))
    >>> len(data)
    3
    >>> data[1:]
    (array([[2, 3],
           [4, 5]]), array([8, 9]))
    """

    def __init__(self, *arrays: ArrayLike) -> None:
        if not arrays:
            raise ValueError("ArrayDataset: expected at least one array, got none")
        self.arrays = tuple(_as_array(i, array) for i, array in enumerate(arrays))
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) > 1:
            raise ValueError(f"ArrayDataset: expected arrays of one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int | slice | ArrayLike) -> tuple[Any, ...]:
        """Items at an int, a slice (views) or an integer array (copies), as a tuple."""
        if isinstance(index, slice):
            return tuple(array[index] for array in self.arrays)
        indices = np.asarray(index)
        if indices.ndim > 1 or not np.issubdtype(indices.dtype, np.integer):
            raise TypeError(
                "ArrayDataset: expected an int, a slice or a 1-d integer array as index, "
                f"got {index!r}"
            )
        if indices.ndim == 0:
            return tuple(array[int(indices)] for array in self.arrays)
        return tuple(np.take(array, indices, axis=0) for array in self.arrays)


class DataLoader:
    """Iterate over mini-batches, optionally shuffled, transformed and prepared ahead.

    Each ``iter(loader)`` is one epoch: the first is epoch 0, each further one advances it, and
    `set_epoch` chooses it. The same seed and epoch give the same batches, bit for bit, whatever
    `prefetch` is. Batches are fresh, C-contiguous arrays: yours to change or keep.

    Parameters
    ----------
    data : ArrayDataset, tuple of arrays, or one array
        Yielded as tuples of as many arrays.
    batch_size : int
        Items in a batch; the last one may be smaller.
    shuffle : bool
        A new order in each epoch, drawn from (seed, epoch).
    drop_last : bool
        Leave out the last batch if it is smaller.
    transform : callable, optional
        Applied to the first array's batch: ``transform(x)``, or ``transform(x, rng)`` if it has
        two required parameters; `rng` is a numpy Generator (Philox) seeded from
        (seed, epoch, batch index). Has to return as many items as it got.
    mix : callable, optional
        Applied to the whole batch after `transform`: ``mix(*arrays, rng)`` returns as many arrays,
        such as `Mixup` of inputs and labels.
    seed : int
        Non-negative.
    prefetch : int
        Batches that a background thread prepares ahead; 0: no thread.

    Raises
    ------
    TypeError
        An argument of the wrong type, or a transform that takes no or more than two arguments.
        While iterating: a transform that returns no array.
    ValueError
        No data, arrays of unequal length, ``batch_size < 1``, ``seed < 0``, ``prefetch < 0``, or
        `drop_last` leaves no batch. While iterating: a transform that changes the batch size.
        What a transform raises comes out of the loop unchanged.

    Examples
    --------
    >>> loader = DataLoader((np.arange(5), np.arange(5) * 10), batch_size=2)
    >>> for x, y in loader:
    ...     print(x, y)
    [0 1] [ 0 10]
    [2 3] [20 30]
    [4] [40]
    """

    def __init__(
        self,
        data: ArrayDataset | tuple[ArrayLike, ...] | ArrayLike,
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        transform: Callable[..., NDArray[Any]] | None = None,
        seed: int = 0,
        prefetch: int = 2,
        *,
        mix: Callable[..., tuple[NDArray[Any], ...]] | None = None,
    ) -> None:
        if isinstance(data, ArrayDataset):
            self.dataset = data
        else:
            self.dataset = ArrayDataset(*(data if isinstance(data, tuple) else (data,)))
        self.batch_size = _check_int("batch_size", batch_size, 1)
        self.shuffle = _check_bool("shuffle", shuffle)
        self.drop_last = _check_bool("drop_last", drop_last)
        self.transform = transform
        if mix is not None and not callable(mix):
            raise TypeError(f"DataLoader: mix must be callable, got {type(mix).__name__}")
        self.mix = mix
        self.seed = _check_int("seed", seed, 0)
        self.prefetch = _check_int("prefetch", prefetch, 0)
        self._transform_takes_rng = transform is not None and takes_rng("DataLoader", transform)
        self._epoch = 0
        items = len(self.dataset)
        if items == 0:
            raise ValueError("DataLoader: data is empty")
        if len(self) == 0:
            raise ValueError(
                f"DataLoader: drop_last leaves no batch of {batch_size}, data has {items} items"
            )

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        items = len(self.dataset)
        return items // self.batch_size if self.drop_last else -(-items // self.batch_size)

    @property
    def epoch(self) -> int:
        """The epoch that the next ``iter(loader)`` runs through."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Make the next ``iter(loader)`` run through `epoch` (a non-negative int)."""
        self._epoch = _check_int("epoch", epoch, 0)

    def __iter__(self) -> Iterator[Batch]:
        batches = self._batches(self._epoch)
        self._epoch += 1
        return _ahead(batches, self.prefetch) if self.prefetch else batches

    def _batches(self, epoch: int) -> Iterator[Batch]:
        order = self._rng(epoch, 0).permutation(len(self.dataset)) if self.shuffle else None
        for i in range(len(self)):
            part = slice(i * self.batch_size, (i + 1) * self.batch_size)
            if order is None:
                batch = tuple(array.copy() for array in self.dataset[part])
            else:
                batch = self.dataset[order[part]]
            rng = self._rng(epoch, i + 1) if self._transform_takes_rng or self.mix else None
            if self.transform is not None:
                batch = (self._transformed(batch[0], rng), *batch[1:])
            if self.mix is not None:
                batch = self._mixed(batch, rng)
            yield batch

    def _mixed(self, batch: Batch, rng: np.random.Generator | None) -> Batch:
        assert self.mix is not None
        mixed = tuple(self.mix(*batch, rng))
        if [getattr(a, "shape", ())[:1] for a in mixed] != [a.shape[:1] for a in batch]:
            raise ValueError(
                f"DataLoader: expected mix to return {len(batch)} arrays of {len(batch[0])} items"
            )
        return tuple(np.ascontiguousarray(a) for a in mixed)

    def _transformed(self, x: NDArray[Any], rng: np.random.Generator | None) -> NDArray[Any]:
        assert self.transform is not None
        n = len(x)
        x = self.transform(x, rng) if self._transform_takes_rng else self.transform(x)
        if not isinstance(x, np.ndarray):
            raise TypeError(
                f"DataLoader: expected transform to return a numpy array, got {type(x).__name__}"
            )
        if x.shape[:1] != (n,):
            raise ValueError(
                f"DataLoader: expected transform to keep the batch size {n}, got shape {x.shape}"
            )
        return np.ascontiguousarray(x)

    def _rng(self, epoch: int, stream: int) -> np.random.Generator:
        # spawn_key rather than a longer seed: SeedSequence takes (s, e) and (s, e, 0) for one.
        sequence = np.random.SeedSequence(self.seed, spawn_key=(epoch, stream))
        return np.random.Generator(np.random.Philox(sequence))


def _ahead(batches: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """Yield what `batches` yields, made by a thread that is up to `depth` batches ahead."""
    # An entry is (batch, None), or (None, why the thread ended).
    ready: queue.Queue[tuple[Batch | None, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(
        target=_produce, args=(batches, ready, stop), name="fastnn-DataLoader", daemon=True
    )
    thread.start()
    try:
        while True:
            batch, error = _get(ready, thread)
            if batch is not None:
                yield batch
            elif isinstance(error, StopIteration):
                return
            else:
                assert error is not None
                try:
                    raise error
                finally:
                    del error  # its traceback refers to this frame
    finally:
        # The loop ended, raised, or was left early. One free place is enough for the thread
        # to notice, since it looks at `stop` after each entry. At interpreter exit daemon
        # threads are frozen already: waiting for one, or for a lock that it holds, may hang.
        if not sys.is_finalizing():
            stop.set()
            while not ready.empty():
                ready.get_nowait()
            thread.join()


def _get(
    ready: queue.Queue[tuple[Batch | None, BaseException | None]], thread: threading.Thread
) -> tuple[Batch | None, BaseException | None]:
    while True:
        try:
            return ready.get(timeout=1.0)
        except queue.Empty:
            # The thread always says why it ends. A forked child has no such thread.
            if not thread.is_alive() and ready.empty():
                raise RuntimeError(
                    "DataLoader: the prefetching thread is gone; after a fork, start a new "
                    "iter(loader) in the child process"
                ) from None


def _produce(
    batches: Iterator[Batch],
    ready: queue.Queue[tuple[Batch | None, BaseException | None]],
    stop: threading.Event,
) -> None:
    try:
        while not stop.is_set():
            ready.put((next(batches), None))
    except BaseException as error:
        ready.put((None, error))


def _as_array(position: int, array: ArrayLike) -> NDArray[Any]:
    if not hasattr(array, "__array__"):
        raise TypeError(
            f"ArrayDataset: expected array {position} to be a numpy array, "
            f"got {type(array).__name__}"
        )
    result = np.asarray(array)
    if result.dtype.hasobject:
        raise TypeError(f"ArrayDataset: array {position} has dtype {result.dtype}")
    if result.ndim == 0:
        raise ValueError(f"ArrayDataset: expected array {position} to have items, got a scalar")
    return np.ascontiguousarray(result)


def _check_int(argument: str, value: object, least: int) -> int:
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"DataLoader: {argument} must be an int, got {type(value).__name__}"
        ) from None
    if number < least:
        raise ValueError(f"DataLoader: {argument} must be at least {least}, got {number}")
    return number


def _check_bool(argument: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"DataLoader: {argument} must be True or False, got {value!r}")
    return bool(value)

# SPDX-License-Identifier: BSD-3-Clause
"""Runs trials: here, one after the other, or in processes of their own that share the threads."""

from __future__ import annotations

import contextlib
import pickle
import signal
from collections.abc import Iterator
from typing import Any

from ..config import get_num_threads, set_num_threads
from ._trial import Objective, Rule, Trial, run_trial


class Serial:
    """Trials in this process."""

    def __init__(self, objective: Objective, rule: Rule | None) -> None:
        self._objective, self._rule = objective, rule

    def run(self, trials: list[Trial]) -> Iterator[Trial]:
        """The trials, in order, as they end."""
        for trial in trials:
            yield run_trial(self._objective, trial, self._rule)

    def close(self) -> None:
        """Nothing is open."""


class Pool:
    """Trials in `workers` processes, each with its part of the threads.

    A process that dies costs the trial that it was at, which then counts as failed; another process
    takes its place. Processes are spawned, since one that was forked may not use OpenMP.

    Raises
    ------
    TypeError
        If the objective or the rule cannot be sent to another process.
    RuntimeError
        If a process ends before it is ready.
    """

    def __init__(self, objective: Objective, rule: Rule | None, workers: int) -> None:
        from multiprocessing import get_context

        try:
            self._work = pickle.dumps((objective, rule))
        except Exception as error:  # pickle raises of many kinds
            raise TypeError(
                "search: with workers > 1 the objective must be a function at the top of a module "
                f"(or an instance of a class there): {error}"
            ) from None
        self._context = get_context("spawn")
        self._threads = max(1, get_num_threads() // workers)
        self._workers: list[_Worker] = []
        try:
            for _ in range(workers):
                self._workers.append(_Worker(self._context, self._work, self._threads))
        except BaseException:
            self.close()
            raise

    def run(self, trials: list[Trial]) -> Iterator[Trial]:
        """The trials, in the order in which they end."""
        from multiprocessing.connection import wait

        left = trials[::-1]
        busy: dict[Any, tuple[int, Trial]] = {}
        idle = list(range(len(self._workers)))
        while left or busy:
            while left and idle:
                number, trial = idle.pop(), left.pop()
                worker = self._workers[number]
                worker.wait_until_ready()
                with contextlib.suppress(OSError):  # dead; receiving tells how
                    worker.link.send(trial)
                busy[worker.link] = number, trial
            for link in wait(list(busy)):
                number, trial = busy.pop(link)
                try:
                    yield self._workers[number].link.recv()
                except (EOFError, OSError):
                    how = self._workers[number].end()
                    self._workers[number] = _Worker(self._context, self._work, self._threads)
                    yield trial.failed(f"its process {how}")
                idle.append(number)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.end()


class _Worker:
    """A process, and the link to it."""

    def __init__(self, context: Any, work: bytes, threads: int) -> None:
        self.link, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, threads), daemon=True)
        self.process.start()
        theirs.close()  # so that the link ends when the process does
        self._ready = False

    def wait_until_ready(self) -> None:
        """Until it has loaded the objective."""
        if self._ready:
            return
        try:
            problem = self.link.recv()
        except (EOFError, OSError):
            problem = (
                f"it {self.end()}. A script that searches with workers > 1 must do so below "
                'if __name__ == "__main__":'
            )
        if problem:
            raise RuntimeError(f"search: a worker process could not start: {problem}")
        self._ready = True

    def end(self) -> str:
        """How the process ended; it is given some seconds to."""
        self.link.close()
        self.process.join(5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        if code < 0:
            return f"was ended by signal {-code} ({signal.Signals(-code).name})"
        return f"ended with exit code {code}"


def _serve(link: Any, work: bytes, threads: int) -> None:
    """The life of a worker process: trials come in, and go out when they have ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, too, and ends this one
    set_num_threads(threads)
    try:
        objective, rule = pickle.loads(work)
    except Exception as error:
        link.send(f"{type(error).__name__}: {error}")
        return
    with contextlib.suppress(EOFError, OSError):  # the parent has gone
        link.send(None)
        while True:
            link.send(run_trial(objective, link.recv(), rule))

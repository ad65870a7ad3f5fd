# SPDX-License-Identifier: BSD-3-Clause
"""The processes in which the contenders run, and how this one talks with them.

Each contender has its own process. While one is timed the others are stopped by a signal: a
thread pool that still spins after its work cannot take the cores from the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import isa as instructions
from .workloads import COPY, Array, Workload

# glibc then keeps large blocks and hands them out again, instead of mapping fresh pages.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
_FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # would hold NumPy's BLAS back
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS",
)  # fmt: skip

# Loads this package alone, so that a peer's process does not import fastnn and its thread pool.
_BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location(
    "fastnn_bench", sys.argv[1] + "/__init__.py", submodule_search_locations=[sys.argv[1]])
sys.modules["fastnn_bench"] = importlib.util.module_from_spec(spec)
from fastnn_bench.worker import main
sys.exit(main(sys.argv[2:]))
"""


class WorkerError(Exception):
    """A worker failed: it could not start, raised, died, or did not answer in time."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class AbsentError(Exception):
    """The contender's library is not installed."""


@dataclass(frozen=True)
class Contender:
    """A library in one of its forms.

    ``kinds`` and ``nets`` limit what it takes part in. What it does in ``by_hand`` is compared and
    shown, but no competition: there the work is a program written for it, not something that it
    offers. A ``yardstick`` is no library: it has no outputs to compare.
    """

    name: str
    lib: str
    options: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] | None = None
    by_hand: tuple[str, ...] = ()
    nets: tuple[str, ...] | None = None
    yardstick: bool = False

    def takes_part(self, work: Workload) -> bool:
        """Whether it may be asked to do this."""
        if self.kinds and work.kind not in self.kinds:
            return False
        return self.nets is None or work.args.get("net") in self.nets


OURS = Contender("fastnn", ".lib_fastnn")
REPLAYED = Contender("fastnn compiled", ".lib_fastnn", {"compiled": True}, kinds=("step", "infer"))
NUMPY = Contender("NumPy", ".lib_numpy", by_hand=("step",))
TORCH = Contender("PyTorch", ".lib_torch")
YARDSTICK = Contender(COPY, ".lib_copy", kinds=("activation",), yardstick=True)
PEERS = (
    Contender("PyTorch tuned", ".lib_torch", {"tuned": True}, _KEEP_MEMORY),
    # Compiling the deeper networks takes minutes.
    Contender(
        "PyTorch compiled", ".lib_torch", {"tuned": True, "compiled": True}, _KEEP_MEMORY,
        ("step",), nets=("tiny_mlp", "mlp", "cifar_quick", "resnet20"),
    ),
    Contender("JAX", ".lib_jax", {}, {"JAX_PLATFORMS": "cpu"}),
    Contender("scikit-learn", ".lib_sklearn", kinds=("step",), nets=("tiny_mlp", "mlp")),
    Contender("ONNX Runtime", ".lib_onnx", kinds=("infer",)),
)  # fmt: skip
OUR_NAMES = (OURS.name, REPLAYED.name)


def environment(
    threads: int, extra: Mapping[str, str], lib: str = "", isa: str = "native"
) -> dict[str, str]:
    """Return a worker's environment: equal threads; nothing but ``isa`` holds a BLAS back."""
    env = {k: v for k, v in os.environ.items() if k not in _FORCED}
    env.update(dict.fromkeys(_THREADS, str(threads)))
    env.update(extra)
    return instructions.merged(env, lib, isa)


class Worker:
    """A contender in its process. It is stopped except while it answers.

    Raises `AbsentError` if the library is not installed, `WorkerError` if it fails otherwise. With
    ``wait=False`` the process starts, and ``greet`` must be called next. Linux ends the process
    with the thread that started it.
    """

    def __init__(
        self, contender: Contender, threads: int, timeout: float = 300.0, isa: str = "native",
        wait: bool = True,
    ) -> None:  # fmt: skip
        self.contender, self.timeout = contender, timeout
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - see close
        command = [
            sys.executable, "-P", "-c", _BOOT, str(Path(__file__).parent), "--lib", contender.lib,
            "--threads", str(threads), "--options", json.dumps(dict(contender.options)),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            encoding="utf-8", env=environment(threads, contender.env, contender.lib, isa),
        )  # fmt: skip
        self._replies: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        if wait:
            self.greet()

    def greet(self) -> None:
        """Wait until the library is imported."""
        try:
            hello = self._reply(self.timeout)
            if "absent" in hello:
                raise AbsentError(hello["absent"])
        except BaseException:
            self.close()
            raise
        self.versions: dict[str, str] = hello["versions"]
        self.config: dict[str, str] = hello["config"]
        self.uses: str = hello["uses"]
        self._pause()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._replies.put(line)
        self._replies.put("")  # the process ended

    def _reply(self, timeout: float) -> dict[str, Any]:
        name = self.contender.name
        try:
            line = self._replies.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise WorkerError(name, f"no answer within {timeout:g} s") from None
        if not line:
            self._log.seek(0)
            tail = self._log.read().strip().splitlines()[-3:]
            code = self._process.wait()
            raise WorkerError(name, f"its process ended (exit code {code}): {' | '.join(tail)}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(name, reply["error"])
        return reply

    def _signal(self, name: str) -> None:
        if hasattr(signal, name) and self._process.poll() is None:
            self._process.send_signal(getattr(signal, name))

    def _pause(self) -> None:
        self._signal("SIGSTOP")

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and return the reply; the process runs only meanwhile."""
        if not self.alive:
            raise WorkerError(self.contender.name, "its process has ended")
        assert self._process.stdin
        self._signal("SIGCONT")
        try:
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
            return self._reply(self.timeout)
        except BrokenPipeError:
            return self._reply(self.timeout)  # tells what it died of
        finally:
            self._pause()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()  # reaches a stopped process too
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._log.close()


@dataclass(frozen=True)
class Seat:
    """One of several jobs that a worker has at the same time."""

    worker: Worker
    slot: int

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Ask the worker about this job."""
        return self.worker.ask(do, slot=self.slot, **request)


def outputs(worker: Worker | Seat) -> dict[str, Array]:
    """Fetch the outputs of the workload that was set up."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "outputs.npz")
        worker.ask("check", path=path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

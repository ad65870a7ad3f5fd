# SPDX-License-Identifier: BSD-3-Clause
"""A library for tests of the bench: it doubles an array, and misbehaves as it is told to."""

import os
import sys
import time
from pathlib import Path

import numpy as np
from fastnn_bench.job import Job, Library

print("noise on standard output while it is imported")


def open_library(threads, **options):
    if options.get("missing"):
        import no_such_module_anywhere  # noqa: F401
    if options.get("exits"):
        print("goodbye", file=sys.stderr)
        os._exit(3)
    if options.get("refuses"):
        raise RuntimeError("no licence")
    return Dummy(threads, **options)


class Dummy(Library):
    def __init__(self, threads, name="dummy", log="", wrong=0.0, sleep=0.0, dies="", does=True):
        self.name, self.log = name, log
        self.wrong, self.sleep, self.dies = wrong, sleep, dies
        self.versions = {
            name: "1.0",
            "threads": str(threads),
            "environment": os.environ.get("OMP_NUM_THREADS", "unset"),
            "forced": os.environ.get("OPENBLAS_CORETYPE", "unset"),
            "loaded fastnn": str("fastnn" in sys.modules),
            "pid": str(os.getpid()),
        }
        self.config = {"target": "dummy"}
        if does:
            self.matmul = self._matmul

    def _note(self, what):
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{self.name} {what}\n")

    def _matmul(self, args, data):
        def run():
            self._note("run")
            if self.dies == "run":
                os._exit(7)
            time.sleep(self.sleep)

        def outputs():
            print("noise on standard output")
            if self.dies == "check":
                os._exit(7)
            if self.dies == "raise":
                raise FloatingPointError("this is not good")
            return {"c": data["a"] @ data["b"] + np.float32(self.wrong)}

        return Job(run, outputs)

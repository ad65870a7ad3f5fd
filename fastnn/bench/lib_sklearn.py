# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn: its MLPClassifier does the steps of the dense networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from .isa import blas_in_use, numpy_in_use
from .job import Job, Library, UnsupportedError
from .nets import NETS
from .workloads import LEARNING_RATE, MOMENTUM, Array

_ACTS = {"relu": "relu", "sigmoid": "logistic", "tanh": "tanh", "identity": "identity"}


def open_library(threads: int) -> Library:
    """Use scikit-learn as it is; its BLAS takes the number of threads from the environment."""
    return SciKitLearn()


class SciKitLearn(Library):
    """scikit-learn's only network."""

    def __init__(self) -> None:
        self.versions = {"scikit-learn": sklearn.__version__}
        self.uses = f"{numpy_in_use()}, {blas_in_use()}"

    def step(self, a: dict[str, Any], d: dict[str, Array]) -> Job:
        net = NETS[a["net"]]
        if any(layer[0] not in ("linear", "act") for layer in net.layers):
            raise UnsupportedError("only dense networks")
        if a["fn"] not in _ACTS:
            raise UnsupportedError(f"no activation {a['fn']}")
        hidden = [layer[1] for layer in net.layers if layer[0] == "linear"][:-1]
        model = MLPClassifier(
            hidden, activation=_ACTS[a["fn"]], solver="sgd", alpha=0.0, batch_size=a["batch"],
            learning_rate_init=LEARNING_RATE, momentum=MOMENTUM, nesterovs_momentum=False,
            shuffle=False,
        )  # fmt: skip
        classes = np.arange(net.classes)
        model.partial_fit(d["x"], d["labels"], classes=classes)  # builds weights and optimizer
        for i, (w, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
            w[...], b[...] = d[f"w{i}"].T, d[f"b{i}"]
        for v in model._optimizer.velocities:
            v[...] = 0

        def run() -> float:
            model.partial_fit(d["x"], d["labels"])
            return float(model.loss_)

        def outputs() -> dict[str, Array]:
            result = {"losses": np.array([run() for _ in range(a["checked"])])}
            for i, (w, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
                result[f"update w{i}"] = w.T - d[f"w{i}"]
                result[f"update b{i}"] = b - d[f"b{i}"]
            return result

        return Job(run, outputs)

"""Logs to look at: one of a real training, and lines of any number of observations."""

import json

import numpy as np

import fastnn as fnn
from fastnn import functional as F
from fastnn import nn, optim
from fastnn.diagnostics import Monitor


def trained(path, steps=12, lr=0.1, names=("fc1", "act1", "fc2"), serve=False):
    """A monitor of a small network that trained for some steps, and of the epoch's end."""
    fnn.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((256, 8), dtype=np.float32), rng.integers(0, 3, 256)
    layers = nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)
    model = nn.Sequential(dict(zip(names, layers, strict=True)))
    optimizer = optim.SGD(model.parameters(), lr=lr)
    monitor = Monitor(model, optimizer, every=1, log=path)
    if serve:
        monitor.serve()
    for i in range(steps):
        optimizer.zero_grad()
        outputs = model(fnn.from_numpy(x))
        loss = F.cross_entropy(outputs, y)
        loss.backward()
        optimizer.step()
        monitor.step(loss, outputs, y, progress=(i + 1) / steps)
    monitor.end_epoch(loss=1.0, accuracy=0.5, validation_loss=1.25, validation_accuracy=0.25)
    return monitor


def observation(step, **more):
    """A line of the log."""
    record = {"step": step, "epoch": 0, "seconds": step / 10, "layers": {}} | more
    return json.dumps(record).encode() + b"\n"


HEADER = b'{"fastnn_monitor":1,"model":"Net","parameters":3,"every":1,"layers":[]}\n'

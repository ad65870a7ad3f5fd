"""What a Monitor adds to a training step, on one thread, in CPU time: python bench/monitor.py"""

import time

import numpy as np

import fastnn as fnn
from fastnn import functional as F
from fastnn import optim
from fastnn.diagnostics import Monitor

RUNS = {"resnet20": ((32, 32, 3), 8), "lenet5": ((28, 28, 1), 40), "mlp": ((28, 28, 1), 100)}


def seconds(step, runs):
    """The shortest of so many runs."""
    best = np.inf
    for _ in range(runs + 3):
        start = time.thread_time()
        step()
        best = min(best, time.thread_time() - start)
    return best


def measure(name):
    """Seconds of a step, of one that is observed, and of telling the monitor of one that is not."""
    shape, runs = RUNS[name]
    rng = np.random.default_rng(0)
    x = fnn.from_numpy(rng.standard_normal((64, *shape), dtype=np.float32))
    y = rng.integers(0, 10, 64)
    model = fnn.models.get(name)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step():
        optimizer.zero_grad()
        outputs = model(x)
        loss = F.cross_entropy(outputs, y)
        loss.backward()
        optimizer.step()
        return loss, outputs, y

    plain = seconds(step, runs)
    with Monitor(model, optimizer, every=1) as monitor:
        observed = seconds(lambda: monitor.step(*step()), runs)
    with Monitor(model, optimizer, every=10**9) as monitor:
        for _ in range(25):
            monitor.step()
        result = step()
        told = seconds(lambda: monitor.step(*result), 1000)
    return plain, observed, told


if __name__ == "__main__":
    fnn.set_num_threads(1)
    for name in RUNS:
        plain, observed, told = measure(name)
        added = ((observed - plain) / 50 + told) / plain
        print(
            f"{name}: step {1e3 * plain:.1f} ms, observed {1e3 * observed:.1f} ms, else "
            f"{1e6 * told:.1f} us more; at every=50: {added:.1%}"
        )

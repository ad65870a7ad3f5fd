"""What a training step costs beside its kernels: no memory from the system, no page fault; and what
happens where there is no memory. In processes of their own, whose counters nobody else moves."""

import json
import os
import subprocess
import sys

import pytest

NETS = """
import gc, json, resource
import numpy as np
import fastnn as fnn
from fastnn import _core, nn, optim
from fastnn import functional as F

def make(net, batch):
    fnn.manual_seed(0)
    rng = np.random.default_rng(0)
    if net == "mlp":
        model, shape = fnn.models.mlp(256, (128, 64), 10), (256,)
    elif net == "cifar_quick":
        model, shape = fnn.models.cifar_quick(), (32, 32, 3)
    elif net == "resnet20":
        model, shape = fnn.models.resnet20(), (32, 32, 3)
    else:
        model, shape = nn.Sequential(nn.Linear(16, 4096), nn.ReLU(), nn.Linear(4096, 10)), (16,)
    x = rng.standard_normal((batch, *shape)).astype(np.float32)
    return model, x, rng.integers(0, 10, batch)

def make_step(model, compiled):
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    if compiled:
        return fnn.compile(model, F.cross_entropy, optimizer, fullgraph=True)
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(fnn.from_numpy(x)), y)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step
"""

COUNT = """
def counters():
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return _core.memory_stats()["system_allocations"], faults

model, x, y = make({net!r}, 4)
step = make_step(model, {compiled})
found = np.ones((30, 2), dtype=np.int64)
gc.collect()
for i in range(30):
    a, f = counters()
    step(x, y)
    b, g = counters()
    found[i] = b - a, g - f
print(json.dumps(found.tolist()))
"""

NO_MEMORY = """
def limit(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, old[1]))

def unlimit():
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))

# A batch whose activations take 1 GB, and then one that fits.
model, x, y = make("wide", 65536)
step = make_step(model, {compiled})
before = [p.numpy().copy() for p in model.parameters()]
limit(256 << 20)
try:
    step(x, y)
    raise SystemExit("no MemoryError")
except MemoryError as error:
    print(error)
for p, old in zip(model.parameters(), before):
    np.testing.assert_array_equal(p.numpy(), old)
losses = [step(x[:64], y[:64]) for _ in range(3)]
unlimit()
model, x, y = make("wide", 65536)
step = make_step(model, False)
assert losses == [step(x[:64], y[:64]) for _ in range(3)]

# No memory for what a kernel needs, in the middle of a step that has run before.
model, x, y = make("cifar_quick", 16)
plain = make_step(model, False)
expected = [plain(x, y) for _ in range(6)]
model, x, y = make("cifar_quick", 16)
step = make_step(model, {compiled})
losses = [step(x, y) for _ in range(3)]
gc.collect()
fnn.empty_cache()
limit(0)
try:
    step(x, y)
    raise SystemExit("no MemoryError")
except MemoryError as error:
    print(error)
unlimit()
losses += [step(x, y) for _ in range(3)]
assert losses == expected, (losses, expected)
"""


def run(code, threads):
    env = {
        **os.environ, "FASTNN_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads),
        "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1",
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-P", "-c", NETS + code],
        env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("net", ["mlp", "cifar_quick", "resnet20"])
@pytest.mark.parametrize("threads", [1, 2])
def test_warm_steps_take_nothing_from_the_system(net, compiled, threads):
    found = json.loads(run(COUNT.format(net=net, compiled=compiled), threads))
    assert found[0] != [0, 0]  # the counters count
    warm = found[3:]
    assert [allocations for allocations, _ in warm] == [0] * 27, str(found)
    # None on a quiet machine; beside other processes single pages, as the system loads code and a
    # thread that was idle so far begins to use its stack.
    assert max(faults for _, faults in warm) <= 1, str(found)
    assert sum(faults for _, faults in warm) <= 4, str(found)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS and /proc")
@pytest.mark.parametrize("compiled", [False, True])
def test_out_of_memory_inside_a_step(compiled):
    first, second = run(NO_MEMORY.format(compiled=compiled), 1).splitlines()
    assert "fastnn: cannot allocate 1073741824 bytes" in first
    # A replay has its arrays; what a kernel works in is missing.
    assert ("conv2d: out of memory" if compiled else "cannot allocate") in second

"""Train ResNet-20 on real CIFAR-10 images, to check two promises.

    python tools/check_training.py threads [--data DIR]    # the same bits at any number of threads
    python tools/check_training.py winograd [--data DIR]   # Winograd trains as direct sums do

`threads` trains one epoch with 1, 2, 3 and 4 threads, and compiled, and compares the files of
weights byte by byte. `winograd` trains 300 steps with two seeds each with direct and with chosen
convolutions: the loss must stay as near to the direct run of the same seed as the direct runs of
two seeds are to each other, and so must the accuracy in the end. The exit code is 1 where not.
DIR is as in `fastnn.datasets.cifar10`. Minutes on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 128
WINDOW = 20  # steps over which a curve is smoothed


def train(data: str | None, steps: int, seed: int, compiled: bool, out: str) -> None:
    """Train, save the weights in `out`, and print losses and accuracy as JSON."""
    import fastnn as fnn
    from fastnn.data import Compose, DataLoader, Normalize, RandomCrop, RandomHorizontalFlip

    (x_train, y_train), test = fnn.datasets.cifar10(data)
    normalize = Normalize.fit(x_train)
    augment = Compose(RandomCrop(32, padding=4), RandomHorizontalFlip(), normalize)
    loader = DataLoader((x_train, y_train), BATCH, shuffle=True, transform=augment, seed=seed)
    fnn.manual_seed(seed)
    model = fnn.models.resnet20()
    optimizer = fnn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    total = steps or len(loader)
    schedule = fnn.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=total)
    step = fnn.compile(model, fnn.functional.cross_entropy, optimizer, fullgraph=True)
    losses = []
    for x, y in islice((batch for epoch in cycle([loader]) for batch in epoch), total):
        if compiled:
            losses.append(step(x, y))
        else:
            optimizer.zero_grad()
            loss = fnn.functional.cross_entropy(model(fnn.from_numpy(x)), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
    fnn.save(model, out)
    measured = fnn.Trainer(model, optimizer, preprocess=normalize).evaluate(test)
    print(json.dumps({"losses": losses, "accuracy": measured["accuracy"]}))


def run(args: argparse.Namespace, out: Path, seed: int = 0, **options: Any) -> dict[str, Any]:
    """Call `train` in a process of its own."""
    compiled = options.pop("compiled", False)
    code = f"import check_training as c; c.train({args.data!r}, {args.steps}, {seed}, {compiled}, "
    env = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(Path(__file__).parent)}
    env |= {f"FASTNN_{name}": str(value) for name, value in options.items()}
    command = [sys.executable, "-P", "-c", f"{code}{str(out)!r})"]
    result = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def check_threads(args: argparse.Namespace, folder: Path) -> bool:
    """Whether the weights have the same bits at 1, 2, 3 and 4 threads, and compiled."""
    files = []
    for threads, compiled in ((1, False), (2, False), (3, False), (4, False), (2, True)):
        files.append(folder / f"{len(files)}.safetensors")
        found = run(args, files[-1], NUM_THREADS=threads, compiled=compiled)
        same = files[-1].read_bytes() == files[0].read_bytes()
        print(
            f"{threads} threads{', compiled' if compiled else ''}: {len(found['losses'])} steps, "
            f"last loss {found['losses'][-1]!r}, accuracy {found['accuracy']:.4f}, "
            f"{'the same bits' if same else 'OTHER BITS'}",
            flush=True,
        )
    return len({file.read_bytes() for file in files}) == 1


def check_winograd(args: argparse.Namespace, folder: Path) -> bool:
    """Whether Winograd is as near to direct sums as one seed is to another."""
    losses, accuracy = {}, {}
    for algo in ("direct", "auto"):
        for seed in (0, 1):
            key = algo, seed
            found = run(args, folder / "weights.safetensors", seed, CONV_ALGO=algo)
            losses[key], accuracy[key] = np.array(found["losses"]), found["accuracy"]
            print(
                f"{algo:6} seed {seed}: mean of the last {WINDOW} losses "
                f"{losses[key][-WINDOW:].mean():.4f}, accuracy {accuracy[key]:.4f}",
                flush=True,
            )

    def apart(a: tuple[str, int], b: tuple[str, int]) -> tuple[float, float, float]:
        """Root mean square over the steps; the largest of the smoothed curves; accuracy."""
        d = losses[a] - losses[b]
        smooth = np.convolve(d, np.full(WINDOW, 1 / WINDOW), "valid")
        rms, largest = float(np.sqrt(np.mean(d * d))), float(np.abs(smooth).max())
        return rms, largest, abs(accuracy[a] - accuracy[b])

    print("\ndifference of two runs         rms   largest smoothed   accuracy")
    rows = {
        "direct, seed 0 and seed 1": apart(("direct", 0), ("direct", 1)),
        "seed 0, auto and direct": apart(("auto", 0), ("direct", 0)),
        "seed 1, auto and direct": apart(("auto", 1), ("direct", 1)),
    }
    for name, (rms, largest, accurate) in rows.items():
        print(f"{name:27} {rms:6.4f} {largest:18.4f} {accurate:10.4f}")
    spread, *ours = rows.values()
    # Accuracy on 10,000 images is itself known to half a percent only.
    margin = max(spread[2], 0.02)
    return all(r <= spread[0] and s <= spread[1] and a <= margin for r, s, a in ours)


def main() -> int:
    """Run the check that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("check", choices=["threads", "winograd"])
    parser.add_argument("--data", metavar="DIR", help="default: FASTNN_DATA, else ~/.cache/fastnn")
    parser.add_argument("--steps", type=int, help="default: one epoch; 300 for winograd")
    args = parser.parse_args()
    args.steps = args.steps or (300 if args.check == "winograd" else 0)
    with tempfile.TemporaryDirectory() as folder:
        good = {"threads": check_threads, "winograd": check_winograd}[args.check](
            args, Path(folder)
        )
    print("holds" if good else "DOES NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

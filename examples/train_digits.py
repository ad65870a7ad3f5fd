"""Train LeNet-5 on the bundled digits, save it, load it, and show what it gets wrong.

    python examples/train_digits.py [--epochs 5] [--activation relu]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import fastnn as fnn


def main() -> None:
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--activation", default="relu")
    args = parser.parse_args()

    (x_train, y_train), (x_test, y_test) = fnn.datasets.mnist_small()
    fnn.manual_seed(0)
    model = fnn.models.lenet5(activation=args.activation)
    optimizer = fnn.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    normalize = fnn.data.Normalize.fit(x_train)
    trainer = fnn.Trainer(model, optimizer, preprocess=normalize)
    trainer.fit((x_train, y_train), args.epochs, batch_size=32, validation=(x_test, y_test))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lenet5.safetensors"
        fnn.save(model, path)
        loaded = fnn.load(path).eval()
    with fnn.no_grad():
        found = loaded(fnn.from_numpy(normalize(x_test))).numpy().argmax(axis=1)

    wrong = np.flatnonzero(found != y_test)
    print(f"{len(wrong)} of {len(y_test)} test digits are wrong; the first of them:")
    for i in wrong[:2]:
        print(f"\na {y_test[i]}, taken for a {found[i]}")
        print("\n".join("".join(" .:*#"[p // 52] for p in row) for row in x_test[i, ::2, :, 0]))


if __name__ == "__main__":
    main()

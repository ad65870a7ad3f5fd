"""A network that branches and joins, checked by gradcheck and trained by a loop of one's own.

    python examples/branches.py [--epochs 3]
"""

import argparse

import numpy as np

import fastnn as fnn
from fastnn import functional as F
from fastnn import nn
from fastnn.data import DataLoader, Normalize


class Inception(nn.Module):
    """Convolutions of two sizes side by side, joined along the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.narrow = nn.Conv2d(inputs, outputs, 1)
        self.wide = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return F.relu(fnn.cat([self.narrow(x), self.wide(x)], -1))


def make() -> nn.Sequential:
    """Inception, a residual block, and a linear layer."""
    body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 1))
    return nn.Sequential(
        Inception(1, 8), nn.MaxPool2d(2), nn.Residual(body, activation="relu"), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(7 * 7 * 16, 10),
    )  # fmt: skip


def main() -> None:
    """Check, train, test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    epochs = parser.parse_args().epochs

    fnn.manual_seed(0)
    image = np.random.default_rng(0).standard_normal((1, 28, 28, 1))
    fnn.gradcheck(make().double(), [fnn.tensor(image, requires_grad=True)])
    print("gradients agree with differences")

    train, (x_test, y_test) = fnn.datasets.mnist_small()
    normalize = Normalize.fit(train[0])
    model = make()
    optimizer = fnn.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    loader = DataLoader(train, batch_size=32, shuffle=True, transform=normalize)
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        with fnn.no_grad():
            found = model(normalize(x_test)).numpy().argmax(axis=1)
        print(f"epoch {epoch + 1}: test accuracy {(found == y_test).mean():.1%}")


if __name__ == "__main__":
    main()

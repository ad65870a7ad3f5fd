"""Real image sets as NumPy arrays: (x_train, y_train), (x_test, y_test), images uint8 NHWC."""

from ._cifar import cifar10
from ._digits import digits
from ._mnist import fashion_mnist, mnist, mnist_small

__all__ = ["cifar10", "digits", "fashion_mnist", "mnist", "mnist_small"]

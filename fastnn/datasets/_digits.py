"""scikit-learn's 8x8 digits, the smallest real image set."""

import numpy as np

from ._common import Splits

__all__ = ["digits"]

TEST_IMAGES = 360


def digits() -> Splits:
    """The 1,797 digits of 8x8 pixels that scikit-learn bundles.

    The grey values 0 ... 16 are stretched to 0 ... 255, rounded. The file's order is kept: the
    first 1,437 images are for training, the last 360 for testing.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images uint8 ``(N, 8, 8, 1)``, labels int64 ``(N,)`` in 0 ... 9.

    Raises
    ------
    ImportError
        scikit-learn is not installed.

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
    Repository, 1998.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "digits: needs scikit-learn; install it with pip install 'fastnn-cpu[sklearn]'"
        ) from error
    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = data.target.astype(np.int64)
    cut = len(images) - TEST_IMAGES
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])

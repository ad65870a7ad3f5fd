# SPDX-License-Identifier: BSD-3-Clause
"""Preprocessing: fitted on training data, saved with the model, applied unchanged to test data.

The transformers follow scikit-learn's protocol, and calling one is `transform`, so that Trainer and
DataLoader take them. Samples are rows (N, D) or images (N, H, W, C) of any number type, taken as
they are (a uint8 pixel of 200 is 200.0); results are float64 for float64 data, float32 otherwise.
"""

from ._base import NotFittedError
from ._compose import Compose
from ._rotation import PCA, Whiten
from ._scale import ChannelMean, MeanImage, Standardize

__all__ = [
    "PCA", "ChannelMean", "Compose", "MeanImage", "NotFittedError", "Standardize", "Whiten",
]  # fmt: skip

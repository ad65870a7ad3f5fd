# SPDX-License-Identifier: BSD-3-Clause
"""Transformers that shift and scale."""

from __future__ import annotations

import math

import numpy as np

from ._base import Float, Moments, Statistic, number


class _Mean(Statistic):
    """(x - mean) / divisor."""

    def __init__(self, divisor: float = 1.0) -> None:
        self.divisor = divisor

    def _check_params(self) -> None:
        value = number(type(self).__name__, "divisor", self.divisor)
        if not 0 < value < math.inf:
            raise ValueError(
                f"{type(self).__name__}: divisor must be positive and finite, got {self.divisor}"
            )

    def _forward(self, rows: Float) -> Float:
        rows -= _tiled(self._statistics("transform")["mean"], rows)
        rows /= self.divisor
        return rows

    def _backward(self, rows: Float) -> Float:
        rows *= self.divisor
        rows += _tiled(self._statistics("inverse_transform")["mean"], rows)
        return rows


class MeanImage(_Mean):
    """Subtract the mean of every feature (of every pixel): (x - mean) / divisor, as AlexNet does.

    Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional
    neural networks", 2012, section 2.

    Parameters
    ----------
    divisor : float
        255 brings uint8 images to a scale that usual initial weights suit.

    Attributes
    ----------
    mean_ : of a sample's shape

    Examples
    --------
    >>> import numpy as np
    >>> MeanImage().fit_transform(np.array([[1, 5], [3, 5]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    def _shaped(self, value: Float) -> Float:
        return value.reshape(self._shape or ())


class ChannelMean(_Mean):
    """Subtract the mean of every channel, the last dimension: (x - mean) / divisor, as VGG does.

    Images may have another height and width than those that were fitted.

    Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
    recognition", 2015, section 2.1.

    Parameters
    ----------
    divisor : float
        255 brings uint8 images to a scale that usual initial weights suit.

    Attributes
    ----------
    mean_ : (C,)
    """

    def _by_channel(self) -> bool:
        return True


class Standardize(Statistic):
    """Zero mean and unit standard deviation: (x - mean) / std, of every feature or channel.

    A feature that is constant in the training data (up to rounding) is only centred.

    Parameters
    ----------
    per : {"feature", "channel"}
        "channel": one mean and std for all places of the last dimension; images may then have
        another height and width than those that were fitted.

    Attributes
    ----------
    mean_, var_, scale_ : (D,) of the features of a sample, flattened; by channel (C,)
        scale_ is the (population) standard deviation, or 1 of a constant feature.

    Examples
    --------
    >>> import numpy as np
    >>> Standardize().fit_transform(np.array([[1.0, 7.0], [3.0, 7.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    _order = 1
    _arrays = {"mean": "C", "var": "C", "scale": "C"}  # noqa: RUF012

    def __init__(self, per: str = "feature") -> None:
        self.per = per

    def _check_params(self) -> None:
        if self.per not in ("feature", "channel"):
            raise ValueError(f"Standardize: per must be 'feature' or 'channel', got {self.per!r}")

    def _by_channel(self) -> bool:
        return self.per == "channel"

    def _compute(self, moments: Moments, mean: Float) -> dict[str, Float]:
        var = moments.squares / moments.count
        std = np.sqrt(var)
        return {"mean": mean, "var": var, "scale": np.where(std > 1e-12 * np.abs(mean), std, 1.0)}

    def _forward(self, rows: Float) -> Float:
        fitted = self._statistics("transform")
        rows -= _tiled(fitted["mean"], rows)
        rows /= _tiled(fitted["scale"], rows)
        return rows

    def _backward(self, rows: Float) -> Float:
        fitted = self._statistics("inverse_transform")
        rows *= _tiled(fitted["scale"], rows)
        rows += _tiled(fitted["mean"], rows)
        return rows


def _tiled(statistic: Float, rows: Float) -> Float:
    """One value for each column: long rows suit NumPy's inner loop."""
    return np.tile(statistic, rows.shape[1] // statistic.size)

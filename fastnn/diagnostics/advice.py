# SPDX-License-Identifier: BSD-3-Clause
"""What is wrong with a training, in sentences, from the records of a Monitor."""

from __future__ import annotations

from typing import NamedTuple

from .log import Log


class Advice(NamedTuple):
    """One finding: the rule that found it, the layer ("" for the whole model), the sentence."""

    rule: str
    layer: str
    text: str

    def __str__(self) -> str:
        return self.text


def advise(log: Log) -> list[Advice]:
    """What is wrong by the last record of a run."""
    return []

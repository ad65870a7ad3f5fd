# SPDX-License-Identifier: BSD-3-Clause
"""What an experiment is, what it returns, and the list of all of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .setting import Lab

SECTIONS = (
    "Activation functions",
    "Data preprocessing",
    "Weight initialization",
    "Batch normalization",
    "Babysitting the learning process",
    "Hyperparameter optimization",
    "Regularization",
    "Update rules",
    "Ensembles",
)
CONFIRMED, REFUTED, DEPENDS, FAILED = "confirmed", "refuted", "depends", "failed"


@dataclass(frozen=True)
class Figure:
    """A picture: SVG as `fastnn.lab.charts` draws it, and what is to be seen in it."""

    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Result:
    """What an experiment found.

    Parameters
    ----------
    measured : dict
        Names (words, with the unit) to figures, or to dictionaries of figures.
    verdict : "confirmed", "refuted" or "depends"
        Computed from `measured`: see `verdict`.
    finding : str
        What was found, in a sentence or two made of the figures.
    on : str
        What a verdict "depends" depends on.
    figures : sequence of Figure
    tables : sequence of (title, headers, rows)
    """

    measured: dict[str, Any]
    verdict: str
    finding: str
    on: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[Any]]]] = ()

    def __post_init__(self) -> None:
        if self.verdict not in (CONFIRMED, REFUTED, DEPENDS):
            raise ValueError(
                f"Result: verdict must be confirmed, refuted or depends, got {self.verdict!r}"
            )
        if self.verdict == DEPENDS and not self.on:
            raise ValueError("Result: a verdict that depends must say on what")


def verdict(confirmed: Any, refuted: Any) -> str:
    """ "confirmed" or "refuted" if that one holds, else "depends"."""
    if confirmed and refuted:
        raise ValueError("verdict: a claim cannot be both confirmed and refuted")
    return CONFIRMED if confirmed else REFUTED if refuted else DEPENDS


@dataclass(frozen=True)
class Experiment:
    """A claim and the function that tests it."""

    name: str
    title: str
    section: str
    order: int
    claim: str
    method: str
    rule: str
    run: Callable[[Lab], Result] = field(repr=False)
    slow: bool = False


_REGISTRY: dict[str, Experiment] = {}


def experiment(
    section: str, order: int, title: str, claim: str, method: str, rule: str, slow: bool = False
) -> Callable[[Callable[[Lab], Result]], Callable[[Lab], Result]]:
    """Registers a function of a `Lab` as an experiment; its name is that of its file.

    Parameters
    ----------
    section : str
        One of `SECTIONS`.
    order : int
        Its place in the section.
    title : str
        A few words.
    claim : str
        One sentence, which can be wrong.
    method : str
        What is done.
    rule : str
        Which figures confirm the claim, and which refute it.
    slow : bool
        Run it after all others.
    """
    if section not in SECTIONS:
        raise ValueError(f"experiment: section must be one of {SECTIONS}, got {section!r}")

    def register(function: Callable[[Lab], Result]) -> Callable[[Lab], Result]:
        name = function.__module__.rpartition(".")[2]
        if name in _REGISTRY:
            raise ValueError(f"experiment: there is already one named {name!r}")
        _REGISTRY[name] = Experiment(
            name, title, section, order, claim, method, rule, function, slow
        )
        return function

    return register


def all_experiments() -> dict[str, Experiment]:
    """All experiments by name, in the order of their sections."""
    from . import experiments as package

    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    found = sorted(_REGISTRY.values(), key=lambda e: (SECTIONS.index(e.section), e.order, e.name))
    return {e.name: e for e in found}

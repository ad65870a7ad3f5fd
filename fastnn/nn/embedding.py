"""Layer that turns integers into vectors."""

from __future__ import annotations

from typing import Any

from .. import init
from ..autograd import no_grad
from ..creation import empty
from ..ops import embedding
from ..ops.embedding import row_number
from ..tensor import Tensor
from .linear import count
from .module import Module, Parameter


class Embedding(Module):
    """A learned vector for each integer in [0, num_embeddings): see `functional.embedding`.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        A row that starts with zeros and gets no gradient; negative numbers count from the end.

    Attributes
    ----------
    weight : (num_embeddings, embedding_dim)
        Starts with the standard normal distribution.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None
    ) -> None:
        self.num_embeddings = count("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = count("Embedding", "embedding_dim", embedding_dim)
        row = row_number("Embedding", padding_idx, self.num_embeddings)
        self.padding_idx = None if padding_idx is None else row
        self.weight = Parameter(init.normal_(empty(self.num_embeddings, self.embedding_dim)))
        if padding_idx is not None:
            with no_grad():
                self.weight[row] = 0.0

    def forward(self, x: Any) -> Tensor:
        return embedding(x, self.weight, self.padding_idx)

    def config(self) -> dict[str, Any]:
        return {
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "padding_idx": self.padding_idx,
        }

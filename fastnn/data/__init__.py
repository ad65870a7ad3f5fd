"""Batches of NumPy arrays: data sets in memory, the loader, image transforms."""

from ._loader import ArrayDataset, DataLoader
from ._transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip

__all__ = [
    "ArrayDataset",
    "Compose",
    "DataLoader",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
]

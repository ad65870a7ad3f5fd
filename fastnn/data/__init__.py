"""Batches of NumPy arrays: data sets in memory, the loader, image transforms."""

from ._augment import ColorJitter, Cutout, Mixup
from ._loader import ArrayDataset, DataLoader
from ._transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip

__all__ = [
    "ArrayDataset",
    "ColorJitter",
    "Compose",
    "Cutout",
    "DataLoader",
    "Mixup",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
]

"""fastnn: a fast, small, reproducible CPU deep-learning core.

import fastnn as fnn
"""

__version__ = "0.1.0"

from typing import TYPE_CHECKING, Any

try:
    from . import _core  # noqa: F401
except ImportError as error:
    if error.name != __name__:  # it is there, and failed itself
        raise
    raise ImportError(
        f"fastnn: {__path__[0]} has no compiled kernels; a source tree hides the installed package "
        "from a Python that runs in it: run it elsewhere or with -P, or `pip install -e .`"
    ) from None

from . import functional, init, models, nn, optim
from .autograd import is_grad_enabled, no_grad
from .config import empty_cache, get_num_threads, set_num_threads, show_config
from .creation import *  # noqa: F403
from .creation import __all__ as _creation
from .gradcheck import GradcheckError, gradcheck
from .io import load, load_checkpoint, load_preprocessing, save, save_checkpoint
from .ops import cat, maximum, minimum, pad, stack
from .random import get_rng_state, manual_seed, set_rng_state
from .tensor import Tensor, from_numpy, tensor

__all__ = [
    "EarlyStopping", "Ensemble", "GradcheckError", "Tensor", "Trainer", "average_weights", "cat",
    "compile", "data", "datasets", "diagnostics", "empty_cache", "from_numpy", "functional",
    "get_num_threads", "get_rng_state", "gradcheck", "init", "is_grad_enabled", "lab",
    "load", "load_checkpoint", "load_preprocessing", "manual_seed", "maximum", "metrics", "minimum",
    "models", "nn", "no_grad", "optim", "pad", "preprocessing", "profile", "save",
    "save_checkpoint", "search", "set_num_threads", "set_rng_state", "show_config", "stack",
    "tensor", "test_time_augmentation", "watch", *_creation,
]  # fmt: skip

if TYPE_CHECKING:
    from . import data, datasets, diagnostics, lab, metrics, preprocessing, search, watch
    from .ensemble import Ensemble, average_weights, test_time_augmentation
    from .plan import compile
    from .profiler import profile
    from .train import EarlyStopping, Trainer

# Modules that most programs need only in part: imported when first used, to keep import fast.
_LAZY_MODULES = (
    "bench", "data", "datasets", "diagnostics", "lab", "metrics", "preprocessing", "report",
    "search", "train", "watch",
)  # fmt: skip
_LAZY_NAMES = {
    "EarlyStopping": "train", "Ensemble": "ensemble", "Trainer": "train",
    "average_weights": "ensemble", "compile": "plan", "profile": "profiler",
    "test_time_augmentation": "ensemble",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    import importlib

    if name in _LAZY_MODULES:
        return importlib.import_module(f"fastnn.{name}")
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(f"fastnn.{_LAZY_NAMES[name]}"), name)
    raise AttributeError(f"module 'fastnn' has no attribute {name!r}")

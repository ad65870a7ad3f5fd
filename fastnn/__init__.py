"""fastnn: a fast, small, reproducible CPU deep-learning core.

    import fastnn as fnn
"""

__version__ = "0.1.0"

from . import functional
from .autograd import is_grad_enabled, no_grad
from .config import empty_cache, get_num_threads, set_num_threads, show_config
from .creation import *  # noqa: F403
from .creation import __all__ as _creation
from .ops import cat, maximum, minimum, pad, stack
from .random import get_rng_state, manual_seed, set_rng_state
from .tensor import Tensor, from_numpy, tensor

__all__ = [
    "Tensor", "cat", "empty_cache", "from_numpy", "functional", "get_num_threads", "get_rng_state",
    "is_grad_enabled", "manual_seed", "maximum", "minimum", "no_grad", "pad", "set_num_threads",
    "set_rng_state", "show_config", "stack", "tensor", *_creation,
]  # fmt: skip

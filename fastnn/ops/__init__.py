"""Operations: stateless functions on Tensors, each with its forward beside its backward."""

from .activation import *  # noqa: F403
from .arithmetic import *  # noqa: F403
from .conv import *  # noqa: F403
from .embedding import *  # noqa: F403
from .linear import *  # noqa: F403
from .loss import *  # noqa: F403
from .norm import *  # noqa: F403
from .pooling import *  # noqa: F403
from .random import *  # noqa: F403
from .reduction import *  # noqa: F403
from .shape import *  # noqa: F403
from .softmax import *  # noqa: F403

# SPDX-License-Identifier: BSD-3-Clause
"""The log of a Monitor as a page of the browser, during training and after, and for TensorBoard.

The page comes from this computer to this computer: the server listens on 127.0.0.1 only, and the
page loads nothing from anywhere else.
"""

from .follow import Follower
from .server import Server, serve
from .tensorboard import write_tensorboard

__all__ = ["Follower", "Server", "serve", "write_tensorboard"]

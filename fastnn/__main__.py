# SPDX-License-Identifier: BSD-3-Clause
"""``python -m fastnn``: the same as ``fastnn``."""

import sys

from .cli import main

sys.exit(main())

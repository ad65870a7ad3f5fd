# SPDX-License-Identifier: BSD-3-Clause
"""One file an experiment; whatever is here and registers itself is found."""

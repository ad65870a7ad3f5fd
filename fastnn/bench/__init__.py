# SPDX-License-Identifier: BSD-3-Clause
"""Measure fastnn and its peers fairly: each in its own process, by turns, outputs compared first.

``workloads`` says what is measured, once for all libraries; ``lib_*`` say how a library does it;
``worker`` is the process in which one library runs; ``contest`` compares and times the workers;
``results`` prints and saves; ``cli`` is ``fastnn bench``. What a worker loads does not import
fastnn (but for ``lib_fastnn``): a peer's process never has our thread pool in it.
"""

# SPDX-License-Identifier: BSD-3-Clause
"""Measure fastnn and its peers fairly: each in its own process, by turns, outputs compared first.

``workloads``, ``nets`` and ``suites`` say what is measured, once for all libraries, and ``inputs``
on what; ``lib_*`` say how a library does it, and ``isa`` how it is held to some instructions;
``worker`` is the process in which one library runs, ``process`` the other end; ``contest`` compares
and times the workers; ``session`` is a run, ``figures`` what it measures besides; ``results``,
``display``, ``charts`` and ``compare`` show and save it; ``cli`` is ``fastnn bench``. What a worker
loads does not import fastnn (but for ``lib_fastnn``): a peer's process never has our thread pool in
it.
"""

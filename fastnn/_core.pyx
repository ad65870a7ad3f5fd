# SPDX-License-Identifier: BSD-3-Clause
"""The bridge: the only place where Python meets C.

Every function checks dtypes, shapes and sizes, allocates its result from the pool, and hands a call
to run() in door.pxi, which drops the GIL and calls the kernel. Arrays are always C-contiguous and
aligned, so no kernel ever sees a stride that it did not ask for.
"""

import sys

cimport cython
from libc.math cimport INFINITY, NAN
from libc.stdlib cimport free, malloc, realloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)

include "_bridge/declarations.pxi"
include "_bridge/door.pxi"
include "_bridge/watch.pxi"
include "_bridge/array.pxi"
include "_bridge/config.pxi"
include "_bridge/elementwise.pxi"
include "_bridge/tape.pxi"
include "_bridge/reduce.pxi"
include "_bridge/linear.pxi"
include "_bridge/conv.pxi"
include "_bridge/pool.pxi"
include "_bridge/softmax.pxi"
include "_bridge/embedding.pxi"
include "_bridge/norm.pxi"
include "_bridge/random.pxi"
include "_bridge/optim.pxi"
include "_bridge/stats.pxi"

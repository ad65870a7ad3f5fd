# Element-wise functions: rows of kernels.def, looked up by name, so that a new row needs no edit here.

UNARY = {fnn_unary_names[i].decode(): (i, chr(fnn_unary_saved[i])) for i in range(FNN_UNARY_COUNT)}
BINARY = {fnn_binary_names[i].decode(): i for i in range(FNN_BINARY_COUNT)}


def unary_fwd(int op, Array x, double p0=0.0, double p1=0.0):
    """y = f(x; p0, p1)."""
    if x.dt > DT_F64:
        raise TypeError(f"{fnn_unary_names[op].decode()}: x must be float32 or float64, got {x.dtype}")
    cdef Array y = new_array(x.dt, x.ndim, x.dims)
    cdef double p[2]
    p[0] = p0
    p[1] = p1
    with nogil:
        fnn_unary_fwd(x.dt, op, y.data, x.data, x.size, p)
    return y


def unary_bwd(int op, Array dy, Array saved, double p0=0.0, double p1=0.0):
    """dx = dy f'; `saved` is x or y, as the row says."""
    cdef str name = fnn_unary_names[op].decode()
    check_same_dtype(dy, saved, name, "gradient", "output")
    check_same_shape(dy, saved, name, "gradient", "output")
    cdef Array dx = new_array(dy.dt, dy.ndim, dy.dims)
    cdef double p[2]
    p[0] = p0
    p[1] = p1
    with nogil:
        fnn_unary_bwd(dy.dt, op, dx.data, dy.data, saved.data, dy.size, p)
    return dx


def binary(int op, Array a, Array b):
    """c = f(a, b), broadcast by NumPy's rules."""
    cdef int n, i, lead_a, lead_b
    cdef Py_ssize_t dims[8]
    cdef Py_ssize_t sa[8]
    cdef Py_ssize_t sb[8]
    cdef Py_ssize_t da, db, step_a = 1, step_b = 1
    if a.dt != b.dt or a.dt > DT_F64:
        name = fnn_binary_names[op].decode()
        check_float(a, name, "a")
        check_float(b, name, "b")
        check_same_dtype(a, b, name, "a", "b")
    n = a.ndim if a.ndim > b.ndim else b.ndim
    lead_a = n - a.ndim
    lead_b = n - b.ndim
    for i in range(n - 1, -1, -1):
        da = a.dims[i - lead_a] if i >= lead_a else 1
        db = b.dims[i - lead_b] if i >= lead_b else 1
        if da != db and da != 1 and db != 1:
            raise ValueError(
                f"{fnn_binary_names[op].decode()}: shapes {a.shape} and {b.shape} do not broadcast"
            )
        dims[i] = db if da == 1 else da
        sa[i] = step_a if da != 1 else 0
        sb[i] = step_b if db != 1 else 0
        step_a *= da
        step_b *= db
    cdef Array c = new_array(a.dt, n, dims)
    if c.size:
        with nogil:
            fnn_binary(a.dt, op, c.data, a.data, b.data, n, dims, sa, sb)
    return c


def binary_scalar(int op, Array a, double b, bint swapped=False):
    """c = f(a, b), or f(b, a) where swapped, with a Python number b taken in a's dtype."""
    cdef float b32 = <float>b
    cdef double b64 = b
    cdef void *p = <void *>&b32 if a.dt == DT_F32 else <void *>&b64
    cdef Py_ssize_t one = 1, zero = 0
    cdef Py_ssize_t size = a.size
    if a.dt > DT_F64:
        check_float(a, fnn_binary_names[op].decode(), "a")
    cdef Array c = new_array(a.dt, a.ndim, a.dims)
    if size:
        with nogil:
            if swapped:
                fnn_binary(a.dt, op, c.data, p, a.data, 1, &size, &zero, &one)
            else:
                fnn_binary(a.dt, op, c.data, a.data, p, 1, &size, &one, &zero)
    return c


def add_(Array a, Array b):
    """a += b, for equal shapes."""
    check_same_dtype(a, b, "add_", "a", "b")
    check_same_shape(a, b, "add_", "a", "b")
    if a.readonly:
        raise ValueError("add_: a is read-only")
    cdef Py_ssize_t one = 1, size = a.size
    cdef int op = BINARY["add"]
    if size:
        with nogil:
            fnn_binary(a.dt, op, a.data, a.data, b.data, 1, &size, &one, &one)
    mark_written(a)


def prelu_fwd(Array x, Array slope):
    """y = x where x > 0, else slope x; slope has one element or one for each channel (last axis)."""
    cdef Py_ssize_t c = prelu_channels(x, slope)
    cdef Array y = new_like(x, x.dt)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status
    with nogil:
        status = k.prelu_fwd(y.data, x.data, slope.data, x.size // c if c else 0, c, slope.size)
    check_status(status)
    return y


def prelu_bwd(Array dy, Array x, Array slope):
    """(dx, dslope)."""
    cdef Py_ssize_t c = prelu_channels(x, slope)
    check_same_dtype(dy, x, "prelu", "gradient", "x")
    check_same_shape(dy, x, "prelu", "gradient", "x")
    cdef Array dx = new_like(x, x.dt), dslope = new_like(slope, x.dt)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status
    with nogil:
        status = k.prelu_bwd(dx.data, dslope.data, dy.data, x.data, slope.data,
                             x.size // c if c else 0, c, slope.size)
    check_status(status)
    return dx, dslope


cdef Py_ssize_t prelu_channels(Array x, Array slope) except -1:
    check_float(x, "prelu", "x")
    check_same_dtype(x, slope, "prelu", "x", "weight")
    if slope.ndim != 1 or slope.size == 0:
        raise ValueError(f"prelu: weight must have shape (1,) or (channels,), got {slope.shape}")
    cdef Py_ssize_t c = x.dims[x.ndim - 1] if x.ndim else 1
    if slope.size != 1 and slope.size != c:
        raise ValueError(f"prelu: weight has {slope.size} slopes, x has {c} channels")
    return c


def maxout_fwd(Array x, Py_ssize_t pieces):
    """(y, index): the largest of each `pieces` consecutive values of the last axis, and which."""
    check_float(x, "maxout", "x")
    if pieces < 1:
        raise ValueError(f"maxout: pieces must be at least 1, got {pieces}")
    if x.ndim == 0 or x.dims[x.ndim - 1] % pieces:
        raise ValueError(f"maxout: the last axis of {x.shape} is not a multiple of pieces = {pieces}")
    cdef Py_ssize_t dims[8]
    cdef int i
    for i in range(x.ndim):
        dims[i] = x.dims[i]
    dims[x.ndim - 1] //= pieces
    cdef Array y = new_array(x.dt, x.ndim, dims), index = new_array(DT_I32, x.ndim, dims)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status
    with nogil:
        status = k.maxout_fwd(y.data, <int32_t *>index.data, x.data, y.size, pieces)
    check_status(status)
    return y, index


def maxout_bwd(Array dy, Array index, Py_ssize_t pieces):
    """dx."""
    check_float(dy, "maxout", "gradient")
    check_same_shape(dy, index, "maxout", "gradient", "output")
    cdef Py_ssize_t dims[8]
    cdef int i
    for i in range(dy.ndim):
        dims[i] = dy.dims[i]
    dims[dy.ndim - 1] *= pieces
    cdef Array dx = new_array(dy.dt, dy.ndim, dims)
    cdef const fnn_kernels *k = fnn_kernels_for(dy.dt)
    cdef int status
    with nogil:
        status = k.maxout_bwd(dx.data, dy.data, <int32_t *>index.data, dy.size, pieces)
    check_status(status)
    return dx

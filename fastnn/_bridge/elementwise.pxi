# Element-wise functions: rows of kernels.def, looked up by name, so that a new row needs no edit here.

UNARY = {fnn_unary_names[i].decode(): (i, chr(fnn_unary_saved[i])) for i in range(FNN_UNARY_COUNT)}
BINARY = {fnn_binary_names[i].decode(): i for i in range(FNN_BINARY_COUNT)}
cdef tuple UNARY_NAMES = tuple(UNARY)
cdef tuple BINARY_NAMES = tuple(BINARY)


cdef int unary_fwd_call(call *c) noexcept nogil:
    fnn_unary_fwd(c.dt, <int>c.n[1], c.p[0], c.p[1], c.n[0], c.d)
    return FNN_OK


def unary_fwd(int op, Array x, double p0=0.0, double p1=0.0):
    """y = f(x; p0, p1)."""
    cdef call c
    if x.dt > DT_F64:
        raise TypeError(f"{UNARY_NAMES[op]}: x must be float32 or float64, got {x.dtype}")
    cdef Array y = new_array(x.dt, x.ndim, x.dims)
    begin(&c, unary_fwd_call, UNARY_NAMES[op], x.dt)
    put2(&c, y, x)
    c.n[0] = x.size
    c.n[1] = op
    c.d[0] = p0
    c.d[1] = p1
    run(&c)
    return y


cdef int unary_bwd_call(call *c) noexcept nogil:
    fnn_unary_bwd(c.dt, <int>c.n[1], c.p[0], c.p[1], c.p[2], c.n[0], c.d)
    return FNN_OK


def unary_bwd(int op, Array dy, Array saved, double p0=0.0, double p1=0.0):
    """dx = dy f'; `saved` is x or y, as the row says."""
    cdef call c
    cdef str name = UNARY_NAMES[op]
    check_same_dtype(dy, saved, name, "gradient", "output")
    check_same_shape(dy, saved, name, "gradient", "output")
    cdef Array dx = new_array(dy.dt, dy.ndim, dy.dims)
    begin(&c, unary_bwd_call, UNARY_NAMES[op], dy.dt, True)
    put3(&c, dx, dy, saved)
    c.n[0] = dy.size
    c.n[1] = op
    c.d[0] = p0
    c.d[1] = p1
    run(&c)
    return dx


cdef int binary_call(call *c) noexcept nogil:
    fnn_binary(c.dt, <int>c.n[0], c.p[0], c.p[1], c.p[2], <int>c.n[1], c.g.dims[0], c.g.dims[1],
               c.g.dims[2])
    return FNN_OK


def binary(int op, Array a, Array b):
    """c = f(a, b), broadcast by NumPy's rules."""
    cdef call c
    cdef int n, i, lead_a, lead_b
    cdef Py_ssize_t da, db, step_a = 1, step_b = 1
    if a.dt != b.dt or a.dt > DT_F64:
        name = BINARY_NAMES[op]
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
                f"{BINARY_NAMES[op]}: shapes {a.shape} and {b.shape} do not broadcast"
            )
        c.g.dims[0][i] = db if da == 1 else da
        c.g.dims[1][i] = step_a if da != 1 else 0
        c.g.dims[2][i] = step_b if db != 1 else 0
        step_a *= da
        step_b *= db
    cdef Array z = new_array(a.dt, n, c.g.dims[0])
    begin(&c, binary_call, BINARY_NAMES[op], a.dt)
    put3(&c, z, a, b)
    c.n[0] = op
    c.n[1] = n
    if z.size:
        run(&c)
    return z


cdef int binary_scalar_call(call *c) noexcept nogil:
    cdef float b32 = <float>c.d[0]
    cdef void *b = <void *>&b32 if c.dt == DT_F32 else <void *>&c.d[0]
    cdef Py_ssize_t one = 1, zero = 0
    if c.n[2]:
        fnn_binary(c.dt, <int>c.n[0], c.p[0], b, c.p[1], 1, &c.n[1], &zero, &one)
    else:
        fnn_binary(c.dt, <int>c.n[0], c.p[0], c.p[1], b, 1, &c.n[1], &one, &zero)
    return FNN_OK


def binary_scalar(int op, Array a, double b, bint swapped=False):
    """c = f(a, b), or f(b, a) where swapped, with a Python number b taken in a's dtype."""
    cdef call c
    if a.dt > DT_F64:
        check_float(a, BINARY_NAMES[op], "a")
    cdef Array z = new_array(a.dt, a.ndim, a.dims)
    begin(&c, binary_scalar_call, BINARY_NAMES[op], a.dt)
    put2(&c, z, a)
    c.n[0] = op
    c.n[1] = a.size
    c.n[2] = swapped
    c.d[0] = b
    if z.size:
        run(&c)
    return z


def add_(Array a, Array b):
    """a += b, for equal shapes."""
    cdef call c
    check_same_dtype(a, b, "add_", "a", "b")
    check_same_shape(a, b, "add_", "a", "b")
    if a.readonly:
        raise ValueError("add_: a is read-only")
    begin(&c, binary_call, "add_", a.dt)
    put3(&c, a, a, b)
    c.n[0] = BINARY["add"]
    c.n[1] = 1
    c.g.dims[0][0] = a.size
    c.g.dims[1][0] = c.g.dims[2][0] = 1
    if a.size:
        run(&c)
    mark_written(a)


cdef int prelu_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).prelu_fwd(c.p[0], c.p[1], c.p[2], c.n[0], c.n[1], c.n[2])


def prelu_fwd(Array x, Array slope):
    """y = x where x > 0, else slope x; slope has one element or one for each channel (last axis)."""
    cdef call c
    begin(&c, prelu_fwd_call, "prelu", x.dt)
    prelu_sizes(x, slope, c.n)
    cdef Array y = new_like(x, x.dt)
    put3(&c, y, x, slope)
    run(&c)
    return y


cdef int prelu_bwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).prelu_bwd(
        c.p[0], c.p[1], c.p[2], c.p[3], c.p[4], c.n[0], c.n[1], c.n[2])


def prelu_bwd(Array dy, Array x, Array slope):
    """(dx, dslope)."""
    cdef call c
    begin(&c, prelu_bwd_call, "prelu", x.dt, True)
    prelu_sizes(x, slope, c.n)
    check_same_dtype(dy, x, "prelu", "gradient", "x")
    check_same_shape(dy, x, "prelu", "gradient", "x")
    cdef Array dx = new_like(x, x.dt), dslope = new_like(slope, x.dt)
    put3(&c, dx, dslope, dy)
    put2(&c, x, slope)
    run(&c)
    return dx, dslope


cdef int prelu_sizes(Array x, Array slope, Py_ssize_t *n) except -1:
    """Fills n with (rows, channels, slopes)."""
    check_float(x, "prelu", "x")
    check_same_dtype(x, slope, "prelu", "x", "weight")
    if slope.ndim != 1 or slope.size == 0:
        raise ValueError(f"prelu: weight must have shape (1,) or (channels,), got {slope.shape}")
    cdef Py_ssize_t c = x.dims[x.ndim - 1] if x.ndim else 1
    if slope.size != 1 and slope.size != c:
        raise ValueError(f"prelu: weight has {slope.size} slopes, x has {c} channels")
    n[0] = x.size // c if c else 0
    n[1] = c
    n[2] = slope.size
    return 0


cdef int maxout_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).maxout_fwd(c.p[0], <int32_t *>c.p[1], c.p[2], c.n[0], c.n[1])


def maxout_fwd(Array x, Py_ssize_t pieces):
    """(y, index): the largest of each `pieces` consecutive values of the last axis, and which."""
    check_float(x, "maxout", "x")
    if pieces < 1:
        raise ValueError(f"maxout: pieces must be at least 1, got {pieces}")
    if x.ndim == 0 or x.dims[x.ndim - 1] % pieces:
        raise ValueError(f"maxout: the last axis of {x.shape} is not a multiple of pieces = {pieces}")
    cdef call c
    cdef Py_ssize_t dims[8]
    cdef int i
    for i in range(x.ndim):
        dims[i] = x.dims[i]
    dims[x.ndim - 1] //= pieces
    cdef Array y = new_array(x.dt, x.ndim, dims), index = new_array(DT_I32, x.ndim, dims)
    begin(&c, maxout_fwd_call, "maxout", x.dt)
    put3(&c, y, index, x)
    c.n[0] = y.size
    c.n[1] = pieces
    run(&c)
    return y, index


cdef int maxout_bwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).maxout_bwd(c.p[0], c.p[1], <int32_t *>c.p[2], c.n[0], c.n[1])


def maxout_bwd(Array dy, Array index, Py_ssize_t pieces):
    """dx."""
    check_float(dy, "maxout", "gradient")
    check_same_shape(dy, index, "maxout", "gradient", "output")
    cdef call c
    cdef Py_ssize_t dims[8]
    cdef int i
    for i in range(dy.ndim):
        dims[i] = dy.dims[i]
    dims[dy.ndim - 1] *= pieces
    cdef Array dx = new_array(dy.dt, dy.ndim, dims)
    begin(&c, maxout_bwd_call, "maxout", dy.dt, True)
    put3(&c, dx, dy, index)
    c.n[0] = dy.size
    c.n[1] = pieces
    run(&c)
    return dx

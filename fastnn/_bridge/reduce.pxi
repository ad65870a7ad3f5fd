# Reductions of an array seen as [outer, red, inner].

cdef Array reduced(Array x, int first, int last, bint keepdim, Py_ssize_t *view, int dt):
    """Fills view with (outer, red, inner) for the axes first..last-1; returns an empty result."""
    cdef Py_ssize_t dims[8]
    cdef int i, n = 0
    view[0] = view[1] = view[2] = 1
    for i in range(x.ndim):
        if i < first:
            view[0] *= x.dims[i]
        elif i < last:
            view[1] *= x.dims[i]
        else:
            view[2] *= x.dims[i]
        if i < first or i >= last:
            dims[n] = x.dims[i]
            n += 1
        elif keepdim:
            dims[n] = 1
            n += 1
    return new_array(dt, n, dims)


cdef int sum_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).sum(c.p[0], c.p[1], c.n[0], c.n[1], c.n[2])


def sum_axes(Array x, int first, int last, bint keepdim):
    """Sum over the neighbouring axes first..last-1."""
    cdef call c
    check_float(x, "sum", "x")
    begin(&c, sum_call, "sum", x.dt)
    cdef Array y = reduced(x, first, last, keepdim, c.n, x.dt)
    put2(&c, y, x)
    run(&c)
    return y


cdef int max_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).max(c.p[0], <int64_t *>c.p[1], c.p[2], c.n[0], c.n[1], c.n[2])


cdef int min_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).min(c.p[0], <int64_t *>c.p[1], c.p[2], c.n[0], c.n[1], c.n[2])


def extremum_axes(Array x, int first, int last, bint keepdim, bint largest):
    """(values, index): largest or smallest over the axes first..last-1, the first one of equals."""
    cdef call c
    cdef str op = "max" if largest else "min"
    check_float(x, op, "x")
    begin(&c, max_call if largest else min_call, op, x.dt)
    cdef Array y = reduced(x, first, last, keepdim, c.n, x.dt)
    cdef Array index = reduced(x, first, last, keepdim, c.n, DT_I64)
    if c.n[1] == 0:
        raise ValueError(f"{op}: expected at least one element along the axis, got shape {x.shape}")
    put3(&c, y, index, x)
    run(&c)
    return y, index

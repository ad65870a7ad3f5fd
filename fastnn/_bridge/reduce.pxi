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


def sum_axes(Array x, int first, int last, bint keepdim):
    """Sum over the neighbouring axes first..last-1."""
    check_float(x, "sum", "x")
    cdef Py_ssize_t v[3]
    cdef Array y = reduced(x, first, last, keepdim, v, x.dt)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status
    with nogil:
        status = k.sum(y.data, x.data, v[0], v[1], v[2])
    check_status(status)
    return y


def extremum_axes(Array x, int first, int last, bint keepdim, bint largest):
    """(values, index): largest or smallest over the axes first..last-1, the first one of equals."""
    cdef str op = "max" if largest else "min"
    check_float(x, op, "x")
    cdef Py_ssize_t v[3]
    cdef Array y = reduced(x, first, last, keepdim, v, x.dt)
    cdef Array index = reduced(x, first, last, keepdim, v, DT_I64)
    if v[1] == 0:
        raise ValueError(f"{op}: expected at least one element along the axis, got shape {x.shape}")
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status
    with nogil:
        if largest:
            status = k.max(y.data, <int64_t *>index.data, x.data, v[0], v[1], v[2])
        else:
            status = k.min(y.data, <int64_t *>index.data, x.data, v[0], v[1], v[2])
    check_status(status)
    return y, index

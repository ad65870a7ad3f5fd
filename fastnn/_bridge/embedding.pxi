# Rows of a table by their number. Calls: p = (result, index, w or dy), n = (indices, rows, features).

cdef int check_index(call *c) noexcept nogil:
    cdef int64_t *index = <int64_t *>c.p[1]
    cdef Py_ssize_t i
    for i in range(c.n[0]):
        if index[i] < 0 or index[i] >= c.n[1]:
            return BAD_INDEX
    return FNN_OK


cdef int embedding_fwd_call(call *c) noexcept nogil:
    cdef int status = check_index(c)
    if status != FNN_OK:
        return status
    return fnn_kernels_for(c.dt).embedding_fwd(c.p[0], c.p[2], <int64_t *>c.p[1], c.n[0], c.n[2])


cdef int embedding_bwd_call(call *c) noexcept nogil:
    cdef int status = check_index(c)
    if status != FNN_OK:
        return status
    return fnn_kernels_for(c.dt).embedding_bwd(
        c.p[0], c.p[2], <int64_t *>c.p[1], c.n[0], c.n[1], c.n[2], c.n[3])


cdef int embedding_sizes(call *c, Array index, Array w) except -1:
    check_float(w, "embedding", "weight")
    if w.ndim != 2:
        raise ValueError(f"embedding: weight must be (rows, features), got shape {w.shape}")
    if index.dt != DT_I64:
        raise TypeError(f"embedding: x must be int64, got {index.dtype}")
    c.n[0], c.n[1], c.n[2] = index.size, w.dims[0], w.dims[1]
    return 0


def embedding_fwd(Array index, Array w):
    """y (*index.shape, features) = w[index]."""
    cdef call c
    cdef Py_ssize_t dims[8]
    embedding_sizes(&c, index, w)
    dims_from(index.shape + (w.dims[1],), dims, "embedding")
    cdef Array y = new_array(w.dt, index.ndim + 1, dims)
    begin(&c, embedding_fwd_call, "embedding", w.dt)
    put3(&c, y, index, w)
    run(&c)
    return y


def embedding_bwd(Array dy, Array index, Array w, Py_ssize_t padding):
    """dw like w: sums of the rows of dy at each index; none in the row `padding` (-1: in all)."""
    cdef call c
    embedding_sizes(&c, index, w)
    check_same_dtype(dy, w, "embedding", "gradient", "weight")
    if dy.shape != index.shape + (w.dims[1],):
        raise ValueError(f"embedding: gradient must be {index.shape + (w.dims[1],)}, got {dy.shape}")
    cdef Array dw = new_like(w, w.dt)
    begin(&c, embedding_bwd_call, "embedding", w.dt, True)
    put3(&c, dw, index, dy)
    c.n[3] = padding
    run(&c)
    return dw

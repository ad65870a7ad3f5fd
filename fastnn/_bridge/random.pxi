# Counter-based random numbers.

def dropout_fwd(Array x, double p, uint64_t seed, uint64_t offset):
    """(y, mask)."""
    check_float(x, "dropout", "x")
    cdef Array y = new_like(x, x.dt), mask = new_like(x, DT_U8)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status
    with nogil:
        status = k.dropout_fwd(y.data, <uint8_t *>mask.data, x.data, x.size, p, seed, offset)
    check_status(status)
    return y, mask


def dropout_bwd(Array dy, Array mask, double p):
    """dx."""
    check_float(dy, "dropout", "gradient")
    check_same_shape(dy, mask, "dropout", "gradient", "output")
    cdef Array dx = new_like(dy, dy.dt)
    cdef const fnn_kernels *k = fnn_kernels_for(dy.dt)
    cdef int status
    with nogil:
        status = k.dropout_bwd(dx.data, dy.data, <uint8_t *>mask.data, dy.size, p)
    check_status(status)
    return dx


def random(tuple shape, str dtype, bint gaussian, double a, double b, uint64_t seed, uint64_t offset):
    """Uniform in [a, b), or Gaussian with mean a and standard deviation b."""
    cdef Array y = empty(shape, dtype)
    check_float(y, "random", "dtype")
    cdef const fnn_kernels *k = fnn_kernels_for(y.dt)
    cdef int status
    with nogil:
        if gaussian:
            status = k.normal(y.data, y.size, a, b, seed, offset)
        else:
            status = k.uniform(y.data, y.size, a, b, seed, offset)
    check_status(status)
    return y

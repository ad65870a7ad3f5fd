# Counter-based random numbers.

cdef int dropout_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).dropout_fwd(
        c.p[0], <uint8_t *>c.p[1], c.p[2], c.n[0], c.d[0], c.seed, c.offset)


def dropout_fwd(Array x, double p, uint64_t seed, uint64_t offset):
    """(y, mask); the caller has reserved x.size numbers from offset on."""
    cdef call c
    check_float(x, "dropout", "x")
    cdef Array y = new_like(x, x.dt), mask = new_like(x, DT_U8)
    begin(&c, dropout_fwd_call, "dropout", x.dt)
    put3(&c, y, mask, x)
    c.n[0] = c.draws = x.size
    c.d[0] = p
    c.seed = seed
    c.offset = offset
    run(&c)
    return y, mask


cdef int dropout_bwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).dropout_bwd(c.p[0], c.p[1], <uint8_t *>c.p[2], c.n[0], c.d[0])


def dropout_bwd(Array dy, Array mask, double p):
    """dx."""
    cdef call c
    check_float(dy, "dropout", "gradient")
    check_same_shape(dy, mask, "dropout", "gradient", "output")
    cdef Array dx = new_like(dy, dy.dt)
    begin(&c, dropout_bwd_call, "dropout", dy.dt, True)
    put3(&c, dx, dy, mask)
    c.n[0] = dy.size
    c.d[0] = p
    run(&c)
    return dx


cdef int uniform_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).uniform(c.p[0], c.n[0], c.d[0], c.d[1], c.seed, c.offset)


cdef int normal_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).normal(c.p[0], c.n[0], c.d[0], c.d[1], c.seed, c.offset)


def random(tuple shape, str dtype, bint gaussian, double a, double b, uint64_t seed, uint64_t offset):
    """Uniform in [a, b), or Gaussian with mean a and standard deviation b; as for dropout_fwd."""
    cdef call c
    cdef Array y = empty(shape, dtype)
    check_float(y, "random", "dtype")
    begin(&c, normal_call if gaussian else uniform_call, "random", y.dt)
    put(&c, y)
    c.n[0] = c.draws = y.size
    c.d[0] = a
    c.d[1] = b
    c.seed = seed
    c.offset = offset
    run(&c)
    return y

# Pooling.

cdef int pool_geometry(fnn_pool *g, str op, Array x, tuple kernel, tuple stride, tuple padding,
                       bint count_include_pad) except -1:
    check_float(x, op, "x")
    if x.ndim != 4:
        raise ValueError(f"{op}: x must be (N, H, W, C), got shape {x.shape}")
    g.n, g.h, g.w, g.c = x.dims[0], x.dims[1], x.dims[2], x.dims[3]
    g.r, g.s = kernel
    g.stride_h, g.stride_w = stride
    g.pad_h, g.pad_w = padding
    g.count_include_pad = count_include_pad
    for name, pair, least in (("kernel_size", kernel, 1), ("stride", stride, 1), ("padding", padding, 0)):
        if min(pair) < least:
            raise ValueError(f"{op}: {name} must be at least {least}, got {pair}")
        if max(pair) > 1 << 30:
            raise ValueError(f"{op}: {name} is too large: {pair}")
    if 2 * g.pad_h > g.r or 2 * g.pad_w > g.s:
        raise ValueError(f"{op}: padding must be at most half of kernel_size {kernel}, got {padding}")
    if g.h + 2 * g.pad_h < g.r or g.w + 2 * g.pad_w < g.s:
        raise ValueError(
            f"{op}: kernel_size {kernel} is larger than the padded input "
            f"{g.h + 2 * g.pad_h}x{g.w + 2 * g.pad_w}"
        )
    g.oh = (g.h + 2 * g.pad_h - g.r) // g.stride_h + 1
    g.ow = (g.w + 2 * g.pad_w - g.s) // g.stride_w + 1
    return 0


cdef Array pool_output(fnn_pool *g, int dt):
    cdef Py_ssize_t dims[4]
    dims[0], dims[1], dims[2], dims[3] = g.n, g.oh, g.ow, g.c
    return new_array(dt, 4, dims)


cdef int max_pool2d_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).max_pool2d_fwd(c.p[0], <uint8_t *>c.p[1], c.p[2], &c.g.pool)


def max_pool2d_fwd(Array x, tuple kernel, tuple stride, tuple padding):
    """(y, index): index says which element of the window won."""
    cdef call c
    cdef fnn_pool *g = &c.g.pool
    begin(&c, max_pool2d_fwd_call, "max_pool2d", x.dt)
    pool_geometry(g, "max_pool2d", x, kernel, stride, padding, True)
    if g.r * g.s > 255:
        raise ValueError(f"max_pool2d: a window has at most 255 elements, got kernel_size {kernel}")
    cdef Array y = pool_output(g, x.dt), index = pool_output(g, DT_U8)
    put3(&c, y, index, x)
    if y.size:
        run(&c)
    return y, index


cdef Array pool_gradient(Array dy, str op, fnn_pool *g, Array x):
    check_same_dtype(dy, x, op, "gradient", "x")
    if dy.shape != (g.n, g.oh, g.ow, g.c):
        raise ValueError(f"{op}: gradient must be {(g.n, g.oh, g.ow, g.c)}, got {dy.shape}")
    return new_like(x, x.dt)


cdef int max_pool2d_bwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).max_pool2d_bwd(c.p[0], c.p[1], <uint8_t *>c.p[2], &c.g.pool)


def max_pool2d_bwd(Array dy, Array index, Array x, tuple kernel, tuple stride, tuple padding):
    """dx; of x only the shape is used."""
    cdef call c
    begin(&c, max_pool2d_bwd_call, "max_pool2d", x.dt, True)
    pool_geometry(&c.g.pool, "max_pool2d", x, kernel, stride, padding, True)
    cdef Array dx = pool_gradient(dy, "max_pool2d", &c.g.pool, x)
    check_same_shape(dy, index, "max_pool2d", "gradient", "index")
    put3(&c, dx, dy, index)
    if dx.size:
        run(&c)
    return dx


cdef int avg_pool2d_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).avg_pool2d_fwd(c.p[0], c.p[1], &c.g.pool)


def avg_pool2d_fwd(Array x, tuple kernel, tuple stride, tuple padding, bint count_include_pad):
    """y."""
    cdef call c
    begin(&c, avg_pool2d_fwd_call, "avg_pool2d", x.dt)
    pool_geometry(&c.g.pool, "avg_pool2d", x, kernel, stride, padding, count_include_pad)
    cdef Array y = pool_output(&c.g.pool, x.dt)
    put2(&c, y, x)
    if y.size:
        run(&c)
    return y


cdef int avg_pool2d_bwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).avg_pool2d_bwd(c.p[0], c.p[1], &c.g.pool)


def avg_pool2d_bwd(Array dy, Array x, tuple kernel, tuple stride, tuple padding,
                   bint count_include_pad):
    """dx; of x only the shape is used."""
    cdef call c
    begin(&c, avg_pool2d_bwd_call, "avg_pool2d", x.dt, True)
    pool_geometry(&c.g.pool, "avg_pool2d", x, kernel, stride, padding, count_include_pad)
    cdef Array dx = pool_gradient(dy, "avg_pool2d", &c.g.pool, x)
    put2(&c, dx, dy)
    if dx.size:
        run(&c)
    return dx


cdef int adaptive_geometry(fnn_pool *g, Array x, tuple output) except -1:
    cdef str op = "adaptive_avg_pool2d"
    check_float(x, op, "x")
    if x.ndim != 4:
        raise ValueError(f"{op}: x must be (N, H, W, C), got shape {x.shape}")
    g.n, g.h, g.w, g.c = x.dims[0], x.dims[1], x.dims[2], x.dims[3]
    g.oh, g.ow = output
    if g.oh < 1 or g.ow < 1:
        raise ValueError(f"{op}: output_size must be at least 1, got {output}")
    if g.h < 1 or g.w < 1:
        raise ValueError(f"{op}: x must have at least one pixel, got shape {x.shape}")
    g.r = g.s = g.stride_h = g.stride_w = 1
    g.pad_h = g.pad_w = 0
    g.count_include_pad = 1
    return 0


cdef int adaptive_avg_pool2d_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).adaptive_avg_pool2d_fwd(c.p[0], c.p[1], &c.g.pool)


def adaptive_avg_pool2d_fwd(Array x, tuple output):
    """y (N, *output, C)."""
    cdef call c
    begin(&c, adaptive_avg_pool2d_fwd_call, "adaptive_avg_pool2d", x.dt)
    adaptive_geometry(&c.g.pool, x, output)
    cdef Array y = pool_output(&c.g.pool, x.dt)
    put2(&c, y, x)
    if y.size:
        run(&c)
    return y


cdef int adaptive_avg_pool2d_bwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).adaptive_avg_pool2d_bwd(c.p[0], c.p[1], &c.g.pool)


def adaptive_avg_pool2d_bwd(Array dy, Array x, tuple output):
    """dx; of x only the shape is used."""
    cdef call c
    begin(&c, adaptive_avg_pool2d_bwd_call, "adaptive_avg_pool2d", x.dt, True)
    adaptive_geometry(&c.g.pool, x, output)
    cdef Array dx = pool_gradient(dy, "adaptive_avg_pool2d", &c.g.pool, x)
    put2(&c, dx, dy)
    if dx.size:
        run(&c)
    return dx

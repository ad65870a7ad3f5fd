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


def max_pool2d_fwd(Array x, tuple kernel, tuple stride, tuple padding):
    """(y, index): index says which element of the window won."""
    cdef fnn_pool g
    pool_geometry(&g, "max_pool2d", x, kernel, stride, padding, True)
    if g.r * g.s > 255:
        raise ValueError(f"max_pool2d: a window has at most 255 elements, got kernel_size {kernel}")
    cdef Array y = pool_output(&g, x.dt), index = pool_output(&g, DT_U8)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status = 0
    if y.size:
        with nogil:
            status = k.max_pool2d_fwd(y.data, <uint8_t *>index.data, x.data, &g)
    check_status(status)
    return y, index


cdef Array pool_gradient(Array dy, str op, fnn_pool *g, Array x):
    check_same_dtype(dy, x, op, "gradient", "x")
    if dy.shape != (g.n, g.oh, g.ow, g.c):
        raise ValueError(f"{op}: gradient must be {(g.n, g.oh, g.ow, g.c)}, got {dy.shape}")
    return new_like(x, x.dt)


def max_pool2d_bwd(Array dy, Array index, Array x, tuple kernel, tuple stride, tuple padding):
    """dx; of x only the shape is used."""
    cdef fnn_pool g
    pool_geometry(&g, "max_pool2d", x, kernel, stride, padding, True)
    cdef Array dx = pool_gradient(dy, "max_pool2d", &g, x)
    check_same_shape(dy, index, "max_pool2d", "gradient", "index")
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status = 0
    if dx.size:
        with nogil:
            status = k.max_pool2d_bwd(dx.data, dy.data, <uint8_t *>index.data, &g)
    check_status(status)
    return dx


def avg_pool2d_fwd(Array x, tuple kernel, tuple stride, tuple padding, bint count_include_pad):
    """y."""
    cdef fnn_pool g
    pool_geometry(&g, "avg_pool2d", x, kernel, stride, padding, count_include_pad)
    cdef Array y = pool_output(&g, x.dt)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status = 0
    if y.size:
        with nogil:
            status = k.avg_pool2d_fwd(y.data, x.data, &g)
    check_status(status)
    return y


def avg_pool2d_bwd(Array dy, Array x, tuple kernel, tuple stride, tuple padding,
                   bint count_include_pad):
    """dx; of x only the shape is used."""
    cdef fnn_pool g
    pool_geometry(&g, "avg_pool2d", x, kernel, stride, padding, count_include_pad)
    cdef Array dx = pool_gradient(dy, "avg_pool2d", &g, x)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status = 0
    if dx.size:
        with nogil:
            status = k.avg_pool2d_bwd(dx.data, dy.data, &g)
    check_status(status)
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


def adaptive_avg_pool2d_fwd(Array x, tuple output):
    """y (N, *output, C)."""
    cdef fnn_pool g
    adaptive_geometry(&g, x, output)
    cdef Array y = pool_output(&g, x.dt)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status = 0
    if y.size:
        with nogil:
            status = k.adaptive_avg_pool2d_fwd(y.data, x.data, &g)
    check_status(status)
    return y


def adaptive_avg_pool2d_bwd(Array dy, Array x, tuple output):
    """dx; of x only the shape is used."""
    cdef fnn_pool g
    adaptive_geometry(&g, x, output)
    cdef Array dx = pool_gradient(dy, "adaptive_avg_pool2d", &g, x)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status = 0
    if dx.size:
        with nogil:
            status = k.adaptive_avg_pool2d_bwd(dx.data, dy.data, &g)
    check_status(status)
    return dx

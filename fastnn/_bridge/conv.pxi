# Convolution.

CONV_ALGOS = {"auto": FNN_CONV_AUTO, "direct": FNN_CONV_DIRECT, "winograd": FNN_CONV_WINOGRAD}
cdef int conv_default = FNN_CONV_AUTO


def set_conv_algo(str name):
    """What "auto" stands for from now on; where it is impossible, convolutions stay direct."""
    global conv_default
    if name not in CONV_ALGOS:
        raise ValueError(f"FASTNN_CONV_ALGO: expected one of {', '.join(CONV_ALGOS)}, got {name!r}")
    conv_default = CONV_ALGOS[name]


cdef int conv_algo(fnn_conv *g, int dt, object name) except -1:
    """Checks the algorithm that was asked for and enters it."""
    algo = CONV_ALGOS.get(name) if isinstance(name, str) else None
    if algo is None:
        raise ValueError(f"conv2d: algo must be one of {', '.join(CONV_ALGOS)}, got {name!r}")
    g.algo = algo
    cdef int found = 0
    if g.algo == FNN_CONV_AUTO:
        g.algo = conv_default
    elif g.algo == FNN_CONV_WINOGRAD:
        fnn_kernels_for(dt).conv2d_algo(&found, FNN_PASS_FWD, g)
        if found != FNN_CONV_WINOGRAD:
            raise ValueError(
                "conv2d: algo='winograd' needs float32, a 3x3 or 5x5 kernel (divided by the stride "
                "and rounded up), dilation 1 and one group, "
                f"got {'float32' if dt == FNN_F32 else 'float64'}, {g.r}x{g.s}, "
                f"stride {(g.stride_h, g.stride_w)}, dilation {(g.dil_h, g.dil_w)}, "
                f"groups {g.groups}"
            )
    return 0


cdef int conv_geometry(fnn_conv *g, Array x, Array w, tuple stride, tuple padding, tuple dilation,
                       Py_ssize_t groups, object algo) except -1:
    """Checks x (N,H,W,C), w (K,R,S,C/groups) and fills the geometry."""
    check_float(x, "conv2d", "x")
    check_same_dtype(x, w, "conv2d", "x", "weight")
    if x.ndim != 4:
        raise ValueError(f"conv2d: x must be (N, H, W, C), got shape {x.shape}")
    if w.ndim != 4:
        raise ValueError(
            f"conv2d: weight must be (out_channels, kh, kw, in_channels // groups), got shape {w.shape}"
        )
    return conv_sizes(g, x.dt, x.dims, w.dims, stride, padding, dilation, groups, algo)


cdef int conv_sizes(fnn_conv *g, int dt, const Py_ssize_t *x, const Py_ssize_t *w, tuple stride,
                    tuple padding, tuple dilation, Py_ssize_t groups, object algo) except -1:
    cdef Py_ssize_t span_h, span_w
    g.n, g.h, g.w, g.c = x[0], x[1], x[2], x[3]
    g.k, g.r, g.s = w[0], w[1], w[2]
    g.stride_h, g.stride_w = stride
    g.pad_h, g.pad_w = padding
    g.dil_h, g.dil_w = dilation
    g.groups = groups
    for name, pair, least in (("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
        if min(pair) < least:
            raise ValueError(f"conv2d: {name} must be at least {least}, got {pair}")
        if max(pair) > 1 << 30:
            raise ValueError(f"conv2d: {name} is too large: {pair}")
    if groups < 1 or g.c % groups or g.k % groups:
        raise ValueError(
            f"conv2d: groups must divide {g.c} input and {g.k} output channels, got {groups}"
        )
    if w[3] * groups != g.c:
        raise ValueError(
            f"conv2d: weight has {w[3]} input channels"
            f"{f' in each of {groups} groups' if groups > 1 else ''}, x has {g.c}"
        )
    if g.r < 1 or g.s < 1 or g.c < 1 or g.k < 1:
        raise ValueError(f"conv2d: weight sizes must be at least 1, got shape {(w[0], w[1], w[2], w[3])}")
    span_h = g.dil_h * (g.r - 1) + 1
    span_w = g.dil_w * (g.s - 1) + 1
    if g.h + 2 * g.pad_h < span_h or g.w + 2 * g.pad_w < span_w:
        raise ValueError(
            f"conv2d: the kernel spans {span_h}x{span_w}, the padded input is only "
            f"{g.h + 2 * g.pad_h}x{g.w + 2 * g.pad_w}"
        )
    g.oh = (g.h + 2 * g.pad_h - span_h) // g.stride_h + 1
    g.ow = (g.w + 2 * g.pad_w - span_w) // g.stride_w + 1
    # Kernels copy windows of the padded image, and backward ones up to twice as wide.
    if (g.h + 2 * g.pad_h > PY_SSIZE_T_MAX // 64 // (g.w + 2 * g.pad_w) // max(g.c, g.k)):
        raise ValueError(
            f"conv2d: the padded input {g.h + 2 * g.pad_h}x{g.w + 2 * g.pad_w} is too large"
        )
    g.act.unary = -1
    return conv_algo(g, dt, algo)


def conv2d_algo(tuple x, tuple w, int dt, tuple stride, tuple padding, tuple dilation,
                Py_ssize_t groups, object algo):
    """The algorithms of forward, backward data and backward weights for these shapes."""
    cdef fnn_conv g
    cdef Py_ssize_t[4] xs, ws
    for i in range(4):
        xs[i], ws[i] = x[i], w[i]
    conv_sizes(&g, dt, xs, ws, stride, padding, dilation, groups, algo)
    names = {number: name for name, number in CONV_ALGOS.items()}
    cdef int found = 0
    result = []
    for which in (FNN_PASS_FWD, FNN_PASS_DATA, FNN_PASS_WEIGHTS):
        fnn_kernels_for(dt).conv2d_algo(&found, which, &g)
        result.append(names[found])
    return tuple(result)


cdef inline double conv_flops(fnn_conv *g) noexcept:
    return 2.0 * g.n * g.oh * g.ow * g.k * g.r * g.s * (g.c // g.groups)


cdef int conv2d_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).conv2d_fwd(c.p[0], c.p[1], c.p[2], c.packed, c.p[3], c.p[4],
                                             &c.g.conv)


cdef Py_ssize_t pack_weights(call *c, void *packed) noexcept nogil:
    """Writes the weights p[2] of a convolution or a linear layer as its kernel reads them, unless
    packed is NULL; returns how many numbers that are, 0 for other calls, -1 if out of memory."""
    cdef fnn_conv g
    cdef ptrdiff_t size = 0
    cdef fnn_status status = FNN_OK
    if c.kernel == conv2d_fwd_call:
        status = fnn_kernels_for(c.dt).conv2d_pack(packed, &size, c.p[2], &c.g.conv)
    elif c.kernel == gemm_call and c.n[3] == 2 and c.n[4] == 1:  # x w^T: a 1x1 convolution
        memset(&g, 0, sizeof(fnn_conv))
        g.groups = g.r = g.s = g.stride_h = g.stride_w = 1
        g.k, g.c = c.n[1], c.n[2]
        status = fnn_kernels_for(c.dt).conv2d_pack(packed, &size, c.p[2], &g)
    return size if status == FNN_OK else -1


def conv2d_fwd(Array x, Array w, object bias, tuple stride, tuple padding, tuple dilation,
               Py_ssize_t groups, object algo, int act=-1, double p0=0.0, double p1=0.0,
               Array residual=None):
    """y (N,OH,OW,K) = act(conv(x, w) + bias + residual)."""
    cdef call c
    cdef fnn_conv *g = &c.g.conv
    begin(&c, conv2d_fwd_call, "conv2d", x.dt)
    conv_geometry(g, x, w, stride, padding, dilation, groups, algo)
    cdef Array b = None
    if bias is not None:
        b = bias
        check_same_dtype(x, b, "conv2d", "x", "bias")
        if b.ndim != 1 or b.dims[0] != g.k:
            raise ValueError(f"conv2d: bias must have shape ({g.k},), got {b.shape}")
    g.act.unary = act
    g.act.p[0] = p0
    g.act.p[1] = p1
    cdef Py_ssize_t dims[4]
    dims[0], dims[1], dims[2], dims[3] = g.n, g.oh, g.ow, g.k
    cdef Array y = new_array(x.dt, 4, dims)
    put2(&c, y, x)
    put3(&c, w, b, residual)
    if residual is not None:
        check_same_dtype(x, residual, "conv2d", "x", "residual")
        check_same_shape(residual, y, "conv2d", "residual", "the output")
    c.flops = conv_flops(g)
    if y.size:
        run(&c)
    return y


cdef int conv2d_bwd_data_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).conv2d_bwd_data(c.p[0], c.p[1], c.p[2], c.p[3], &c.g.conv)


cdef int conv2d_bwd_weights_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).conv2d_bwd_weights(c.p[0], c.p[1], c.p[2], c.p[3], &c.g.conv)


cdef int conv2d_bwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).conv2d_bwd(c.p[0], c.p[1], c.p[2], c.p[3], c.p[4], c.p[5], c.p[6],
                                              &c.g.conv)


def conv_transpose2d_fwd(Array x, Array w, tuple size, tuple stride, tuple padding, tuple dilation,
                         Py_ssize_t groups):
    """The image (N, *size, C) whose gradient x (N,OH,OW,K) is: the transpose of conv2d_fwd."""
    cdef call c
    cdef fnn_conv *g = &c.g.conv
    cdef Py_ssize_t dims[4]
    dims[0], dims[1], dims[2], dims[3] = x.dims[0], size[0], size[1], w.dims[3] * groups
    cdef Array y = new_array(x.dt, 4, dims)
    conv_geometry(g, y, w, stride, padding, dilation, groups, "auto")
    if x.shape != (g.n, g.oh, g.ow, g.k):
        raise ValueError(f"conv_transpose2d: x must be {(g.n, g.oh, g.ow, g.k)}, got {x.shape}")
    begin(&c, conv2d_bwd_data_call, "conv_transpose2d", x.dt)
    put3(&c, y, x, w)
    put(&c, None)
    c.flops = conv_flops(g)
    if y.size:
        run(&c)
    return y


def conv2d_bwd(Array dy, Array x, Array w, object y, tuple stride, tuple padding, tuple dilation,
               Py_ssize_t groups, object algo, int act, double p0, double p1,
               bint need_dx, bint need_dw, bint need_db, Array add=None):
    """(dx, dw, db), each None where not needed; y is the output of a fused activation or None.

    add, a gradient of x, is included in dx.
    """
    cdef call c
    cdef fnn_conv *g = &c.g.conv
    conv_geometry(g, x, w, stride, padding, dilation, groups, algo)
    check_same_dtype(dy, x, "conv2d", "gradient", "x")
    if dy.shape != (g.n, g.oh, g.ow, g.k):
        raise ValueError(f"conv2d: gradient must be {(g.n, g.oh, g.ow, g.k)}, got {dy.shape}")
    if act >= 0:
        dy = unary_bwd(act, dy, y, p0, p1)
    cdef Array dx = None, dw = None, db = None
    if need_dx:
        if add is not None:
            check_same_dtype(add, x, "conv2d", "gradient", "x")
            check_same_shape(add, x, "conv2d", "gradient", "x")
        dx = new_like(x, x.dt)
    if need_dw or need_db:
        dw = new_like(w, w.dt)
    if need_db:
        db = new_array(w.dt, 1, w.dims)
    if dy.size == 0:
        for a in (dx, dw, db):
            if a is not None:
                fill(a, 0.0, 0)
        return dx if add is None else add, dw, db
    if need_dx and dw is not None and g.groups == g.c == g.k:
        begin(&c, conv2d_bwd_call, "conv2d depthwise", x.dt, True)
        put3(&c, dx, dw, db)
        put3(&c, dy, x, w)
        put(&c, add)
        c.flops = 2.0 * conv_flops(g)
        run(&c)
        return dx, dw, db
    if need_dx:
        begin(&c, conv2d_bwd_data_call, "conv2d data", x.dt, True)
        put2(&c, dx, dy)
        put2(&c, w, add)
        c.flops = conv_flops(g)
        run(&c)
    if need_dw or need_db:
        begin(&c, conv2d_bwd_weights_call, "conv2d weights", x.dt, True)
        put2(&c, dw, db)
        put2(&c, dy, x)
        c.flops = conv_flops(g)
        run(&c)
    return dx, dw, db

# Batch, group and layer normalization. Statistics are a float64 Array: means, then 1/std; of batch
# and group normalization (2, samples, groups), of layer normalization (2, rows).

cdef int check_channels(Array a, Array x, str op, str name) except -1:
    """a has one element for each channel of x (the last axis), in x's dtype."""
    check_same_dtype(x, a, op, "x", name)
    if a.ndim != 1 or a.dims[0] != x.dims[x.ndim - 1]:
        raise ValueError(f"{op}: {name} must have shape ({x.dims[x.ndim - 1]},), got {a.shape}")
    return 0


cpdef int norm_check(str op, Array x, Array weight=None, Array bias=None,
                     Array residual=None) except -1:
    """Raises where x or what goes with it does not fit; ops call it before they change anything."""
    check_float(x, op, "x")
    if x.ndim < 2:
        raise ValueError(f"{op}: x must be (N, ..., channels), got shape {x.shape}")
    if weight is not None:
        check_channels(weight, x, op, "weight")
    if bias is not None:
        check_channels(bias, x, op, "bias")
    if residual is not None:
        check_same_dtype(x, residual, op, "x", "residual")
        check_same_shape(x, residual, op, "x", "residual")
    return 0


cdef Array norm_statistics(Py_ssize_t samples, Py_ssize_t groups):
    cdef Py_ssize_t dims[3]
    dims[0], dims[1], dims[2] = 2, samples, groups
    return new_array(DT_F64, 3, dims)


cdef void norm_geometry(call *c, Array x, Array stats, int act, double p0, double p1) noexcept:
    cdef fnn_norm *g = &c.g.norm
    g.outer = stats.dims[1]
    g.groups = stats.dims[2]
    g.c = x.dims[x.ndim - 1]
    g.rows = x.size // g.c // g.outer if x.size else 0
    g.act.unary = act
    g.act.p[0] = p0
    g.act.p[1] = p1


cdef int norm_stats_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).norm_stats(<double *>c.p[0], c.p[1], c.p[2], <int64_t *>c.p[3],
                                            c.p[4], c.d[0], c.d[1], &c.g.norm)


def norm_stats(str op, Array x, Py_ssize_t samples, Py_ssize_t groups, double eps,
               Array running_mean=None, Array running_var=None, Array seen=None,
               double momentum=0.0):
    """Statistics of x, cut into `samples` along the first axis and `groups` along the last.

    running_mean and running_var (channels), where given, move by `momentum` towards the mean and
    the unbiased variance of the one sample; by 1 / seen where momentum is NaN. seen, an int64,
    counts the calls.
    """
    cdef call c
    norm_check(op, x)
    for name, running in (("running_mean", running_mean), ("running_var", running_var)):
        if running is not None:
            check_channels(running, x, op, name)
            if (<Array>running).readonly:
                raise ValueError(f"{op}: {name} is read-only")
    if seen is not None and (seen.dt != DT_I64 or seen.size != 1 or seen.readonly):
        raise ValueError(f"{op}: the number of batches must be one int64 that can be written")
    if seen is None and momentum != momentum:
        raise ValueError(f"{op}: momentum must not be NaN")
    cdef Array stats = norm_statistics(samples, groups)
    begin(&c, norm_stats_call, op, x.dt)
    norm_geometry(&c, x, stats, -1, 0.0, 0.0)
    put3(&c, stats, running_mean, running_var)
    put2(&c, seen, x)
    c.d[0] = eps
    c.d[1] = momentum
    run(&c)
    for running in (running_mean, running_var, seen):
        if running is not None:
            mark_written(running)
    return stats


cdef int norm_given_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).norm_given(<double *>c.p[0], c.p[1], c.p[2], c.d[0], c.n[0])


def norm_given(str op, Array x, Array mean, Array var, double eps):
    """Statistics of one sample from a mean and a variance for each channel of x."""
    cdef call c
    norm_check(op, x)
    check_channels(mean, x, op, "running_mean")
    check_channels(var, x, op, "running_var")
    cdef Array stats = norm_statistics(1, mean.size)
    begin(&c, norm_given_call, op, x.dt)
    put3(&c, stats, mean, var)
    c.d[0] = eps
    c.n[0] = mean.size
    run(&c)
    return stats


cdef int norm_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).norm_fwd(c.p[0], c.p[1], c.p[2], <double *>c.p[3], c.p[4], c.p[5],
                                          &c.g.norm)


def norm_fwd(str op, Array x, Array stats, Array weight, Array bias, Array residual,
             int act=-1, double p0=0.0, double p1=0.0):
    """y = act((x - mean) / std weight + bias + residual); the last three may be None."""
    cdef call c
    norm_check(op, x, weight, bias, residual)
    cdef Array y = new_like(x, x.dt)
    begin(&c, norm_fwd_call, op, x.dt)
    norm_geometry(&c, x, stats, act, p0, p1)
    put3(&c, y, x, residual)
    put3(&c, stats, weight, bias)
    run(&c)
    return y


cdef int norm_bwd_weights_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).norm_bwd_weights(c.p[0], c.p[1], c.p[2], <double *>c.p[3], c.p[4],
                                                  c.p[5], c.p[6], <double *>c.p[7], c.p[8], c.p[9],
                                                  &c.g.norm)


cdef int norm_bwd_data_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).norm_bwd_data(c.p[0], c.p[1], c.p[2], c.p[3], <double *>c.p[4],
                                               <double *>c.p[5], c.p[6], c.p[7], &c.g.norm)


def norm_bwd(str op, Array dy, Array x, Array y, Array stats, Array weight, Array bias,
             bint fixed, int act, double p0, double p1, bint need_dx, bint need_dw, bint need_db,
             bint need_residual):
    """(dx, dw, db, dresidual), each None where not needed; y: the output where there is an act, or
    None where that is relu without a residual.

    fixed: the statistics were given, so that no gradient passes through them.
    """
    cdef call c
    cdef Array dx = None, dw = None, db = None, dres = None, sums = None
    check_same_dtype(dy, x, op, "gradient", "x")
    check_same_shape(dy, x, op, "gradient", "x")
    norm_geometry(&c, x, stats, act, p0, p1)
    if need_dw:
        dw = new_array(x.dt, 1, x.dims + x.ndim - 1)
    if need_db:
        db = new_array(x.dt, 1, x.dims + x.ndim - 1)
    if need_residual and act >= 0:
        dres = new_like(x, x.dt)
    if need_dw or need_db or dres is not None or (need_dx and not fixed):
        sums = norm_statistics(c.g.norm.outer, c.g.norm.c)
        begin(&c, norm_bwd_weights_call, op, x.dt, True)
        put3(&c, dw, db, dres)
        put3(&c, sums, dy, x)
        put2(&c, y, stats)
        put2(&c, weight, bias)
        run(&c)
    if dres is not None:  # act is done
        dy = dres
        c.g.norm.act.unary = -1
    if need_dx:
        dx = new_like(x, x.dt)
        begin(&c, norm_bwd_data_call, op, x.dt, True)
        put3(&c, dx, dy, x)
        put3(&c, y, None if fixed else sums, stats)
        put2(&c, weight, bias)
        run(&c)
    return dx, dw, db, dy if need_residual else None


cdef int layer_norm_check(Array x, Array a, int dims, str name) except -1:
    """The last `dims` axes of x are the shape of a, a weight or bias, or None."""
    cdef int i
    if a is None:
        return 0
    check_same_dtype(x, a, "layer_norm", "x", name)
    for i in range(dims):
        if a.ndim != dims or a.dims[i] != x.dims[x.ndim - dims + i]:
            raise ValueError(
                f"layer_norm: {name} must have shape {x.shape[x.ndim - dims:]}, got {a.shape}"
            )
    return 0


cdef Array layer_norm_geometry(call *c, Array x, int dims):
    """Sets the sizes; returns an Array for the statistics."""
    cdef int i
    cdef Py_ssize_t shape[2]
    shape[0], shape[1] = 2, 1
    c.n[1] = 1
    for i in range(x.ndim):
        if i < x.ndim - dims:
            shape[1] *= x.dims[i]
        else:
            c.n[1] *= x.dims[i]
    c.n[0] = shape[1]
    return new_array(DT_F64, 2, shape)


cdef int layer_norm_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).layer_norm_fwd(c.p[0], <double *>c.p[1], c.p[2], c.p[3], c.p[4],
                                                c.d[0], c.n[0], c.n[1])


def layer_norm_fwd(Array x, int dims, Array weight, Array bias, double eps):
    """(y, statistics) of x, normalized over its last `dims` axes."""
    cdef call c
    check_float(x, "layer_norm", "x")
    layer_norm_check(x, weight, dims, "weight")
    layer_norm_check(x, bias, dims, "bias")
    cdef Array stats = layer_norm_geometry(&c, x, dims), y = new_like(x, x.dt)
    begin(&c, layer_norm_fwd_call, "layer_norm", x.dt)
    put3(&c, y, stats, x)
    put2(&c, weight, bias)
    c.d[0] = eps
    if x.size:
        run(&c)
    return y, stats


cdef int layer_norm_bwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).layer_norm_bwd(c.p[0], c.p[1], c.p[2], c.p[3], c.p[4],
                                                <double *>c.p[5], c.p[6], c.n[0], c.n[1])


def layer_norm_bwd(Array dy, Array x, Array stats, int dims, Array weight,
                   bint need_dx, bint need_dw, bint need_db):
    """(dx, dw, db), each None where not needed."""
    cdef call c
    check_same_dtype(dy, x, "layer_norm", "gradient", "x")
    check_same_shape(dy, x, "layer_norm", "gradient", "x")
    layer_norm_geometry(&c, x, dims)
    cdef Array dx = new_like(x, x.dt) if need_dx else None
    cdef Array dw = new_array(x.dt, dims, x.dims + x.ndim - dims) if need_dw else None
    cdef Array db = new_array(x.dt, dims, x.dims + x.ndim - dims) if need_db else None
    begin(&c, layer_norm_bwd_call, "layer_norm", x.dt, True)
    put3(&c, dx, dw, db)
    put2(&c, dy, x)
    put2(&c, stats, weight)
    run(&c)
    return dx, dw, db

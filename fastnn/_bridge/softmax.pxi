# Softmax and the losses that take labels.

cdef int rows_of(Array x, str op, Py_ssize_t *n) except -1:
    """Fills n with (rows, classes)."""
    check_float(x, op, "x")
    if x.ndim < 1:
        raise ValueError(f"{op}: x must have at least one dimension")
    n[1] = x.dims[x.ndim - 1]
    n[0] = x.size // n[1] if n[1] else 0
    return 0


cdef int softmax_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).softmax_fwd(c.p[0], c.p[1], c.n[0], c.n[1])


cdef int log_softmax_fwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).log_softmax_fwd(c.p[0], c.p[1], c.n[0], c.n[1])


def softmax_fwd(Array x, bint log):
    """softmax or log-softmax over the last axis."""
    cdef call c
    cdef str op = "log_softmax" if log else "softmax"
    begin(&c, log_softmax_fwd_call if log else softmax_fwd_call, op, x.dt)
    rows_of(x, op, c.n)
    cdef Array y = new_like(x, x.dt)
    put2(&c, y, x)
    run(&c)
    return y


cdef int softmax_bwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).softmax_bwd(c.p[0], c.p[1], c.p[2], c.n[0], c.n[1])


cdef int log_softmax_bwd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).log_softmax_bwd(c.p[0], c.p[1], c.p[2], c.n[0], c.n[1])


def softmax_bwd(Array dy, Array y, bint log):
    """dx."""
    cdef call c
    cdef str op = "log_softmax" if log else "softmax"
    begin(&c, log_softmax_bwd_call if log else softmax_bwd_call, op, y.dt, True)
    rows_of(y, op, c.n)
    check_same_dtype(dy, y, op, "gradient", "output")
    check_same_shape(dy, y, op, "gradient", "output")
    cdef Array dx = new_like(y, y.dt)
    put3(&c, dx, dy, y)
    run(&c)
    return dx


def is_class_weight(Array w):
    """Whether all elements are finite and not negative."""
    cdef Py_ssize_t i
    cdef double value
    check_float(w, "loss", "weight")
    for i in range(w.size):
        value = (<float *>w.data)[i] if w.dt == DT_F32 else (<double *>w.data)[i]
        if not 0.0 <= value < INFINITY:
            return False
    return True


cdef int check_labels_call(call *c) noexcept nogil:
    cdef int64_t *label = <int64_t *>c.p[0]
    cdef Py_ssize_t i
    for i in range(c.n[0]):
        if label[i] < 0 or label[i] >= c.n[1]:
            return BAD_LABEL
    return FNN_OK


cdef int check_labels(str op, Array x, Array label, Array weight, Py_ssize_t *n) except -1:
    """x (N, C), label (N) int64 in [0, C), weight (C) or None; fills n with (N, C)."""
    cdef call c
    check_float(x, op, "x")
    if x.ndim != 2:
        raise ValueError(f"{op}: x must be (N, classes), got shape {x.shape}")
    n[0] = x.dims[0]
    n[1] = x.dims[1]
    if n[0] == 0 or n[1] == 0:
        raise ValueError(f"{op}: the batch is empty (x has shape {x.shape})")
    if label.dt != DT_I64:
        raise TypeError(f"{op}: target must be int64 labels, got {label.dtype}")
    if label.ndim != 1 or label.dims[0] != n[0]:
        raise ValueError(f"{op}: target must have shape ({n[0]},), got {label.shape}")
    if weight is not None:
        check_same_dtype(x, weight, op, "x", "weight")
        if weight.ndim != 1 or weight.dims[0] != n[1]:
            raise ValueError(f"{op}: weight must have shape ({n[1]},), got {weight.shape}")
    begin(&c, check_labels_call, op, x.dt)
    put(&c, label)
    c.n[0] = n[0]
    c.n[1] = n[1]
    return run(&c)


@cython.cdivision(True)  # a mean with weights that are all 0 is NaN, as in PyTorch
cdef int total_loss_call(call *c) noexcept nogil:
    """total = sum of the rows' losses, divided by the sum of their norms, or by d[0]."""
    cdef int status = fnn_kernels_for(c.dt).sum(c.p[0], c.p[2], 1, c.n[0], 1)
    cdef double divisor = c.d[0]
    if c.p[3] != NULL:
        status |= fnn_kernels_for(c.dt).sum(c.p[1], c.p[3], 1, c.n[0], 1)
        divisor = (<float *>c.p[1])[0] if c.dt == DT_F32 else (<double *>c.p[1])[0]
    if c.dt == DT_F32:
        (<float *>c.p[0])[0] = <float>((<float *>c.p[0])[0] / divisor)
    else:
        (<double *>c.p[0])[0] = (<double *>c.p[0])[0] / divisor
    return status


cdef tuple reduce_rows(str name, Array loss, Array norm, Array dx, str reduction):
    """(reduced loss, dx, what it was divided by: a number, or an Array where norm is given)."""
    cdef call c
    cdef Array total, weights = None
    cdef double divisor = <double>loss.size if reduction == "mean" else 1.0
    if reduction == "none":
        return loss, dx, divisor
    if reduction == "sum":
        norm = None
    if norm is not None:
        weights = new_array(loss.dt, 0, NULL)
    total = new_array(loss.dt, 0, NULL)
    begin(&c, total_loss_call, name, loss.dt)
    put3(&c, total, weights, loss)
    put(&c, norm)
    c.n[0] = loss.size
    c.d[0] = divisor
    run(&c)
    return total, dx, divisor if weights is None else weights


cdef int cross_entropy_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).cross_entropy(
        c.p[0], c.p[1], c.p[2], c.p[3], <int64_t *>c.p[4], c.p[5], c.d[0], c.n[0], c.n[1])


def cross_entropy(Array x, Array label, object weight, double smoothing, bint need_grad,
                  str reduction):
    """(loss, gradient of the sum of losses or None, what the sum was divided by)."""
    cdef call c
    cdef Array w = weight
    check_labels("cross_entropy", x, label, w, c.n)
    cdef Array loss = new_array(x.dt, 1, x.dims)
    cdef Array norm = new_array(x.dt, 1, x.dims) if w is not None else None
    cdef Array dx = new_like(x, x.dt) if need_grad else None
    begin(&c, cross_entropy_call, "cross_entropy", x.dt)
    put3(&c, loss, norm, dx)
    put3(&c, x, label, w)
    c.d[0] = smoothing
    run(&c)
    return reduce_rows("cross_entropy", loss, norm, dx, reduction)


cdef int multi_margin_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).multi_margin(
        c.p[0], c.p[1], c.p[2], <int64_t *>c.p[3], c.p[4], c.d[0], c.d[1], c.n[0], c.n[1])


def multi_margin(Array x, Array label, object weight, double p, double margin, bint need_grad,
                 str reduction):
    """(loss, gradient of the sum of losses or None, what the sum was divided by)."""
    cdef call c
    cdef Array w = weight
    check_labels("multi_margin_loss", x, label, w, c.n)
    cdef Array loss = new_array(x.dt, 1, x.dims)
    cdef Array dx = new_like(x, x.dt) if need_grad else None
    begin(&c, multi_margin_call, "multi_margin_loss", x.dt)
    put3(&c, loss, dx, x)
    put2(&c, label, w)
    c.d[0] = p
    c.d[1] = margin
    run(&c)
    return reduce_rows("multi_margin_loss", loss, None, dx, reduction)


cdef int scale_rows_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).scale_rows(c.p[0], c.p[1], c.p[2], c.n[2], c.n[0], c.n[1])


def scale_rows(Array x, Array s):
    """x with row r (of the last axis) multiplied by s[r], or by s[0] where s has one element."""
    cdef call c
    rows_of(x, "scale_rows", c.n)
    check_same_dtype(x, s, "scale_rows", "x", "s")
    if s.size != 1 and s.size != c.n[0]:
        raise ValueError(f"scale_rows: s has {s.size} elements, x has {c.n[0]} rows")
    cdef Array y = new_like(x, x.dt)
    begin(&c, scale_rows_call, "scale_rows", x.dt)
    put3(&c, y, x, s)
    c.n[2] = 1 if s.size == c.n[0] else 0
    run(&c)
    return y


@cython.cdivision(True)
cdef int loss_bwd_call(call *c) noexcept nogil:
    cdef double divisor = c.d[0], factor
    cdef float factor32
    cdef Py_ssize_t one = 1, zero = 0
    if c.p[3] != NULL:
        divisor = (<float *>c.p[3])[0] if c.dt == DT_F32 else (<double *>c.p[3])[0]
    factor = (<float *>c.p[2])[0] if c.dt == DT_F32 else (<double *>c.p[2])[0]
    factor = factor / divisor if divisor else NAN
    factor32 = <float>factor
    fnn_binary(c.dt, <int>c.n[1], c.p[0], c.p[1],
               <void *>&factor32 if c.dt == DT_F32 else <void *>&factor, 1, &c.n[0], &one, &zero)
    return FNN_OK


def loss_bwd(Array dx, Array dy, object divisor):
    """dx dy / divisor: a number, or the Array of one that the loss gave."""
    cdef call c
    check_same_dtype(dx, dy, "loss", "dx", "gradient")
    cdef Array out = new_like(dx, dx.dt)
    begin(&c, loss_bwd_call, "loss", dx.dt, True)
    put3(&c, out, dx, dy)
    if type(divisor) is Array:
        put(&c, divisor)
    else:
        put(&c, None)
        c.d[0] = divisor
    c.n[0] = dx.size
    c.n[1] = BINARY["mul"]
    run(&c)
    return out

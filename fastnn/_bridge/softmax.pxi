# Softmax and the losses that take labels.

cdef int rows_of(Array x, str op, Py_ssize_t *rows, Py_ssize_t *c) except -1:
    check_float(x, op, "x")
    if x.ndim < 1:
        raise ValueError(f"{op}: x must have at least one dimension")
    c[0] = x.dims[x.ndim - 1]
    rows[0] = x.size // c[0] if c[0] else 0
    return 0


def softmax_fwd(Array x, bint log):
    """softmax or log-softmax over the last axis."""
    cdef Py_ssize_t rows, c
    rows_of(x, "log_softmax" if log else "softmax", &rows, &c)
    cdef Array y = new_like(x, x.dt)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status
    with nogil:
        if log:
            status = k.log_softmax_fwd(y.data, x.data, rows, c)
        else:
            status = k.softmax_fwd(y.data, x.data, rows, c)
    check_status(status)
    return y


def softmax_bwd(Array dy, Array y, bint log):
    """dx."""
    cdef Py_ssize_t rows, c
    cdef str op = "log_softmax" if log else "softmax"
    rows_of(y, op, &rows, &c)
    check_same_dtype(dy, y, op, "gradient", "output")
    check_same_shape(dy, y, op, "gradient", "output")
    cdef Array dx = new_like(y, y.dt)
    cdef const fnn_kernels *k = fnn_kernels_for(y.dt)
    cdef int status
    with nogil:
        if log:
            status = k.log_softmax_bwd(dx.data, dy.data, y.data, rows, c)
        else:
            status = k.softmax_bwd(dx.data, dy.data, y.data, rows, c)
    check_status(status)
    return dx


cdef int check_labels(str op, Array x, Array label, Array weight, Py_ssize_t *rows,
                      Py_ssize_t *c) except -1:
    """x (N, C), label (N) int64 in [0, C), weight (C) or None."""
    cdef Py_ssize_t i
    check_float(x, op, "x")
    if x.ndim != 2:
        raise ValueError(f"{op}: x must be (N, classes), got shape {x.shape}")
    rows[0] = x.dims[0]
    c[0] = x.dims[1]
    if rows[0] == 0 or c[0] == 0:
        raise ValueError(f"{op}: the batch is empty (x has shape {x.shape})")
    if label.dt != DT_I64:
        raise TypeError(f"{op}: target must be int64 labels, got {label.dtype}")
    if label.ndim != 1 or label.dims[0] != rows[0]:
        raise ValueError(f"{op}: target must have shape ({rows[0]},), got {label.shape}")
    if weight is not None:
        check_same_dtype(x, weight, op, "x", "weight")
        if weight.ndim != 1 or weight.dims[0] != c[0]:
            raise ValueError(f"{op}: weight must have shape ({c[0]},), got {weight.shape}")
    cdef int64_t *p = <int64_t *>label.data
    for i in range(rows[0]):
        if p[i] < 0 or p[i] >= c[0]:
            raise ValueError(
                f"{op}: label {p[i]} at index {i} is out of range for {c[0]} classes"
            )
    return 0


@cython.cdivision(True)  # a mean with weights that are all 0 is NaN, as in PyTorch
cdef tuple reduce_rows(Array loss, Array norm, Array dx, Py_ssize_t rows, str reduction):
    """(reduced loss, dx, what it was divided by); norm: what a weighted mean divides by, or None."""
    cdef double divisor = 1.0
    if reduction == "none":
        return loss, dx, divisor
    cdef Array total = new_array(loss.dt, 0, NULL), weights
    cdef const fnn_kernels *k = fnn_kernels_for(loss.dt)
    check_status(k.sum(total.data, loss.data, 1, rows, 1))
    if reduction == "mean":
        divisor = <double>rows
        if norm is not None:
            weights = new_array(loss.dt, 0, NULL)
            check_status(k.sum(weights.data, norm.data, 1, rows, 1))
            divisor = weights.item()
        if loss.dt == DT_F32:
            (<float *>total.data)[0] = <float>((<float *>total.data)[0] / divisor)
        else:
            (<double *>total.data)[0] = (<double *>total.data)[0] / divisor
    return total, dx, divisor


def cross_entropy(Array x, Array label, object weight, double smoothing, bint need_grad,
                  str reduction):
    """(loss, gradient of the sum of losses or None, what the sum was divided by)."""
    cdef Py_ssize_t rows, c
    cdef Array w = weight
    check_labels("cross_entropy", x, label, w, &rows, &c)
    cdef Array loss = new_array(x.dt, 1, x.dims)
    cdef Array norm = new_array(x.dt, 1, x.dims) if w is not None else None
    cdef Array dx = new_like(x, x.dt) if need_grad else None
    cdef void *wp = w.data if w is not None else NULL
    cdef void *normp = norm.data if w is not None else NULL
    cdef void *dxp = dx.data if need_grad else NULL
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status
    with nogil:
        status = k.cross_entropy(loss.data, normp, dxp, x.data, <int64_t *>label.data, wp,
                                 smoothing, rows, c)
    check_status(status)
    return reduce_rows(loss, norm, dx, rows, reduction)


def multi_margin(Array x, Array label, object weight, double p, double margin, bint need_grad,
                 str reduction):
    """(loss, gradient of the sum of losses or None, what the sum was divided by)."""
    cdef Py_ssize_t rows, c
    cdef Array w = weight
    check_labels("multi_margin_loss", x, label, w, &rows, &c)
    cdef Array loss = new_array(x.dt, 1, x.dims)
    cdef Array dx = new_like(x, x.dt) if need_grad else None
    cdef void *wp = w.data if w is not None else NULL
    cdef void *dxp = dx.data if need_grad else NULL
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef int status
    with nogil:
        status = k.multi_margin(loss.data, dxp, x.data, <int64_t *>label.data, wp, p, margin, rows, c)
    check_status(status)
    return reduce_rows(loss, None, dx, rows, reduction)


def scale_rows(Array x, Array s):
    """x with row r (of the last axis) multiplied by s[r], or by s[0] where s has one element."""
    cdef Py_ssize_t rows, c
    rows_of(x, "scale_rows", &rows, &c)
    check_same_dtype(x, s, "scale_rows", "x", "s")
    if s.size != 1 and s.size != rows:
        raise ValueError(f"scale_rows: s has {s.size} elements, x has {rows} rows")
    cdef Array y = new_like(x, x.dt)
    cdef const fnn_kernels *k = fnn_kernels_for(x.dt)
    cdef Py_ssize_t step = 1 if s.size == rows else 0
    cdef int status
    with nogil:
        status = k.scale_rows(y.data, x.data, s.data, step, rows, c)
    check_status(status)
    return y

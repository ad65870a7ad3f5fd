# Matrix products.

cdef int run_gemm(int dt, void *c, const void *a, const void *b, const void *bias, ptrdiff_t m,
                  ptrdiff_t n, ptrdiff_t k, bint ta, bint tb, int act, double p0, double p1) noexcept nogil:
    """c[m,n] = act(op(a) op(b) + bias) on dense matrices."""
    cdef fnn_gemm g
    g.c = c
    g.a = a
    g.b = b
    g.bias = bias
    g.m = m
    g.n = n
    g.k = k
    g.lda = m if ta else k
    g.ldb = k if tb else n
    g.ldc = n
    g.trans_a = ta
    g.trans_b = tb
    g.accumulate = 0
    g.act.unary = act
    g.act.p[0] = p0
    g.act.p[1] = p1
    return fnn_kernels_for(dt).gemm(&g)


def matmul(Array a, Array b, bint ta=False, bint tb=False):
    """op(a) op(b) over the last two dimensions; the leading ones must be equal, or absent in b."""
    cdef int i, na = a.ndim, nb = b.ndim
    check_float(a, "matmul", "a")
    check_same_dtype(a, b, "matmul", "a", "b")
    if na < 2 or nb < 2 or (nb != 2 and nb != na):
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not multiply")
    cdef Py_ssize_t m = a.dims[na - 1 if ta else na - 2], k = a.dims[na - 2 if ta else na - 1]
    cdef Py_ssize_t kb = b.dims[nb - 1 if tb else nb - 2], n = b.dims[nb - 2 if tb else nb - 1]
    cdef Py_ssize_t batch = 1
    cdef Py_ssize_t dims[8]
    for i in range(na - 2):
        if nb > 2 and a.dims[i] != b.dims[i]:
            raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not multiply")
        batch *= a.dims[i]
        dims[i] = a.dims[i]
    if k != kb:
        raise ValueError(f"matmul: a has {k} columns, b has {kb} rows")
    dims[na - 2] = m
    dims[na - 1] = n
    cdef Array c = new_array(a.dt, na, dims)
    cdef Py_ssize_t item = ITEM[a.dt], j, step_b = k * n * item if nb > 2 else 0
    cdef int status = 0
    if nb == 2 and not ta:
        m *= batch
        batch = 1 if batch else 0
    with nogil:
        for j in range(batch):
            if status == 0:
                status = run_gemm(a.dt, c.data + j * m * n * item, a.data + j * m * k * item,
                                  b.data + j * step_b, NULL, m, n, k, ta, tb, -1, 0, 0)
    check_status(status)
    return c


def linear_fwd(Array x, Array w, object bias, int act=-1, double p0=0.0, double p1=0.0):
    """y = act(x w^T + bias); x (..., in), w (out, in), bias (out) or None."""
    cdef Array b = None
    cdef Py_ssize_t dims[8]
    cdef int i
    if x.dt > DT_F64 or x.dt != w.dt:
        check_float(x, "linear", "x")
        check_same_dtype(x, w, "linear", "x", "weight")
    if w.ndim != 2:
        raise ValueError(f"linear: weight must be (out_features, in_features), got shape {w.shape}")
    if x.ndim < 1 or x.dims[x.ndim - 1] != w.dims[1]:
        raise ValueError(
            f"linear: weight has {w.dims[1]} input features, x has "
            f"{x.dims[x.ndim - 1] if x.ndim else 0} (shape {x.shape})"
        )
    if bias is not None:
        b = bias
        check_same_dtype(x, b, "linear", "x", "bias")
        if b.ndim != 1 or b.dims[0] != w.dims[0]:
            raise ValueError(f"linear: bias must have shape ({w.dims[0]},), got {b.shape}")
    for i in range(x.ndim):
        dims[i] = x.dims[i]
    dims[x.ndim - 1] = w.dims[0]
    cdef Array y = new_array(x.dt, x.ndim, dims)
    cdef Py_ssize_t n = w.dims[0], k = w.dims[1], rows = 1
    for i in range(x.ndim - 1):
        rows *= x.dims[i]
    cdef void *bp = b.data if b is not None else NULL
    cdef int status
    with nogil:
        status = run_gemm(x.dt, y.data, x.data, w.data, bp, rows, n, k, False, True, act, p0, p1)
    check_status(status)
    return y


def linear_bwd(Array dy, Array x, Array w, object y, int act, double p0, double p1,
               bint need_dx, bint need_dw, bint need_db):
    """(dx, dw, db), each None where not needed; y is the output of a fused activation or None."""
    cdef Py_ssize_t n = w.dims[0], k = w.dims[1], rows = 1
    cdef int i, status = 0
    cdef Array dx = None, dw = None, db = None
    check_same_dtype(dy, x, "linear", "gradient", "x")
    if dy.ndim != x.ndim or dy.dims[dy.ndim - 1] != n:
        raise ValueError(f"linear: gradient has shape {dy.shape}, the output does not")
    if act >= 0:
        dy = unary_bwd(act, dy, y, p0, p1)
    for i in range(x.ndim - 1):
        rows *= x.dims[i]
    if need_dx:
        dx = new_like(x, x.dt)
    if need_dw:
        dw = new_like(w, w.dt)
    if need_db:
        db = new_array(w.dt, 1, w.dims)
    with nogil:
        if need_dx:
            status |= run_gemm(dy.dt, dx.data, dy.data, w.data, NULL, rows, k, n, False, False, -1, 0, 0)
        if need_dw:
            status |= run_gemm(dy.dt, dw.data, dy.data, x.data, NULL, n, k, rows, True, False, -1, 0, 0)
        if need_db:
            status |= fnn_kernels_for(dy.dt).sum(db.data, dy.data, 1, rows, n)
    check_status(status)
    return dx, dw, db

# Matrix products.

cdef int gemm_call(call *c) noexcept nogil:
    """c[m,n] = act(op(a) op(b) + bias) on dense matrices; n[4] such products, b moves by n[5]."""
    cdef fnn_gemm g
    cdef Py_ssize_t item = 4 if c.dt == DT_F32 else 8, i
    g.bias = c.p[3]
    g.m, g.n, g.k = c.n[0], c.n[1], c.n[2]
    g.trans_a = c.n[3] & 1
    g.trans_b = c.n[3] >> 1
    g.lda = g.m if g.trans_a else g.k
    g.ldb = g.k if g.trans_b else g.n
    g.ldc = g.n
    g.accumulate = 0
    g.act = c.g.act
    cdef char *b = <char *>c.p[2]
    if c.packed != NULL:  # b transposed
        b = <char *>c.packed
        g.trans_b = 0
        g.ldb = g.n
    cdef int status = FNN_OK
    for i in range(c.n[4]):
        g.c = <char *>c.p[0] + i * g.m * g.n * item
        g.a = <char *>c.p[1] + i * g.m * g.k * item
        g.b = b + i * c.n[5] * item
        if status == FNN_OK:
            status = fnn_kernels_for(c.dt).gemm(&g)
    return status


cdef inline void gemm_sizes(call *c, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, bint ta, bint tb,
                            Py_ssize_t batch=1, Py_ssize_t step_b=0) noexcept:
    """Of `batch` products of m by k and k by n matrices; without bias and activation."""
    c.n[0] = m
    c.n[1] = n
    c.n[2] = k
    c.n[3] = ta | tb << 1
    c.n[4] = batch
    c.n[5] = step_b
    c.flops = 2.0 * batch * m * n * k
    c.g.act.unary = -1


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
    cdef call call_
    cdef Py_ssize_t step_b = k * n if nb > 2 else 0
    if nb == 2 and not ta:
        m *= batch
        batch = 1 if batch else 0
    begin(&call_, gemm_call, "matmul", a.dt)
    put2(&call_, c, a)
    put2(&call_, b, None)
    gemm_sizes(&call_, m, n, k, ta, tb, batch, step_b)
    run(&call_)
    return c


def linear_fwd(Array x, Array w, object bias, int act=-1, double p0=0.0, double p1=0.0):
    """y = act(x w^T + bias); x (..., in), w (out, in), bias (out) or None."""
    cdef call c
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
    begin(&c, gemm_call, "linear", x.dt)
    put2(&c, y, x)
    put2(&c, w, b)
    gemm_sizes(&c, rows, n, k, False, True)
    c.g.act.unary = act
    c.g.act.p[0] = p0
    c.g.act.p[1] = p1
    run(&c)
    return y


def linear_bwd(Array dy, Array x, Array w, object y, int act, double p0, double p1,
               bint need_dx, bint need_dw, bint need_db):
    """(dx, dw, db), each None where not needed; y is the output of a fused activation or None."""
    cdef Py_ssize_t n = w.dims[0], k = w.dims[1], rows = 1
    cdef call c
    cdef int i
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
        begin(&c, gemm_call, "linear data", x.dt, True)
        put2(&c, dx, dy)
        put2(&c, w, None)
        gemm_sizes(&c, rows, k, n, False, False)
        run(&c)
    if need_dw:
        dw = new_like(w, w.dt)
        begin(&c, gemm_call, "linear weights", x.dt, True)
        put2(&c, dw, dy)
        put2(&c, x, None)
        gemm_sizes(&c, n, k, rows, True, False)
        run(&c)
    if need_db:
        db = new_array(w.dt, 1, w.dims)
        begin(&c, sum_call, "linear bias", x.dt, True)
        put2(&c, db, dy)
        c.n[0] = 1
        c.n[1] = rows
        c.n[2] = n
        run(&c)
    return dx, dw, db

# Update rules over many tensors at once.
from libc.stdlib cimport calloc

# In the order of csrc/fastnn.h.
cdef tuple UPDATE_NAMES = (
    "SGD", "Adam", "NAdam", "RMSprop", "Adagrad", "Adadelta", "lerp", "scale", "clamp"
)


@cython.final
cdef class UpdateRule:
    """A rule of csrc/kernels/optim.inc with its numbers, checked by the caller.

    arrays names the arrays of its state in the kernel's order (None: not used), which begin as
    `start`; counts names its numbers in double precision and where they begin.
    """
    cdef fnn_rule c
    cdef readonly tuple arrays
    cdef readonly dict counts
    cdef readonly double start

    def __init__(self, str rule, tuple arrays, dict counts, *, double lr, bint maximize=False,
                 bint nesterov=False, double l1=0, double l2=0, double decay=1, double eps=0,
                 double beta1=0, double beta2=0, double extra=0, double start=0):
        self.arrays, self.counts, self.start = arrays, counts, start
        self.c.rule = UPDATE_NAMES.index(rule)
        self.c.maximize, self.c.nesterov = maximize, nesterov
        self.c.lr, self.c.l1, self.c.l2, self.c.decay, self.c.eps = lr, l1, l2, decay, eps
        self.c.beta1, self.c.beta2, self.c.extra = beta1, beta2, extra


cdef Array state_entry(str op, str name, dict own, bint *made, object make, Array like,
                       double start):
    """The array own[name]; if there is none it is made, like another or one float64 number."""
    entry = own.get(name)
    made[0] = entry is None
    if entry is None:
        if like is None:
            entry = make(full((), "float64", start))
        else:
            entry = make(full(like.shape, like.dtype, start))
        own[name] = entry
    elif not isinstance(entry, TensorBase):
        raise TypeError(f"{op}: state {name!r} must be a Tensor, got {type(entry).__name__}")
    cdef Array a = (<TensorBase>entry)._array
    if a.readonly:
        raise ValueError(f"{op}: state {name!r} is read-only")
    return a


def update(str op, UpdateRule rule, list params, dict state, object make):
    """One step in place of all parameters that have a gradient, in one call for each dtype.

    state maps a parameter to the dict of its state; what is missing is made with make(array).
    """
    cdef Py_ssize_t n = 0, low = 0, high
    cdef TensorBase p
    cdef Array a, g, s
    cdef dict own
    cdef list held = []  # while the GIL is dropped, whatever other threads do to the tensors
    cdef int i
    cdef bint made
    cdef fnn_param *row
    for p in params:
        if p.grad is None:
            continue
        if not isinstance(p.grad, TensorBase):
            raise TypeError(f"{op}: .grad must be a Tensor, got {type(p.grad).__name__}")
        a, g = p._array, (<TensorBase>p.grad)._array
        check_float(a, op, "parameter")
        check_same_dtype(a, g, op, "parameter", "gradient")
        check_same_shape(a, g, op, "parameter", "gradient")
        if a.readonly:
            raise ValueError(f"{op}: a parameter is read-only")
        n += 1
    if n == 0:
        return
    cdef fnn_param *rows = <fnn_param *>calloc(n, sizeof(fnn_param))
    if rows == NULL:
        raise MemoryError("fastnn: out of memory")
    high = n
    try:
        for p in params:  # float32 from the front, float64 from the back
            if p.grad is None:
                continue
            a, g = p._array, (<TensorBase>p.grad)._array
            held.append(a)
            held.append(g)
            if a.dt == DT_F32:
                row = &rows[low]
                low += 1
            else:
                high -= 1
                row = &rows[high]
            row.param, row.grad, row.n = a.data, g.data, a.size
            if not rule.arrays:
                continue
            own = state.get(p)
            if own is None:
                own = state[p] = {}
            for i, name in enumerate(rule.arrays):
                if name is None:
                    continue
                s = state_entry(op, name, own, &made, make, a, rule.start)
                check_same_dtype(a, s, op, "parameter", name)
                check_same_shape(a, s, op, "parameter", name)
                held.append(s)
                row.state[i] = s.data
                row.first = made
            i = 0
            for name, first in rule.counts.items():
                s = state_entry(op, name, own, &made, make, None, first)
                if s.dt != DT_F64 or s.size != 1:
                    raise ValueError(f"{op}: state {name!r} must be one float64 number")
                held.append(s)
                row.count[i] = <double *>s.data
                i += 1
        run_rule(&rule.c, rows, low, n)
        for p in params:
            if p.grad is not None:
                mark_written(p._array)
    finally:
        free(rows)


cdef int update_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).update(<const fnn_rule *>c.p[0], <fnn_param *>c.p[1], c.n[0])


cdef int grad_norm_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).grad_norm(<double *>c.p[0], <fnn_param *>c.p[1], c.n[0], c.d[0])


cdef int max_norm_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).max_norm(c.p[0], c.n[0], c.n[1], c.d[0])


cdef int run_rows(thunk kernel, str name, int dt, const void *head, fnn_param *rows, Py_ssize_t n,
                  double number=0.0) except -1:
    """A call for n rows of one dtype. It has no Arrays, so that no plan keeps it."""
    cdef call c
    cdef Py_ssize_t i, j
    begin(&c, kernel, name, dt)
    for i in range(n):
        c.nbytes += 2 * rows[i].n * ITEM[dt]
        for j in range(3):
            if rows[i].state[j] != NULL:
                c.nbytes += rows[i].n * ITEM[dt]
    c.p[0], c.p[1], c.n[0], c.d[0] = <void *>head, rows, n, number
    return run(&c)


cdef int run_rule(const fnn_rule *rule, fnn_param *rows, Py_ssize_t low, Py_ssize_t n) except -1:
    """The rule for rows [0, low) in float32 and rows [low, n) in float64."""
    cdef str name = <str>UPDATE_NAMES[rule.rule]
    if low:
        run_rows(update_call, name, DT_F32, rule, rows, low)
    if n > low:
        run_rows(update_call, name, DT_F64, rule, rows + low, n - low)
    return 0


cdef fnn_param *float_rows(str op, list arrays, list others, Py_ssize_t *low) except NULL:
    """A row for each array, those of float32 first; others take the place of gradients."""
    cdef Py_ssize_t n = len(arrays), high = n, i, at
    cdef Array a, b
    cdef fnn_param *rows = <fnn_param *>calloc(n + 1, sizeof(fnn_param))
    if rows == NULL:
        raise MemoryError("fastnn: out of memory")
    low[0] = 0
    try:
        for i in range(n):
            a, b = arrays[i], others[i]
            check_float(a, op, "a tensor")
            check_same_dtype(a, b, op, "a tensor", "the other")
            check_same_shape(a, b, op, "a tensor", "the other")
            if a.dt == DT_F32:
                at = low[0]
                low[0] += 1
            else:
                high -= 1
                at = high
            rows[at].param, rows[at].grad, rows[at].n = a.data, b.data, a.size
    except:
        free(rows)
        raise
    return rows


def apply_rule(str op, str name, double number, list arrays, list others=None):
    """The rules lerp, scale and clamp, in place: number is the weight, the factor, the bound."""
    cdef fnn_rule rule
    cdef Array a
    cdef Py_ssize_t low
    for a in arrays:
        if a.readonly:
            raise ValueError(f"{op}: a tensor is read-only")
    memset(&rule, 0, sizeof(rule))
    rule.rule, rule.lr, rule.decay = UPDATE_NAMES.index(name), number, 1
    cdef fnn_param *rows = float_rows(op, arrays, arrays if others is None else others, &low)
    try:
        run_rule(&rule, rows, low, len(arrays))
    finally:
        free(rows)
    for a in arrays:
        mark_written(a)


def grad_norm(str op, list arrays, double p):
    """The p-norms of all float32 arrays together, and of all float64 arrays."""
    cdef double norms[2]
    cdef Py_ssize_t low, n = len(arrays)
    cdef fnn_param *rows = float_rows(op, arrays, arrays, &low)
    try:
        run_rows(grad_norm_call, "grad_norm", DT_F32, &norms[0], rows, low, p)
        run_rows(grad_norm_call, "grad_norm", DT_F64, &norms[1], rows + low, n - low, p)
    finally:
        free(rows)
    return norms[0], norms[1]


def max_norm(Array x, double limit):
    """Scales slices x[i] longer than limit to that length."""
    cdef call c
    check_float(x, "max_norm_", "a parameter")
    if x.readonly:
        raise ValueError("max_norm_: a parameter is read-only")
    begin(&c, max_norm_call, "max_norm_", x.dt)
    put(&c, x)
    c.n[0] = x.dims[0] if x.ndim else 1
    c.n[1] = x.size // c.n[0] if c.n[0] else 0
    c.d[0] = limit
    run(&c)
    mark_written(x)

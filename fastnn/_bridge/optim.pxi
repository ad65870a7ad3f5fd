# Optimizer steps over many tensors at once.
from libc.stdlib cimport free, malloc


cdef int sgd_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).sgd(<fnn_param *>c.p[0], c.n[0], c.d[0], c.d[1], c.d[2], c.d[3],
                                     <int>c.n[1], <int>c.n[2])


def sgd(list params, list grads, list state, double lr, double momentum, double dampening,
        double weight_decay, bint nesterov, bint first):
    """One step of SGD in place; state holds the momentum buffers (empty where momentum is 0)."""
    cdef Py_ssize_t i, n = len(params)
    cdef Array p, g, s
    cdef int dt = 0
    cdef call c
    if len(grads) != n or (momentum != 0 and len(state) != n):
        raise ValueError(f"sgd: {n} parameters, {len(grads)} gradients, {len(state)} buffers")
    if n == 0:
        return
    cdef fnn_param *rows = <fnn_param *>malloc(n * sizeof(fnn_param))
    if rows == NULL:
        raise MemoryError("fastnn: out of memory")
    try:
        for i in range(n):
            p = params[i]
            g = grads[i]
            if i == 0:
                dt = p.dt
            check_float(p, "sgd", "parameter")
            if p.dt != dt:
                raise TypeError("sgd: one call takes one dtype")
            check_same_dtype(p, g, "sgd", "parameter", "gradient")
            check_same_shape(p, g, "sgd", "parameter", "gradient")
            if p.readonly:
                raise ValueError("sgd: a parameter is read-only")
            rows[i].param = p.data
            rows[i].grad = g.data
            rows[i].state = NULL
            rows[i].n = p.size
            if momentum != 0:
                s = state[i]
                check_same_dtype(p, s, "sgd", "parameter", "momentum buffer")
                check_same_shape(p, s, "sgd", "parameter", "momentum buffer")
                if s.readonly:
                    raise ValueError("sgd: a momentum buffer is read-only")
                rows[i].state = s.data
        begin(&c, sgd_call, "sgd", dt)
        c.p[0] = rows
        c.n[0] = n
        c.n[1] = nesterov
        c.n[2] = first
        c.d[0] = lr
        c.d[1] = momentum
        c.d[2] = dampening
        c.d[3] = weight_decay
        run(&c)
        for p in params:
            mark_written(p)
    finally:
        free(rows)

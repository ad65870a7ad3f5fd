# Statistics of an array, for those who watch a training: csrc/kernels/stats.inc.

cdef int stats_call(call *c) noexcept nogil:
    return fnn_kernels_for(c.dt).stats(<double *>c.p[0], <uint8_t *>c.p[1], c.p[2], c.n[0], c.n[1],
                                       c.n[2], c.d)


def stats(Array x, Py_ssize_t bins=0, double start=0.0, double end=1.0, double low=NAN,
          double high=NAN, bint fired=False):
    """(figures, fired): as stats.inc describes them; fired by the last axis, or None."""
    cdef call c
    check_float(x, "stats", "x")
    if not 0 <= bins <= 128:
        raise ValueError(f"stats: bins must be 0 to 128, got {bins}")
    if bins and not (end - start > 0.0 and (end - start) - (end - start) == 0.0):
        raise ValueError(f"stats: end must be above start, both finite, got {start} and {end}")
    cdef Py_ssize_t columns = x.dims[x.ndim - 1] if x.ndim else 1
    cdef Py_ssize_t size = 9 + bins
    cdef Array out = new_array(DT_F64, 1, &size), flags = None
    if fired:
        flags = new_array(DT_BOOL, 1, &columns)
    begin(&c, stats_call, "stats", x.dt)
    put3(&c, out, flags, x)
    c.n[0], c.n[1], c.n[2] = x.size, columns, bins
    c.d[0], c.d[1], c.d[2], c.d[3] = start, end, low, high
    run(&c)
    return out, flags


cdef class Anomaly:
    """Looks at what each call of a thread computes from other arrays, once it is attached.

    found(op, backward, layer, result, inputs) is called for a result with NaN or infinity, and
    raises what it likes.
    """
    cdef object found

    def __init__(self, found):
        self.found = found

    cdef int check(self, call *c, str layer) except -1:
        cdef call look
        cdef double figures[9]
        cdef Array a
        cdef int i
        if c.arrays < 2 or c.p[0] == NULL or c.kernel == stats_call:
            return 0
        a = <Array>c.owner[0]
        if a.dt > DT_F64:
            return 0
        begin(&look, stats_call, "stats", a.dt)
        look.p[0], look.p[1], look.p[2] = figures, NULL, a.data
        look.n[0], look.n[1], look.n[2] = a.size, 1, 0
        look.d[0], look.d[1], look.d[2], look.d[3] = 0.0, 1.0, NAN, NAN
        look.nbytes = a.nbytes
        execute(&look)
        if figures[8] > 0.0:
            inputs = [<Array>c.owner[i] for i in range(1, c.arrays) if c.p[i] != NULL]
            self.found(<str>c.name, c.backward, layer, a, inputs)
        return 0

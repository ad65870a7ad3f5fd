# The one door to kernels: a bridge function fills a `call` and hands it to run().
#
# A call is plain data, so that it can also be timed (fnn.profile) and kept for a replay
# (fnn.compile): its thunk reads sizes and pointers from it, and nothing else.

ctypedef int (*thunk)(call *) noexcept nogil


cdef union geometry:
    fnn_conv conv
    fnn_pool pool
    fnn_norm norm
    fnn_act act
    Py_ssize_t dims[3][8]  # a shape, and the strides of one or two operands


cdef struct call:
    thunk kernel
    void *name  # a str, borrowed
    bint backward
    int dt
    int arrays
    void *p[10]  # the memory of the arrays, outputs first; NULL for an absent one
    void *owner[10]  # the Arrays, borrowed
    void *packed  # the weights p[2] as the kernel reads them, or NULL
    Py_ssize_t n[8]
    double d[4]
    uint64_t seed, offset
    Py_ssize_t draws  # how many random numbers it takes, from seed and offset on; -1: none
    double flops  # of products only, 2 for each multiply-add
    Py_ssize_t nbytes  # of its arrays
    geometry g


cdef enum:
    BAD_LABEL = 2  # statuses beside those of fastnn.h: see raise_status
    BAD_INDEX = 3


cdef inline void begin(call *c, thunk kernel, str name, int dt, bint backward=False) noexcept:
    c.kernel = kernel
    c.name = <void *>name
    c.backward = backward
    c.dt = dt
    c.arrays = 0
    c.packed = NULL
    c.draws = -1
    c.flops = 0.0
    c.nbytes = 0


cdef inline void put(call *c, Array a) noexcept:
    """The next array of the call, or None."""
    c.owner[c.arrays] = <void *>a
    if a is None:
        c.p[c.arrays] = NULL
    else:
        c.p[c.arrays] = a.data
        c.nbytes += a.size * ITEM[a.dt]
    c.arrays += 1


cdef inline void put2(call *c, Array a, Array b) noexcept:
    put(c, a)
    put(c, b)


cdef inline void put3(call *c, Array a, Array b, Array d) noexcept:
    put(c, a)
    put(c, b)
    put(c, d)


cdef inline int run(call *c) except -1:
    """Runs a call, and shows it to this thread's Watch."""
    if watches and fnn_watch != NULL:
        return run_watched(c)
    return execute(c)


cdef inline int execute(call *c) except -1:
    """Runs a call; without the GIL, unless it takes only some microseconds."""
    cdef int status
    if c.nbytes < 32768 and c.flops < 500000.0:
        status = c.kernel(c)
    else:
        with nogil:
            status = c.kernel(c)
    if status != FNN_OK:
        raise_status(c, status)
    return 0


cdef int raise_status(call *c, int status) except -1:
    """The exception for the status of a call."""
    cdef str name = <str>c.name
    cdef int64_t *label
    cdef Py_ssize_t i
    if status == BAD_LABEL:
        label = <int64_t *>c.p[0]
        for i in range(c.n[0]):
            if label[i] < 0 or label[i] >= c.n[1]:
                raise ValueError(
                    f"{name}: label {label[i]} at index {i} is out of range for "
                    f"{c.n[1]} classes"
                )
    if status == BAD_INDEX:
        label = <int64_t *>c.p[1]
        for i in range(c.n[0]):
            if label[i] < 0 or label[i] >= c.n[1]:
                raise IndexError(
                    f"{name}: index {label[i]} at position {i} is out of range for {c.n[1]} rows"
                )
    raise MemoryError(f"{name}: out of memory")

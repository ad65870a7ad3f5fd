# Array: a C-contiguous, aligned block of numbers; what kernels read and write.

cdef enum:
    DT_F32 = 0
    DT_F64 = 1
    DT_I64 = 2
    DT_I32 = 3
    DT_U8 = 4
    DT_BOOL = 5

cdef tuple DTYPE_NAMES = ("float32", "float64", "int64", "int32", "uint8", "bool")
cdef tuple DTYPE_FORMATS = (b"f", b"d", b"q", b"i", b"B", b"?")
cdef Py_ssize_t[6] ITEM = [4, 8, 8, 4, 1, 1]


cdef int dtype_code(str name) except -1:
    for i in range(6):
        if DTYPE_NAMES[i] == name:
            return i
    raise TypeError(f"dtype: expected one of {', '.join(DTYPE_NAMES)}, got {name}")


@cython.no_gc_clear  # the collector must not take base before __dealloc__ has looked at it
cdef class Array:
    """A C-contiguous n-dimensional array (at most 8 dimensions) with the buffer protocol.

    Its memory comes from the pool and goes back there with the last reference, unless `base`
    names the object that owns it.
    """
    cdef char *data
    cdef readonly Py_ssize_t size
    cdef readonly int ndim
    cdef int dt
    cdef Py_ssize_t dims[8]
    cdef Py_ssize_t strides[8]
    cdef readonly object base
    cdef readonly bint readonly
    # When its memory was last written to after its creation, see clock(); backward refuses what
    # changed since forward. Views ask the array that they look into.
    cdef long last_write
    cdef long views, views_ever  # buffers that others have or had, and may have written to; ditto
    cdef Py_buffer foreign
    cdef bint holds_foreign

    def __dealloc__(self):
        if self.holds_foreign:
            PyBuffer_Release(&self.foreign)
        elif self.base is None:
            fnn_free(self.data)

    @property
    def shape(self):
        return shape_of(self)

    @property
    def dtype(self):
        return DTYPE_NAMES[self.dt]

    @property
    def written(self):
        """The clock() of the last write to the memory, 0 before the first."""
        return owner_of(self).last_write

    @property
    def nbytes(self):
        return self.size * ITEM[self.dt]

    def __getbuffer__(self, Py_buffer *view, int flags):
        if (flags & PyBUF_WRITABLE) and self.readonly:
            raise BufferError("this array is read-only")
        spoil("reads or writes values outside of the kernels")
        cdef Array owner = owner_of(self)
        owner.views += 1
        owner.views_ever += 1
        cdef Py_ssize_t step = ITEM[self.dt]
        cdef int i
        for i in range(self.ndim - 1, -1, -1):
            self.strides[i] = step
            step *= self.dims[i]
        view.buf = self.data
        view.obj = self
        view.len = self.size * ITEM[self.dt]
        view.itemsize = ITEM[self.dt]
        view.readonly = self.readonly
        view.ndim = self.ndim
        view.format = <char *>(<bytes>DTYPE_FORMATS[self.dt])
        view.shape = self.dims
        view.strides = self.strides
        view.suboffsets = NULL
        view.internal = NULL

    def __releasebuffer__(self, Py_buffer *view):
        cdef Array owner = owner_of(self)
        owner.views -= 1

    def copy(self):
        """A copy in fresh memory."""
        cdef call c
        cdef Array out = new_like(self, self.dt)
        begin(&c, copy_call, "copy", self.dt)
        put2(&c, out, self)
        c.n[0] = self.nbytes
        run(&c)
        return out

    def reshape(self, tuple shape):
        """The same memory under another shape; the sizes must agree."""
        cdef Array out = Array.__new__(Array)
        cdef Py_ssize_t size = 1
        if len(shape) > 8:
            raise ValueError(f"reshape: at most 8 dimensions, got {len(shape)}")
        for i, d in enumerate(shape):
            out.dims[i] = d
            size *= d
        if size != self.size:
            raise ValueError(f"reshape: cannot make {tuple(shape)} from {self.shape}")
        out.ndim = len(shape)
        out.base = self if self.base is None or self.holds_foreign else self.base
        out.data = self.data
        out.size = self.size
        out.dt = self.dt
        out.readonly = self.readonly
        return out

    def item(self):
        """The only element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item: expected one element, got shape {self.shape}")
        spoil("reads a value")
        if self.dt == DT_F32:
            return (<float *>self.data)[0]
        if self.dt == DT_F64:
            return (<double *>self.data)[0]
        if self.dt == DT_I64:
            return (<int64_t *>self.data)[0]
        if self.dt == DT_I32:
            return (<int32_t *>self.data)[0]
        if self.dt == DT_BOOL:
            return (<uint8_t *>self.data)[0] != 0
        return (<uint8_t *>self.data)[0]

    def touch(self):
        """Says that the memory was written to."""
        mark_written(self)


cdef inline Array owner_of(Array a):
    """The array that a is a view of, or a itself."""
    return <Array>a.base if type(a.base) is Array else a


cdef long writes = 0  # how many writes to existing arrays there were


cdef inline void mark_written(Array a):
    global writes
    writes += 1
    a = owner_of(a)
    a.last_write = writes
    cdef Plan plan = recording()
    if plan is not None:
        plan.written.append(a)


def clock():
    """The number of writes to existing arrays so far."""
    return writes


cdef class TensorBase:
    """What a Tensor consists of; the tape is in fastnn/autograd.py.

    A base class in Cython because Python 3.11 classes cannot export a buffer.
    """
    cdef public Array _array
    cdef public bint requires_grad
    cdef public object grad
    cdef public object _node
    cdef public object _hooks

    def __init__(self, array, bint requires_grad=False):
        if type(array) is not Array:
            raise TypeError(
                f"Tensor: use fastnn.tensor(data) to make one, got {type(array).__name__}"
            )
        self._array = array
        self.requires_grad = requires_grad

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyObject_GetBuffer(self._array, view, flags)


cdef tuple shape_of(Array a):
    if a.ndim == 2:
        return (a.dims[0], a.dims[1])
    return tuple([a.dims[i] for i in range(a.ndim)])


cdef Array new_array(int dt, int ndim, const Py_ssize_t *dims):
    """Uninitialized; MemoryError when the size overflows or memory is out."""
    cdef Array out = Array.__new__(Array)
    cdef Py_ssize_t size = 1
    cdef int i
    for i in range(ndim):
        if dims[i] < 0:
            raise ValueError(f"shape: negative dimension {dims[i]}")
        if dims[i] != 0 and size > PY_SSIZE_T_MAX // 16 // dims[i]:
            raise MemoryError("fastnn: array too large")
        size *= dims[i]
        out.dims[i] = dims[i]
    out.ndim = ndim
    out.size = size
    out.dt = dt
    cdef Plan plan = recording()
    if plan is None:
        out.data = <char *>fnn_alloc(size * ITEM[dt])
    else:
        out.data = <char *>plan.allocate(size * ITEM[dt])
    if out.data == NULL:
        raise MemoryError(f"fastnn: cannot allocate {size * ITEM[dt]} bytes")
    return out


cdef inline Array new_like(Array a, int dt):
    return new_array(dt, a.ndim, a.dims)


cdef extern from *:
    """
    #define PY_SSIZE_T_MAX_ ((Py_ssize_t)(((size_t)-1) >> 1))
    """
    Py_ssize_t PY_SSIZE_T_MAX "PY_SSIZE_T_MAX_"


cdef int dims_from(tuple shape, Py_ssize_t *dims, str op) except -1:
    cdef int n = len(shape)
    if n > 8:
        raise ValueError(f"{op}: at most 8 dimensions, got {n}")
    for i in range(n):
        dims[i] = shape[i]
    return n


cdef int copy_call(call *c) noexcept nogil:
    memcpy(c.p[0], c.p[1], c.n[0])
    return FNN_OK


cdef int fill_call(call *c) noexcept nogil:
    cdef Py_ssize_t i
    if c.dt == DT_F32:
        for i in range(c.n[0]):
            (<float *>c.p[0])[i] = <float>c.d[0]
    elif c.dt == DT_F64:
        for i in range(c.n[0]):
            (<double *>c.p[0])[i] = c.d[0]
    elif c.dt == DT_I64:
        for i in range(c.n[0]):
            (<int64_t *>c.p[0])[i] = c.n[1]
    elif c.dt == DT_I32:
        for i in range(c.n[0]):
            (<int32_t *>c.p[0])[i] = <int32_t>c.n[1]
    else:
        memset(c.p[0], <uint8_t>c.n[1], c.n[0])
    return FNN_OK


cdef int fill(Array out, double number, int64_t whole) except -1:
    """Overwrites out with `number`, or with `whole` where it holds integers."""
    cdef call c
    begin(&c, fill_call, "full", out.dt)
    put(&c, out)
    c.n[0] = out.size
    c.n[1] = whole
    c.d[0] = number
    return run(&c)


cdef int gather_call(call *c) noexcept nogil:
    fnn_gather_strided(c.p[0], c.p[1], c.n[0], <int>c.n[1], c.g.dims[0], c.g.dims[1])
    return FNN_OK


cdef Array gathered(call *c, str name, Array a, int n):
    """A copy of a under the shape g.dims[0], read with the strides g.dims[1]."""
    cdef Array out = new_array(a.dt, n, c.g.dims[0])
    begin(c, gather_call, name, a.dt)
    put2(c, out, a)
    c.n[0] = ITEM[a.dt]
    c.n[1] = n
    if out.size:
        run(c)
    return out


def empty(tuple shape, str dtype):
    """An uninitialized array."""
    cdef Py_ssize_t dims[8]
    cdef int n = dims_from(shape, dims, "empty")
    return new_array(dtype_code(dtype), n, dims)


def full(tuple shape, str dtype, object value):
    """An array filled with one value, which must fit the dtype."""
    cdef Array out = empty(shape, dtype)
    cdef double number = float(value)
    cdef int64_t whole = 0
    if out.dt > DT_F64:
        if number != number or number in (float("inf"), -float("inf")) or int(value) != value:
            raise ValueError(f"full: {value} does not fit {dtype}")
        low, high = INTEGER_RANGE[dtype]
        if not low <= int(value) <= high:
            raise ValueError(f"full: {value} does not fit {dtype}")
        whole = int(value)
    fill(out, number, whole)
    return out


INTEGER_RANGE = {
    "int64": (-(1 << 63), (1 << 63) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "uint8": (0, 255),
    "bool": (0, 1),
}


cdef int code_of_format(const char *format, Py_ssize_t itemsize) except -1:
    cdef const char *f = b"B"
    if format != NULL:
        f = format
    while f[0] == c"@" or f[0] == c"=" or f[0] == c"<":
        f += 1
    cdef char code = f[0] if f[0] != 0 and f[1] == 0 else 0
    if code == c"f":
        return DT_F32
    if code == c"d":
        return DT_F64
    if (code == c"l" or code == c"q") and itemsize == 8:
        return DT_I64
    if (code == c"i" or code == c"l") and itemsize == 4:
        return DT_I32
    if code == c"B":
        return DT_U8
    if code == c"?":
        return DT_BOOL
    cdef bytes got = f
    raise TypeError(
        f"dtype: expected one of {', '.join(DTYPE_NAMES)}, got buffer format {got.decode()!r}"
    )


def from_buffer(object source, bint copy=True):
    """An Array with the contents of an object that has the buffer protocol (a NumPy array).

    With copy=False the memory is shared where it is C-contiguous and aligned to its items, and
    copied elsewhere; a read-only source gives a read-only Array.
    """
    cdef Array out
    cdef Py_buffer view
    cdef int dt, i
    cdef Py_ssize_t expected
    cdef Py_ssize_t[8] strides
    cdef bint contiguous
    spoil("takes values from outside of the kernels")
    PyObject_GetBuffer(source, &view, PyBUF_FORMAT | PyBUF_ND | PyBUF_STRIDES)
    try:
        if view.ndim > 8:
            raise ValueError(f"from_numpy: at most 8 dimensions, got {view.ndim}")
        dt = code_of_format(view.format, view.itemsize)
        contiguous = <size_t>view.buf % <size_t>view.itemsize == 0
        expected = view.itemsize
        for i in range(view.ndim - 1, -1, -1):
            if view.shape[i] != 1 and view.strides[i] != expected:
                contiguous = False
            expected *= view.shape[i]
            if view.strides[i] % view.itemsize != 0:
                raise ValueError("from_numpy: strides must be multiples of the item size")
            strides[i] = view.strides[i] // view.itemsize
        if contiguous and not copy:
            out = Array.__new__(Array)
            out.size = 1
            for i in range(view.ndim):
                out.dims[i] = view.shape[i]
                out.size *= view.shape[i]
            out.ndim = view.ndim
            out.dt = dt
            out.data = <char *>view.buf
            out.readonly = view.readonly
            out.base = source
            PyObject_GetBuffer(source, &out.foreign, PyBUF_FORMAT | PyBUF_ND | PyBUF_STRIDES)
            out.holds_foreign = True
            return out
        out = new_array(dt, view.ndim, view.shape)
        if out.size:
            with nogil:
                fnn_gather_strided(out.data, view.buf, view.itemsize, view.ndim, view.shape, strides)
        return out
    finally:
        PyBuffer_Release(&view)


def permute(Array a, tuple axes):
    """A copy with dimension i taken from dimension axes[i] (a permutation, checked by the caller)."""
    cdef call c
    cdef Py_ssize_t own[8]
    cdef Py_ssize_t step = 1
    cdef int i
    for i in range(a.ndim - 1, -1, -1):
        own[i] = step
        step *= a.dims[i]
    for i in range(a.ndim):
        c.g.dims[0][i] = a.dims[<int>axes[i]]
        c.g.dims[1][i] = own[<int>axes[i]]
    return gathered(&c, "permute", a, a.ndim)


def expand(Array a, tuple shape):
    """A copy broadcast to `shape` (NumPy's rules)."""
    cdef call c
    cdef int n = dims_from(shape, c.g.dims[0], "expand")
    cdef int lead = n - a.ndim
    cdef Py_ssize_t step = 1
    cdef int i
    if lead < 0:
        raise ValueError(f"expand: cannot broadcast {a.shape} to {shape}")
    for i in range(n - 1, -1, -1):
        if i < lead or (a.dims[i - lead] == 1 and c.g.dims[0][i] != 1):
            c.g.dims[1][i] = 0
        elif a.dims[i - lead] != c.g.dims[0][i]:
            raise ValueError(f"expand: cannot broadcast {a.shape} to {shape}")
        else:
            c.g.dims[1][i] = step
        if i >= lead:
            step *= a.dims[i - lead]
    return gathered(&c, "expand", a, n)


cdef inline int check_float(Array a, str op, str name) except -1:
    if a.dt > DT_F64:
        raise TypeError(f"{op}: {name} must be float32 or float64, got {a.dtype}")
    return 0


cdef inline int check_same_dtype(Array a, Array b, str op, str name_a, str name_b) except -1:
    if a.dt != b.dt:
        raise TypeError(
            f"{op}: {name_a} is {a.dtype}, {name_b} is {b.dtype}; they must have one dtype"
        )
    return 0


cdef inline int check_same_shape(Array a, Array b, str op, str name_a, str name_b) except -1:
    cdef int i
    cdef bint same = a.ndim == b.ndim
    if same:
        for i in range(a.ndim):
            if a.dims[i] != b.dims[i]:
                same = False
    if not same:
        raise ValueError(f"{op}: {name_a} has shape {a.shape}, {name_b} has {b.shape}")
    return 0

# What may look on while calls run: a profile that times them, a plan that keeps them for a replay, a
# search for NaN and infinity in what they compute.

from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from *:
    """
    static _Thread_local void *fnn_watch;
    """
    void *fnn_watch  # the Watch of this thread, borrowed, or NULL

cdef int watches = 0  # the length of WATCHES
cdef long changes = 0


def change():
    """Says that a module or a hook changed: plans look whether it was one of theirs."""
    global changes
    changes += 1


def change_count():
    """How often change() was called."""
    return changes


cdef class Watch:
    """What looks on at the calls of one thread: a profile, a plan, an anomaly search."""
    cdef Profile profile
    cdef Plan plan
    cdef Anomaly anomaly
    cdef public str layer  # the one that runs
    cdef readonly dict names  # of the modules met so far

    def __cinit__(self):
        self.layer, self.names = "", {}


WATCHES = []  # of all threads; while it is empty, nobody asks any further


def watch():
    """The Watch of this thread, or None."""
    return <Watch>fnn_watch if fnn_watch != NULL else None


def attach(part):
    """Lets a Profile, a Plan or an Anomaly look on at this thread's calls until it is detached."""
    global fnn_watch, watches
    cdef Watch w = watch()
    if w is None:
        w = Watch()
    if isinstance(part, Profile):
        if w.profile is not None:
            raise RuntimeError("profile: this thread is being profiled already")
        w.profile = part
    elif isinstance(part, Anomaly):
        if w.anomaly is not None:
            raise RuntimeError("detect_anomaly: this thread is being searched already")
        w.anomaly = part
    else:
        if w.plan is not None:
            raise RuntimeError("compile: this thread is recording a step already")
        w.plan = part
    if fnn_watch == NULL:
        WATCHES.append(w)
        fnn_watch = <void *>w
        watches = len(WATCHES)


def detach(part):
    """Ends attach, on the same thread."""
    global fnn_watch, watches
    cdef Watch w = watch()
    if w is None or (part is not w.profile and part is not w.plan and part is not w.anomaly):
        raise RuntimeError("profile: it was not entered on this thread")
    if part is w.profile:
        w.profile = None
    elif part is w.anomaly:
        w.anomaly = None
    else:
        w.plan = None
    if w.profile is None and w.plan is None and w.anomaly is None:
        fnn_watch = NULL
        WATCHES.remove(w)
        watches = len(WATCHES)


def searching():
    """Whether this thread's calls are searched for NaN and infinity."""
    return watches and fnn_watch != NULL and (<Watch>fnn_watch).anomaly is not None


def spoil(str why, str who=None):
    """Says that what this thread does now cannot be replayed, in case that it is recorded."""
    cdef Plan plan = recording()
    if plan is not None:
        plan.spoil(why, who)


cdef inline Plan recording():
    """The plan that this thread records, or None."""
    return (<Watch>fnn_watch).plan if watches and fnn_watch != NULL else None


cdef int run_watched(call *c) except -1:
    cdef Watch w = <Watch>fnn_watch
    cdef int64_t start = now()
    execute(c)
    if w.profile is not None:
        w.profile.add(c, w.layer, start, now())
    if w.plan is not None:
        w.plan.add(c, w.layer)
    if w.anomaly is not None:
        w.anomaly.check(c, w.layer)
    return 0


cdef int64_t now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


cdef struct event:
    PyObject *op
    PyObject *layer
    bint backward, double_precision
    int64_t start, nanoseconds
    double flops
    Py_ssize_t nbytes


cdef class Profile:
    """A list of calls with their times, in C: being watched must cost next to nothing."""
    cdef event *found
    cdef Py_ssize_t count, room

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            Py_DECREF(<object>self.found[i].op)
            Py_DECREF(<object>self.found[i].layer)
        free(self.found)

    @property
    def events(self):
        """For each call (op, backward, layer, double, start in ns, ns, flops, bytes)."""
        cdef Py_ssize_t i
        cdef event *e
        out = []
        for i in range(self.count):
            e = &self.found[i]
            out.append((<str>e.op, e.backward, <str>e.layer, e.double_precision, e.start,
                        e.nanoseconds, e.flops, e.nbytes))
        return out

    cdef int add(self, call *c, str layer, int64_t start, int64_t end) except -1:
        cdef event *e
        if self.count == self.room:
            self.found = <event *>larger(self.found, &self.room, sizeof(event))
        e = &self.found[self.count]
        e.op, e.layer = <PyObject *>c.name, <PyObject *>layer
        Py_INCREF(<object>e.op)
        Py_INCREF(layer)
        e.backward, e.double_precision = c.backward, c.dt == DT_F64
        e.start, e.nanoseconds = start, end - start
        e.flops, e.nbytes = c.flops, c.nbytes
        self.count += 1
        return 0


cdef void *larger(void *items, Py_ssize_t *room, size_t item) except NULL:
    """Moves a list in C to where it can grow."""
    cdef void *p = realloc(items, (2 * room[0] + 16) * item)
    if p == NULL:
        raise MemoryError("fastnn: out of memory")
    room[0] = 2 * room[0] + 16
    return p


cdef struct patch:
    Py_ssize_t call, array, input, offset


cdef struct packing:
    Py_ssize_t call
    void *weights  # the Array, borrowed
    long last_write, views_ever  # of it, when it was packed


cdef struct sequence:
    call *calls
    Py_ssize_t count, at
    int status


cdef void run_sequence(void *p, ptrdiff_t i) noexcept nogil:
    """Runs the calls up to the first that fails."""
    cdef sequence *s = <sequence *>p
    while s.status == FNN_OK and s.at < s.count:
        s.status = s.calls[s.at].kernel(&s.calls[s.at])
        if s.status == FNN_OK:
            s.at += 1


@cython.no_gc_clear
cdef class Plan:
    """The calls of one step with its buffers, to be run again with other inputs.

    What is allocated while it is recorded comes from an arena of its own, so that a buffer that was
    freed and used again in the recording is used again in each replay, and by nobody else.
    """
    cdef call *calls
    cdef Py_ssize_t count, room
    cdef fnn_arena *arena
    cdef list kept  # arrays beside those of the arena; names
    cdef list layers, draws, written, grads, guards, weights
    cdef dict unused  # arrays of the arena that no call had yet: who made them
    cdef patch *patches
    cdef Py_ssize_t patch_count
    cdef packing *packings
    cdef Py_ssize_t packing_count
    cdef int target  # whose kernels read what is packed
    cdef Array loss
    cdef readonly Array output
    cdef str reason  # why it cannot be replayed, or None

    def __cinit__(self):
        self.arena = fnn_arena_new()
        if self.arena == NULL:
            raise MemoryError("fastnn: out of memory")
        self.kept, self.layers, self.draws, self.written = [], [], [], []
        self.unused, self.weights = {}, []

    def __dealloc__(self):
        free(self.calls)
        free(self.patches)
        free(self.packings)
        fnn_arena_drop(self.arena)

    cdef void *allocate(self, size_t nbytes):
        cdef void *p = fnn_arena_alloc(self.arena, nbytes)
        if nbytes:
            self.unused[<size_t>p] = place()
        return p

    cdef int spoil(self, str why, str who=None) except -1:
        if self.reason is None:
            self.reason = f"{who or place()} {why}"
        return 0

    cdef int add(self, call *c, str layer) except -1:
        cdef Py_ssize_t i
        cdef Array a
        if self.count == self.room:
            self.calls = <call *>larger(self.calls, &self.room, sizeof(call))
        for i in range(c.arrays):
            if c.p[i] == NULL:
                continue
            self.unused.pop(<size_t>c.p[i], None)
            a = owner_of(<Array>c.owner[i])
            if a.base is not None or not fnn_arena_has(self.arena, a.data):
                self.kept.append(a)
                if i == 2 and a.base is None and pack_weights(c, NULL):
                    self.weights.append((self.count, a))
        if c.arrays == 0:
            self.spoil("cannot be replayed")
        if c.draws >= 0:
            self.draws.append((self.count, c.draws))
        self.kept.append(<str>c.name)
        self.calls[self.count] = c[0]
        self.layers.append(layer)
        self.count += 1
        return 0

    def finish(self, tuple inputs, list tensors, Array output, Array loss):
        """Ends the recording; returns why it cannot be replayed, or None.

        tensors are those whose replacement makes it invalid. Without a loss, it is inference:
        weights are packed ahead, and gradients left alone.
        """
        cdef Py_ssize_t i, j, k, offset
        cdef Array a
        if self.unused and self.reason is None:
            self.reason = f"{next(iter(self.unused.values()))} computes where no call is seen"
        for a in (output, loss):
            if a is not None and input_of(inputs, a.data, &offset) >= 0 and self.reason is None:
                self.reason = "the model or the loss returns its input"
        if self.reason is not None:
            return self.reason
        found = []
        for i in range(self.count):
            for j in range(self.calls[i].arrays):
                k = input_of(inputs, <char *>self.calls[i].p[j], &offset)
                if k >= 0:
                    found.append((i, j, k, offset))
        self.patches = <patch *>malloc(max(len(found), 1) * sizeof(patch))
        if self.patches == NULL:
            raise MemoryError("fastnn: out of memory")
        for i, (call, array, k, offset) in enumerate(found):
            self.patches[i].call, self.patches[i].array = call, array
            self.patches[i].input, self.patches[i].offset = k, offset
        self.patch_count = len(found)
        self.kept = [
            item for item in self.kept
            if type(item) is not Array or input_of(inputs, (<Array>item).data, &offset) < 0
        ]
        self.output, self.loss = output, loss
        self.guards = [(t, (<TensorBase>t)._array, (<TensorBase>t).requires_grad) for t in tensors]
        self.grads = []
        self.target = fnn_target_current()
        if loss is None:
            self.pack_ahead(inputs)
        else:
            self.grads = [(t, t.grad) for t in tensors if t.grad is not None]

    cdef int pack_ahead(self, tuple inputs) except -1:
        """Room for the weights of calls as their kernels read them; replays fill it."""
        cdef Py_ssize_t i, offset
        cdef Array a, packed
        self.packings = <packing *>malloc(max(len(self.weights), 1) * sizeof(packing))
        if self.packings == NULL:
            raise MemoryError("fastnn: out of memory")
        for i, a in self.weights:
            if input_of(inputs, a.data, &offset) >= 0 or a in self.written:
                continue
            packed = empty((pack_weights(&self.calls[i], NULL),), DTYPE_NAMES[self.calls[i].dt])
            self.kept.append(packed)
            self.packings[self.packing_count].call = i
            self.packings[self.packing_count].weights = <void *>a
            self.packings[self.packing_count].views_ever = -1  # not yet
            self.packing_count += 1
            self.calls[i].packed = packed.data

    cdef int pack(self) except -1:
        """Packs the weights anew that were written to, or that others may write to unseen."""
        cdef Py_ssize_t i
        cdef packing *p
        cdef Array a
        for i in range(self.packing_count):
            p = &self.packings[i]
            a = <Array>p.weights
            if a.views or p.views_ever != a.views_ever or p.last_write != a.last_write:
                p.views_ever, p.last_write = -1, a.last_write
                if pack_weights(&self.calls[p.call], self.calls[p.call].packed) < 0:
                    raise MemoryError("fastnn: out of memory")
                if not a.views:
                    p.views_ever = a.views_ever

    def holds(self):
        """Whether the tensors are what they were: the same memory, requires_grad, no hooks."""
        cdef TensorBase t
        if self.target != fnn_target_current():
            return False
        for t, array, requires_grad in self.guards:
            if t._array is not array or t.requires_grad != requires_grad or t._hooks:
                return False
        return True

    def replay(self, tuple inputs, reserve):
        """Runs all calls with other inputs of the same shapes; returns the loss, if any."""
        cdef Py_ssize_t i
        cdef patch *p
        cdef sequence s
        cdef TensorBase t
        cdef Watch w = watch()
        for i in range(self.patch_count):
            p = &self.patches[i]
            self.calls[p.call].p[p.array] = (<Array>inputs[p.input]).data + p.offset
        for i, count in self.draws:
            self.calls[i].seed, self.calls[i].offset = reserve(count)
        self.pack()
        if w is not None and w.profile is not None:
            self.replay_profiled(w.profile)
        else:
            s.calls, s.count, s.at, s.status = self.calls, self.count, 0, FNN_OK
            with nogil:
                if self.loss is None:
                    fnn_with_team(run_sequence, &s)
                else:
                    run_sequence(&s, 0)
            if s.status != FNN_OK:
                raise_status(&self.calls[s.at], s.status)
        for a in self.written:
            mark_written(a)
        for t, grad in self.grads:
            t.grad = grad
        return None if self.loss is None else self.loss.item()

    cdef int replay_profiled(self, Profile profile) except -1:
        cdef Py_ssize_t i
        cdef int64_t start
        for i in range(self.count):
            start = now()
            execute(&self.calls[i])
            profile.add(&self.calls[i], self.layers[i], start, now())
        return 0


cdef Py_ssize_t input_of(tuple inputs, char *p, Py_ssize_t *offset) except -2:
    """Which of the inputs p points into, or -1."""
    cdef Py_ssize_t i
    cdef Array a
    for i in range(len(inputs)):
        a = inputs[i]
        offset[0] = p - a.data
        if 0 <= offset[0] < a.size * ITEM[a.dt]:
            return i
    return -1


def overlap(Array a, Array b):
    """Whether they share memory."""
    cdef Py_ssize_t offset
    return input_of((a,), b.data, &offset) >= 0 or input_of((b,), a.data, &offset) >= 0


cdef str place():
    """Which function of fastnn we are in, and which line of the user's called it."""
    frame = sys._getframe()
    cdef str op = "", name
    while frame is not None:
        name = frame.f_code.co_qualname.partition(".<locals>")[0]
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("fastnn", "numpy"):
            return f"{op or name} ({frame.f_code.co_filename}:{frame.f_lineno})"
        elif not op or op.startswith("_"):
            op = name
        frame = frame.f_back
    return op

# CPU targets, threads, memory.

fnn_threads_init()
fnn_memory_init()


def runnable_targets():
    """Names of the compiled-in targets that this CPU runs, best first."""
    return [fnn_target_name(i).decode() for i in range(fnn_target_count()) if fnn_target_runnable(i)]


def set_target(str name):
    """Switches every kernel to a target; for start-up and for tests, not while kernels run."""
    for i in range(fnn_target_count()):
        if fnn_target_name(i).decode() == name and fnn_target_select(i) == 0:
            return
    raise ValueError(
        f"FASTNN_CPU: expected one of {', '.join(runnable_targets())}, got {name!r}"
    )


def current_target():
    """Name of the target in use."""
    return fnn_target_name(fnn_target_current()).decode()


def set_num_threads(int n):
    """The limit for every kernel; checked by the caller."""
    fnn_set_num_threads(n)


def get_num_threads():
    """The limit in force on this thread."""
    return fnn_get_num_threads()


def has_openmp():
    """Whether kernels can use more than one thread."""
    return fnn_has_openmp() != 0


def compiler():
    """Name and version of the C compiler."""
    return COMPILER.decode()


cdef extern from *:
    """
    #if defined(__clang__)
    #define FNN_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FNN_COMPILER "gcc " __VERSION__
    #else
    #define FNN_COMPILER "unknown"
    #endif
    """
    const char *COMPILER "FNN_COMPILER"


def empty_cache():
    """Returns the pool's free blocks to the system."""
    with nogil:
        fnn_empty_cache()


def memory_stats():
    """Bytes in use, bytes cached, and how often the system was asked for memory."""
    cdef size_t in_use, cached, allocations
    fnn_memory_stats(&in_use, &cached, &allocations)
    return {"in_use": in_use, "cached": cached, "system_allocations": allocations}


def run_peak(Py_ssize_t iterations, str dtype="float32"):
    """Runs multiply-adds in registers on this thread; returns how many operations that was."""
    cdef double flops = 0
    cdef const fnn_kernels *k = fnn_kernels_for(dtype_code(dtype))
    with nogil:
        k.peak(&flops, iterations)
    return flops

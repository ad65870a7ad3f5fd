# What csrc/fastnn.h declares.
cdef extern from "fastnn.h" nogil:
    ctypedef int fnn_status
    enum: FNN_OK
    enum: FNN_F32
    enum: FNN_F64
    enum: FNN_MAX_DIMS
    enum: FNN_UNARY_COUNT
    enum: FNN_BINARY_COUNT
    ctypedef struct fnn_act:
        int unary
        double p[2]
    ctypedef struct fnn_gemm:
        void *c
        const void *a
        const void *b
        const void *bias
        ptrdiff_t m, n, k, lda, ldb, ldc
        int trans_a, trans_b, accumulate
        fnn_act act
    enum: FNN_CONV_AUTO
    enum: FNN_CONV_DIRECT
    enum: FNN_CONV_WINOGRAD
    enum: FNN_PASS_FWD
    enum: FNN_PASS_DATA
    enum: FNN_PASS_WEIGHTS
    ctypedef struct fnn_conv:
        ptrdiff_t n, h, w, c, k, r, s, oh, ow
        ptrdiff_t stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, groups
        fnn_act act
        int algo
    ctypedef struct fnn_pool:
        ptrdiff_t n, h, w, c, r, s, oh, ow
        ptrdiff_t stride_h, stride_w, pad_h, pad_w
        int count_include_pad
    ctypedef struct fnn_norm:
        ptrdiff_t outer, rows, c, groups
        fnn_act act
    ctypedef struct fnn_rule:
        int rule, maximize, nesterov
        double lr, l1, l2, decay, eps, beta1, beta2, extra
    ctypedef struct fnn_param:
        void *param
        const void *grad
        void *state[3]
        double *count[2]
        ptrdiff_t n
        int first
    ctypedef struct fnn_kernels:
        fnn_status (*gemm)(const fnn_gemm *) noexcept nogil
        fnn_status (*conv2d_fwd)(void *, const void *, const void *, const void *, const void *,
                                 const void *, const fnn_conv *) noexcept nogil
        fnn_status (*conv2d_pack)(void *, ptrdiff_t *, const void *, const fnn_conv *) noexcept nogil
        fnn_status (*conv2d_bwd_data)(void *, const void *, const void *, const void *, const fnn_conv *) noexcept nogil
        fnn_status (*conv2d_bwd_weights)(void *, void *, const void *, const void *, const fnn_conv *) noexcept nogil
        fnn_status (*conv2d_bwd)(void *, void *, void *, const void *, const void *, const void *, const void *, const fnn_conv *) noexcept nogil
        fnn_status (*conv2d_algo)(int *, int, const fnn_conv *) noexcept nogil
        fnn_status (*max_pool2d_fwd)(void *, uint8_t *, const void *, const fnn_pool *) noexcept nogil
        fnn_status (*max_pool2d_bwd)(void *, const void *, const uint8_t *, const fnn_pool *) noexcept nogil
        fnn_status (*avg_pool2d_fwd)(void *, const void *, const fnn_pool *) noexcept nogil
        fnn_status (*avg_pool2d_bwd)(void *, const void *, const fnn_pool *) noexcept nogil
        fnn_status (*adaptive_avg_pool2d_fwd)(void *, const void *, const fnn_pool *) noexcept nogil
        fnn_status (*adaptive_avg_pool2d_bwd)(void *, const void *, const fnn_pool *) noexcept nogil
        fnn_status (*sum)(void *, const void *, ptrdiff_t, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*max)(void *, int64_t *, const void *, ptrdiff_t, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*min)(void *, int64_t *, const void *, ptrdiff_t, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*prelu_fwd)(void *, const void *, const void *, ptrdiff_t, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*prelu_bwd)(void *, void *, const void *, const void *, const void *,
                                ptrdiff_t, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*maxout_fwd)(void *, int32_t *, const void *, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*maxout_bwd)(void *, const void *, const int32_t *, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*softmax_fwd)(void *, const void *, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*softmax_bwd)(void *, const void *, const void *, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*log_softmax_fwd)(void *, const void *, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*log_softmax_bwd)(void *, const void *, const void *, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*cross_entropy)(void *, void *, void *, const void *, const int64_t *,
                                    const void *, double, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*multi_margin)(void *, void *, const void *, const int64_t *, const void *,
                                   double, double, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*scale_rows)(void *, const void *, const void *, ptrdiff_t, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*embedding_fwd)(void *, const void *, const int64_t *, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*embedding_bwd)(void *, const void *, const int64_t *, ptrdiff_t, ptrdiff_t,
                                    ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*norm_stats)(double *, void *, void *, int64_t *, const void *, double, double,
                                 const fnn_norm *) noexcept nogil
        fnn_status (*norm_given)(double *, const void *, const void *, double, ptrdiff_t) noexcept nogil
        fnn_status (*norm_fwd)(void *, const void *, const void *, const double *, const void *,
                               const void *, const fnn_norm *) noexcept nogil
        fnn_status (*norm_bwd_weights)(void *, void *, void *, double *, const void *, const void *,
                                       const void *, const double *, const void *, const void *,
                                       const fnn_norm *) noexcept nogil
        fnn_status (*norm_bwd_data)(void *, const void *, const void *, const void *, const double *,
                                    const double *, const void *, const void *,
                                    const fnn_norm *) noexcept nogil
        fnn_status (*layer_norm_fwd)(void *, double *, const void *, const void *, const void *, double,
                                     ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*layer_norm_bwd)(void *, void *, void *, const void *, const void *, const double *,
                                     const void *, ptrdiff_t, ptrdiff_t) noexcept nogil
        fnn_status (*dropout_fwd)(void *, uint8_t *, const void *, ptrdiff_t, double, uint64_t, uint64_t) noexcept nogil
        fnn_status (*dropout_bwd)(void *, const void *, const uint8_t *, ptrdiff_t, double) noexcept nogil
        fnn_status (*uniform)(void *, ptrdiff_t, double, double, uint64_t, uint64_t) noexcept nogil
        fnn_status (*normal)(void *, ptrdiff_t, double, double, uint64_t, uint64_t) noexcept nogil
        fnn_status (*update)(const fnn_rule *, fnn_param *, ptrdiff_t) noexcept nogil
        fnn_status (*grad_norm)(double *, const fnn_param *, ptrdiff_t, double) noexcept nogil
        fnn_status (*max_norm)(void *, ptrdiff_t, ptrdiff_t, double) noexcept nogil
        fnn_status (*stats)(double *, uint8_t *, const void *, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                            const double *) noexcept nogil
        fnn_status (*peak)(double *, ptrdiff_t) noexcept nogil

    const char *fnn_unary_names[]
    const char fnn_unary_saved[]
    const char *fnn_binary_names[]
    int fnn_target_count()
    const char *fnn_target_name(int)
    int fnn_target_runnable(int)
    int fnn_target_select(int)
    int fnn_target_current()
    const fnn_kernels *fnn_kernels_for(int)
    void fnn_unary_fwd(int, int, void *, const void *, ptrdiff_t, const double *)
    void fnn_unary_bwd(int, int, void *, const void *, const void *, ptrdiff_t, const double *)
    void fnn_binary(int, int, void *, const void *, const void *, int, const Py_ssize_t *,
                    const Py_ssize_t *, const Py_ssize_t *)
    void fnn_gather_strided(void *, const void *, size_t, int, const Py_ssize_t *, const Py_ssize_t *)
    void fnn_set_num_threads(int)
    int fnn_get_num_threads()
    void fnn_with_team(void (*)(void *, ptrdiff_t) noexcept nogil, void *) noexcept nogil
    int fnn_has_openmp()
    void fnn_threads_init()
    void *fnn_alloc(size_t)
    void fnn_free(void *)
    void fnn_empty_cache()
    void fnn_memory_stats(size_t *, size_t *, size_t *)
    void fnn_memory_init()
    ctypedef struct fnn_arena
    fnn_arena *fnn_arena_new()
    void *fnn_arena_alloc(fnn_arena *, size_t)
    int fnn_arena_has(const fnn_arena *, const void *)
    void fnn_arena_drop(fnn_arena *)

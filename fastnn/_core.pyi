from collections.abc import Callable, Sequence
from typing import Any

UNARY: dict[str, tuple[int, str]]
BINARY: dict[str, int]

class Array:
    size: int
    ndim: int
    base: Any
    readonly: bool
    @property
    def written(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    def copy(self) -> Array: ...
    def reshape(self, shape: tuple[int, ...]) -> Array: ...
    def item(self) -> Any: ...
    def touch(self) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Profile:
    @property
    def events(self) -> list[tuple[str, bool, str, bool, int, int, float, int]]: ...

class Plan:
    output: Array | None
    def finish(
        self,
        inputs: tuple[Array, ...],
        tensors: list[Any],
        output: Array | None,
        loss: Array | None,
    ) -> str | None: ...
    def holds(self) -> bool: ...
    def replay(
        self, inputs: tuple[Array, ...], reserve: Callable[[int], tuple[int, int]]
    ) -> float | None: ...

class Anomaly:
    def __init__(self, found: Callable[[str, bool, str, Array, list[Array]], None]) -> None: ...

class Watch:
    layer: str
    names: dict[Any, str]

WATCHES: list[Watch]

def watch() -> Watch | None: ...
def attach(part: Profile | Plan | Anomaly) -> None: ...
def detach(part: Profile | Plan | Anomaly) -> None: ...
def searching() -> bool: ...
def spoil(why: str, who: str | None = None) -> None: ...
def change() -> None: ...
def change_count() -> int: ...
def overlap(a: Array, b: Array) -> bool: ...

class TensorBase:
    _array: Array
    requires_grad: bool
    grad: Any
    _node: Any
    _hooks: Any
    def __init__(self, array: Array, requires_grad: bool = False) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Node:
    name: str
    inputs: tuple[TensorBase, ...]
    backward: Callable[..., Sequence[Array | None]] | None
    output: Array | None
    number: int
    def __init__(
        self,
        name: str,
        inputs: tuple[TensorBase, ...],
        backward: Callable[..., Sequence[Array | None]],
        output: Array | None = None,
        adds: bool = False,
    ) -> None: ...

def run_backward(
    root: TensorBase, gradient: Array, retain_graph: bool, wrap: Callable[[Array], TensorBase]
) -> None: ...

_Pair = tuple[int, int]

def clock() -> int: ...
def empty(shape: tuple[int, ...], dtype: str) -> Array: ...
def full(shape: tuple[int, ...], dtype: str, value: float) -> Array: ...
def from_buffer(source: Any, copy: bool = True) -> Array: ...
def permute(a: Array, axes: tuple[int, ...]) -> Array: ...
def expand(a: Array, shape: tuple[int, ...]) -> Array: ...
def runnable_targets() -> list[str]: ...
def set_target(name: str) -> None: ...
def current_target() -> str: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def has_openmp() -> bool: ...
def compiler() -> str: ...
def empty_cache() -> None: ...
def memory_stats() -> dict[str, int]: ...
def run_peak(iterations: int, dtype: str = "float32") -> float: ...
def unary_fwd(op: int, x: Array, p0: float = 0.0, p1: float = 0.0) -> Array: ...
def unary_bwd(op: int, dy: Array, saved: Array, p0: float = 0.0, p1: float = 0.0) -> Array: ...
def binary(op: int, a: Array, b: Array) -> Array: ...
def binary_scalar(op: int, a: Array, b: float, swapped: bool = False) -> Array: ...
def add_(a: Array, b: Array) -> None: ...
def prelu_fwd(x: Array, slope: Array) -> Array: ...
def prelu_bwd(dy: Array, x: Array, slope: Array) -> tuple[Array, Array]: ...
def maxout_fwd(x: Array, pieces: int) -> tuple[Array, Array]: ...
def maxout_bwd(dy: Array, index: Array, pieces: int) -> Array: ...
def sum_axes(x: Array, first: int, last: int, keepdim: bool) -> Array: ...
def extremum_axes(
    x: Array, first: int, last: int, keepdim: bool, largest: bool
) -> tuple[Array, Array]: ...
def matmul(a: Array, b: Array, ta: bool = False, tb: bool = False) -> Array: ...
def linear_fwd(
    x: Array, w: Array, bias: Array | None, act: int = -1, p0: float = 0.0, p1: float = 0.0
) -> Array: ...
def linear_bwd(
    dy: Array,
    x: Array,
    w: Array,
    y: Array | None,
    act: int,
    p0: float,
    p1: float,
    need_dx: bool,
    need_dw: bool,
    need_db: bool,
) -> tuple[Array | None, Array | None, Array | None]: ...

CONV_ALGOS: dict[str, int]

def set_conv_algo(name: str) -> None: ...
def conv2d_algo(
    x: tuple[int, ...],
    w: tuple[int, ...],
    dt: int,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    algo: str,
) -> tuple[str, str, str]: ...
def conv2d_fwd(
    x: Array,
    w: Array,
    bias: Array | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    algo: str,
    act: int = -1,
    p0: float = 0.0,
    p1: float = 0.0,
    residual: Array | None = None,
) -> Array: ...
def conv2d_bwd(
    dy: Array,
    x: Array,
    w: Array,
    y: Array | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    algo: str,
    act: int,
    p0: float,
    p1: float,
    need_dx: bool,
    need_dw: bool,
    need_db: bool,
    add: Array | None = None,
) -> tuple[Array | None, Array | None, Array | None]: ...
def conv_transpose2d_fwd(
    x: Array,
    w: Array,
    size: _Pair,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
) -> Array: ...
def max_pool2d_fwd(
    x: Array, kernel: _Pair, stride: _Pair, padding: _Pair
) -> tuple[Array, Array]: ...
def max_pool2d_bwd(
    dy: Array, index: Array, x: Array, kernel: _Pair, stride: _Pair, padding: _Pair
) -> Array: ...
def avg_pool2d_fwd(
    x: Array, kernel: _Pair, stride: _Pair, padding: _Pair, count_include_pad: bool
) -> Array: ...
def avg_pool2d_bwd(
    dy: Array, x: Array, kernel: _Pair, stride: _Pair, padding: _Pair, count_include_pad: bool
) -> Array: ...
def adaptive_avg_pool2d_fwd(x: Array, output: _Pair) -> Array: ...
def adaptive_avg_pool2d_bwd(dy: Array, x: Array, output: _Pair) -> Array: ...
def softmax_fwd(x: Array, log: bool) -> Array: ...
def softmax_bwd(dy: Array, y: Array, log: bool) -> Array: ...
def cross_entropy(
    x: Array, label: Array, weight: Array | None, smoothing: float, need_grad: bool, reduction: str
) -> tuple[Array, Array | None, float | Array]: ...
def multi_margin(
    x: Array,
    label: Array,
    weight: Array | None,
    p: float,
    margin: float,
    need_grad: bool,
    reduction: str,
) -> tuple[Array, Array | None, float | Array]: ...
def norm_check(
    op: str,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    residual: Array | None = None,
) -> None: ...
def norm_stats(
    op: str,
    x: Array,
    samples: int,
    groups: int,
    eps: float,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    seen: Array | None = None,
    momentum: float = 0.0,
) -> Array: ...
def norm_given(op: str, x: Array, mean: Array, var: Array, eps: float) -> Array: ...
def norm_fwd(
    op: str,
    x: Array,
    stats: Array,
    weight: Array | None,
    bias: Array | None,
    residual: Array | None,
    act: int = -1,
    p0: float = 0.0,
    p1: float = 0.0,
) -> Array: ...
def norm_bwd(
    op: str,
    dy: Array,
    x: Array,
    output: Array | None,
    stats: Array,
    weight: Array | None,
    bias: Array | None,
    fixed: bool,
    act: int,
    p0: float,
    p1: float,
    need_dx: bool,
    need_dw: bool,
    need_db: bool,
    need_residual: bool,
) -> tuple[Array | None, Array | None, Array | None, Array | None]: ...
def layer_norm_fwd(
    x: Array, dims: int, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array]: ...
def layer_norm_bwd(
    dy: Array,
    x: Array,
    stats: Array,
    dims: int,
    weight: Array | None,
    need_dx: bool,
    need_dw: bool,
    need_db: bool,
) -> tuple[Array | None, Array | None, Array | None]: ...
def is_class_weight(w: Array) -> bool: ...
def scale_rows(x: Array, s: Array) -> Array: ...
def loss_bwd(dx: Array, dy: Array, divisor: float | Array) -> Array: ...
def embedding_fwd(index: Array, w: Array) -> Array: ...
def embedding_bwd(dy: Array, index: Array, w: Array, padding: int) -> Array: ...
def dropout_fwd(x: Array, p: float, seed: int, offset: int) -> tuple[Array, Array]: ...
def dropout_bwd(dy: Array, mask: Array, p: float) -> Array: ...
def random(
    shape: tuple[int, ...], dtype: str, gaussian: bool, a: float, b: float, seed: int, offset: int
) -> Array: ...

class UpdateRule:
    arrays: tuple[str | None, ...]
    counts: dict[str, float]
    start: float
    def __init__(
        self,
        rule: str,
        arrays: tuple[str | None, ...],
        counts: dict[str, float],
        *,
        lr: float,
        maximize: bool = False,
        nesterov: bool = False,
        l1: float = 0,
        l2: float = 0,
        decay: float = 1,
        eps: float = 0,
        beta1: float = 0,
        beta2: float = 0,
        extra: float = 0,
        start: float = 0,
    ) -> None: ...

def update(
    op: str, rule: UpdateRule, params: list[Any], state: dict[Any, Any], make: Any
) -> None: ...
def apply_rule(
    op: str, name: str, number: float, arrays: list[Array], others: list[Array] | None = None
) -> None: ...
def grad_norm(op: str, arrays: list[Array], p: float) -> tuple[float, float]: ...
def max_norm(x: Array, limit: float) -> None: ...
def stats(
    x: Array,
    bins: int = 0,
    start: float = 0.0,
    end: float = 1.0,
    low: float = ...,
    high: float = ...,
    fired: bool = False,
) -> tuple[Array, Array | None]: ...

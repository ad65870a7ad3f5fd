"""Initial weights, drawn from fastnn's random stream; every function works in place.

Fans are those of our layouts: a linear weight is (out, in), a convolution weight
(out_channels, kh, kw, in_channels // groups).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .autograd import no_grad
from .ops import activation as functions
from .ops import linear, matmul
from .random import reserve
from .tensor import Tensor, from_numpy

if TYPE_CHECKING:
    from .nn import Module

__all__ = [
    "calculate_gain", "constant_", "init_model", "kaiming_normal_", "kaiming_uniform_", "lsuv_",
    "normal_", "ones_", "orthogonal_", "trunc_normal_", "uniform_", "xavier_normal_",
    "xavier_uniform_", "zeros_",
]  # fmt: skip

# 1 / sqrt(E f(z)^2) for z ~ N(0, 1): keeps the second moment of signals, as sqrt(2) does for ReLU.
_ELU_GAIN = 1 / math.sqrt(
    1 + math.exp(2) * math.erfc(math.sqrt(2)) / 2 - math.exp(0.5) * math.erfc(math.sqrt(0.5))
)
_GAINS = {
    "linear": 1.0,
    "identity": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2.0),
    "elu": _ELU_GAIN,
    "maxout": 1.0,
}
_SLOPES = {"leaky_relu": 0.01, "prelu": 0.25}
_OTHERS = {*functions.__all__} - {*_GAINS, *_SLOPES, "threshold"}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor for the standard deviation of weights before a nonlinearity (PyTorch's).

    linear, identity, sigmoid 1; tanh 5/3; relu sqrt(2); leaky_relu and prelu
    sqrt(2 / (1 + param^2)) with slopes of 0.01 and 0.25 unless given. For maxout (2 pieces) 1, for
    elu 1.245, and for any other activation of `fastnn.functional` with its default parameters the
    gain that keeps the second moment of a Gaussian signal (for selu 1, where PyTorch has 3/4), but
    at most that of relu, to which silu and its like tend when signals grow.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if nonlinearity in _SLOPES:
        slope = _SLOPES[nonlinearity] if param is None else float(param)
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity in _OTHERS:
        z = np.linspace(-8, 8, 1601)
        density = np.exp(-z * z / 2)
        y = getattr(functions, nonlinearity)(z).numpy()
        return float(min(2.0, density.sum() / (density * y * y).sum()) ** 0.5)
    if nonlinearity not in _GAINS:
        known = ", ".join(sorted([*_GAINS, *_SLOPES, *_OTHERS]))
        raise ValueError(f"calculate_gain: expected one of {known}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills with one value; returns the tensor."""
    with no_grad():
        return _check("constant_", tensor).fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fills with 0; returns the tensor."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fills with 1; returns the tensor."""
    return constant_(tensor, 1.0)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fills from the uniform distribution on [a, b); returns the tensor."""
    if not (math.isfinite(a) and math.isfinite(b) and a <= b):
        raise ValueError(f"uniform_: expected finite a <= b, got a={a}, b={b}")
    return _draw("uniform_", tensor, False, a, b)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fills from the normal distribution; returns the tensor."""
    if not (math.isfinite(mean) and 0 <= std < math.inf):
        raise ValueError(f"normal_: expected finite mean and std >= 0, got {mean}, {std}")
    return _draw("normal_", tensor, True, mean, std)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """Fills from the normal distribution cut off outside of [a, b]; returns the tensor.

    a and b are values, not multiples of std. Drawn by rejection, from a uniform distribution on
    the part of [a, b] that is within 9 std of the mean.

    Raises
    ------
    ValueError
        If std <= 0 or a >= b, or [a, b] is more than 8 std away from the mean.
    """
    if not (math.isfinite(mean) and 0 < std < math.inf and a < b):
        raise ValueError(
            "trunc_normal_: expected finite mean, std > 0 and a < b, "
            f"got mean={mean}, std={std}, a={a}, b={b}"
        )
    low, high = max((a - mean) / std, -9.0), min((b - mean) / std, 9.0)
    if not (low < 8.0 and high > -8.0):
        raise ValueError(
            f"trunc_normal_: [{a}, {b}] is more than 8 std={std} away from mean={mean}"
        )
    size = _check("trunc_normal_", tensor).numel()
    nearest = min(max(0.0, low), high)  # where the density is largest
    z = np.empty(size)
    missing = np.arange(size)
    while missing.size:
        place, height = _random("float64", (2, missing.size), False, 0.0, 1.0)
        place = low + (high - low) * place
        accepted = height < np.exp((nearest**2 - place**2) / 2)
        z[missing[accepted]] = place[accepted]
        missing = missing[~accepted]
    values = (mean + std * z).reshape(tensor.shape).astype(tensor.dtype)
    # The bounds hold after rounding, too.
    return _store(tensor, np.clip(values, _rounded(tensor, a, 1), _rounded(tensor, b, -1)))


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """gain times a random matrix with orthonormal rows, or columns if these are fewer.

    A tensor of more dimensions is the matrix (shape[0], all others). Uniform among all such
    matrices: a Gaussian matrix, made orthonormal row by row (Saxe, McClelland and Ganguli, "Exact
    solutions to the nonlinear dynamics of learning in deep linear neural networks", 2014).
    """
    _fans("orthogonal_", tensor)
    if not math.isfinite(gain):
        raise ValueError(f"orthogonal_: gain must be finite, got {gain}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    draw = _random("float64", (min(rows, columns), max(rows, columns)), True, 0.0, 1.0)
    q = gain * _orthonormal(draw)
    return _store(tensor, (q if rows <= columns else q.T).reshape(tensor.shape))


def _orthonormal(a: Any) -> Any:
    """Gram-Schmidt of the rows of a, in place, in blocks, and twice because once loses digits.

    With our products: those of a LAPACK have other last bits with other numbers of threads.
    """
    for start in range(0, len(a), 64):
        done, block = a[:start], a[start : start + 64]
        for _ in range(2):
            if start:
                block -= _along(block, done)
            for i, row in enumerate(block):
                if i:
                    row -= _along(block[i : i + 1], block[:i])[0]
                row /= math.sqrt(np.square(row).sum())
    return a


def _along(x: Any, q: Any) -> Any:
    """The part of x's rows that orthonormal rows q span."""
    x, q = from_numpy(x), from_numpy(q)
    return matmul(linear(x, q), q).numpy()


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform on [-a, a), a = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6.0 / _xavier_fan("xavier_uniform_", tensor, gain))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal, std = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    std = gain * math.sqrt(2.0 / _xavier_fan("xavier_normal_", tensor, gain))
    return normal_(tensor, 0.0, std)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Uniform on [-b, b), b = gain sqrt(3 / fan) (He et al., 2015).

    Parameters
    ----------
    tensor : Tensor
    a : float
        Negative slope, for leaky_relu and prelu; 0 makes them ReLU.
    mode : {"fan_in", "fan_out"}
    nonlinearity : str
        A name that `calculate_gain` knows.
    """
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Normal, std = gain / sqrt(fan) (He et al., 2015); parameters as for `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity))


def init_model(model: Module, activation: str, bias: float = 0.0) -> Module:
    """Redraws every weight of a model for its activation, and sets every bias; returns the model.

    Weights of Linear, Maxout and convolutions: Xavier uniform for sigmoid, tanh, identity and
    maxout, Kaiming uniform for the others, each with the activation's gain; for sigmoid 4, because
    its slope at 0 is 1/4 (Glorot and Bengio, 2010). Slopes of PReLU are left alone.

    Parameters
    ----------
    model : Module
    activation : str
        A name that `calculate_gain` knows.
    bias : float
        A small positive one (0.01) keeps ReLU units alive at the start.
    """
    gain = 4.0 if activation == "sigmoid" else calculate_gain(activation)
    from .nn import ConvTranspose2d, Embedding  # the latter no activation follows

    for module in model.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim < 2 or isinstance(module, Embedding):
            continue
        if activation in ("sigmoid", "tanh", "identity", "linear", "maxout"):
            xavier_uniform_(weight, gain)
        elif isinstance(module, ConvTranspose2d):
            bound = gain * math.sqrt(3.0 / module.fan_in)
            uniform_(weight, -bound, bound)
        else:
            kaiming_uniform_(weight, _SLOPES.get(activation, 0.0), nonlinearity=activation)
        if getattr(module, "bias", None) is not None:
            constant_(module.bias, bias)  # type: ignore[attr-defined]
    return model


def lsuv_(model: Module, x: Any, std: float = 1.0, tol: float = 0.05, max_iter: int = 10) -> Module:
    """Initial weights from data: every layer's outputs get the standard deviation `std`.

    Weights are first drawn orthonormal; then, layer by layer in the order in which a batch passes
    them, each weight is divided by the standard deviation of the layer's outputs until that is
    `std` up to a share of `tol` (layer-sequential unit variance; Mishkin and Matas, "All you need
    is a good init", 2016). Biases stay as they are.

    Parameters
    ----------
    model : Module
        Its Linear, Maxout and convolution layers are initialized; it runs in eval mode.
    x : Tensor or array
        A batch of training inputs, preprocessed as for training; a few hundred suffice.
    std, tol : float
    max_iter : int
        Attempts for each layer.

    Returns
    -------
    Module
        `model`.

    Raises
    ------
    ValueError
        If a layer's outputs are constant, or not finite; the layer is named.

    Examples
    --------
    >>> import fastnn as fnn
    >>> net = fnn.nn.Sequential(*[fnn.nn.Linear(64, 64) for _ in range(9)])
    >>> data = fnn.randn(200, 64) * 30.0
    >>> bool(0.9 < lsuv_(net, data)(data).numpy().std() < 1.1)
    True
    """
    from .nn import Conv2d, ConvTranspose2d, Linear, Maxout

    if not (0 < std < math.inf and 0 < tol < math.inf and max_iter >= 1):
        raise ValueError(
            "lsuv_: std, tol and max_iter must be positive and finite, got "
            f"{std}, {tol}, {max_iter}"
        )
    layers: dict[Any, str] = {
        m: name
        for name, m in model.named_modules()
        if isinstance(m, Linear | Maxout | Conv2d | ConvTranspose2d)
    }
    training = model.training
    model.eval()
    order: dict[Any, float] = {}  # the layers as they are met, with the std of their outputs

    def measure(layer: Any, args: Any, output: Any) -> None:
        order[layer] = float(output.numpy().std(dtype=np.float64))

    try:
        with no_grad():
            for layer in layers:
                orthogonal_(layer.weight)
            _observed(model, x, list(layers), measure)
            for layer in list(order):
                name = layers[layer]
                for _ in range(max_iter):
                    _observed(model, x, [layer], measure)
                    found = order[layer]
                    if not 0 < found < math.inf:
                        raise ValueError(
                            f"lsuv_: the outputs of {name or 'the model'} have a standard "
                            f"deviation of {found}"
                        )
                    if abs(found / std - 1) <= tol:
                        break
                    layer.weight.copy_(layer.weight * (std / found))
    finally:
        model.train(training)
    return model


def _observed(model: Module, x: Any, layers: list[Module], hook: Any) -> None:
    """Runs the model on x, and the hook after each of the layers."""
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()


def _check(op: str, tensor: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{op}: expected a Tensor, got {type(tensor).__name__}")
    if not tensor._array.dtype.startswith("float"):
        raise TypeError(f"{op}: tensor must be float32 or float64, got {tensor._array.dtype}")
    return tensor


def _draw(op: str, tensor: Tensor, gaussian: bool, a: float, b: float) -> Tensor:
    array = _check(op, tensor)._array
    values = _core.random(array.shape, array.dtype, gaussian, a, b, *reserve(array.size))
    with no_grad():
        return tensor.copy_(Tensor(values))


def _random(dtype: str, shape: tuple[int, ...], gaussian: bool, a: float, b: float) -> Any:
    """Numbers of the random stream, as a NumPy array."""
    return np.asarray(_core.random(shape, dtype, gaussian, a, b, *reserve(math.prod(shape))))


def _rounded(tensor: Tensor, value: float, side: int) -> Any:
    """`value` in the tensor's dtype, rounded up (side 1) or down (-1)."""
    found = tensor.dtype.type(value)
    if side * float(found) < side * value:
        found = np.nextafter(found, tensor.dtype.type(side * math.inf))
    return found


def _store(tensor: Tensor, values: Any) -> Tensor:
    with no_grad():
        return tensor.copy_(from_numpy(np.ascontiguousarray(values, tensor.dtype)))


def _fans(op: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out): inputs of an output, and outputs that an input goes to."""
    shape = _check(op, tensor).shape
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"{op}: tensor must have two or more dimensions, none 0, got {shape}")
    return math.prod(shape[1:]), shape[0] * math.prod(shape[1:-1])


def _xavier_fan(op: str, tensor: Tensor, gain: float) -> int:
    if not 0 <= gain < math.inf:
        raise ValueError(f"{op}: gain must be finite and at least 0, got {gain}")
    return sum(_fans(op, tensor))


def _kaiming_std(op: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{op}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    if not math.isfinite(a):
        raise ValueError(f"{op}: a must be finite, got {a}")
    fan_in, fan_out = _fans(op, tensor)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)

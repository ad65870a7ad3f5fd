# SPDX-License-Identifier: BSD-3-Clause
"""ONNX Runtime: inference. The graph is built here, from the layers, channels first."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .job import Job, Library, UnsupportedError
from .nets import NETS, NORM_EPSILON, WITH_PARAMETERS, Layers, shape_after
from .workloads import Array

_ACTS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "identity": "Identity"}
_OPSET, _IR = 17, 8  # old enough for every current runtime


def open_library(threads: int) -> Library:
    """Give its sessions this number of threads."""
    return OnnxRuntime(threads)


class OnnxRuntime(Library):
    """ONNX Runtime on the CPU."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.versions = {"onnxruntime": onnxruntime.__version__}
        self.uses = "all that the CPU has"

    def infer(self, a: dict[str, Any], d: dict[str, Array]) -> Job:
        net = NETS[a["net"]]
        if a["fn"] not in _ACTS:
            raise UnsupportedError(f"no activation {a['fn']}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        model = _Graph(net.layers, net.input_shape, a, d).model()
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        feed = {"x": _image(d["x"])}

        def run() -> Any:
            return session.run(None, feed)[0]

        return Job(run, lambda: {"logits": run()})


def _image(a: Array) -> Array:
    return np.ascontiguousarray(a.transpose(0, 3, 1, 2)) if a.ndim == 4 else a


class _Graph:
    """Collects nodes and weights; values are named by numbers."""

    def __init__(
        self, layers: Layers, shape: tuple[int, ...], a: dict[str, Any], d: dict[str, Array]
    ) -> None:
        self.data, self.act = d, _ACTS[a["fn"]]
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.index = 0  # layers with parameters so far
        self.flat: tuple[int, ...] = ()  # the image that was just flattened
        self.input = helper.make_tensor_value_info("x", TensorProto.FLOAT, _image(d["x"]).shape)
        self.result, after = self._chain(layers, "x", shape)
        out_shape = (a["batch"], *after)
        self.output = helper.make_tensor_value_info(self.result, TensorProto.FLOAT, out_shape)

    def model(self) -> Any:
        graph = helper.make_graph(self.nodes, "net", [self.input], [self.output], self.weights)
        opset = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=_IR)

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _weight(self, name: str, value: Array | None = None) -> str:
        array = np.ascontiguousarray(self.data[name] if value is None else value)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def _chain(self, layers: Layers, x: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        for layer in layers:
            x = self._layer(layer, x, shape)
            shape = shape_after(layer, shape)
        return x, shape

    def _layer(self, layer: tuple[Any, ...], x: str, shape: tuple[int, ...]) -> str:
        kind, i = layer[0], self.index
        self.index += kind in WITH_PARAMETERS
        if kind == "conv":
            _, _, kernel, stride, pad, groups, bias = layer
            inputs = [x, self._weight(f"w{i}", self.data[f"w{i}"].transpose(0, 3, 1, 2))]
            inputs += [self._weight(f"b{i}")] if bias else []
            return self._node(
                "Conv", *inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
                group=groups,
            )  # fmt: skip
        if kind == "norm":
            weights = [self._weight(f"{name}{i}") for name in "gbmv"]
            return self._node("BatchNormalization", x, *weights, epsilon=NORM_EPSILON)
        if kind == "act":
            return self._node(self.act, x)
        if kind == "pool":
            sizes = {"kernel_shape": [layer[1]] * 2, "strides": [layer[2]] * 2}
            return self._node("MaxPool", x, **sizes)
        if kind == "mean":
            return self._node("Flatten", self._node("GlobalAveragePool", x))
        if kind == "flatten":
            self.flat = shape
            return self._node("Flatten", x)
        if kind == "linear":
            w = self.data[f"w{i}"]
            if self.flat:  # its inputs are channels first here
                w = w.reshape(-1, *self.flat).transpose(0, 3, 1, 2).reshape(len(w), -1)
                self.flat = ()
            return self._node("Gemm", x, self._weight(f"w{i}", w), self._weight(f"b{i}"), transB=1)
        body, _ = self._chain(layer[1], x, shape)
        shortcut, _ = self._chain(layer[2], x, shape)
        return self._node(self.act, self._node("Add", body, shortcut))

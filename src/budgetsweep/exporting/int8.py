"""Post-training quantization: on which images, and how."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from budgetsweep.data import Dataset, Images
from budgetsweep.data.pixels import to_unit

_CALIBRATION = 512  # training images from which int8 takes the ranges of the activations
# What has an 8-bit form in ONNX or onnxruntime's extension of it, or passes its input on; the rest stays
# float32.
_IN_8_BITS = [
    "Conv", "MatMul", "Relu", "LeakyRelu", "Clip", "Sigmoid", "MaxPool", "AveragePool", "GlobalAveragePool",
    "Add", "Mul", "Concat", "Reshape", "Flatten", "Squeeze",
]  # fmt: skip
_MEASURED = 10_000  # images on which the accuracy of int8 is measured, at most


def spread(total: int, n: int) -> Tensor:
    """At most `n` indices, evenly over `total`."""
    return torch.linspace(0, total - 1, min(n, total)).round().long()


def split_for_int8(dataset: Dataset) -> tuple[Images, Images, str]:
    """Images to calibrate on, others to measure on, and what the latter are.

    Both come from the training images, apart from each other, where the run held none out.
    """
    train = dataset.train
    if dataset.validation:
        return train[spread(len(train), _CALIBRATION)], dataset.validation, "validation images"
    chosen = spread(len(train), min(_CALIBRATION, max(1, len(train) // 2)))
    others = torch.ones(len(train), dtype=torch.bool)
    others[chosen] = False
    rest = others.nonzero().squeeze(1)
    measured = train[rest[spread(len(rest), _MEASURED)]]
    return train[chosen], measured, "training images (none held out)"


def quantize(model: Any, calibration: Images, whole: bool = False) -> Any:
    """Post-training static quantization: int8 weights, a scale a channel, int8 activations.

    Args:
        whole: operations on 8-bit numbers themselves, as a device without a compiler of graphs needs
            them, instead of float32 ones between conversions, which a runtime fuses.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = _batches(calibration)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    form = quantization.QuantFormat.QOperator if whole else quantization.QuantFormat.QDQ
    with tempfile.TemporaryDirectory() as folder:
        names = ("float.onnx", "prepared.onnx", "int8.onnx")
        plain, prepared, quantized = (Path(folder, name) for name in names)
        onnx.save(_in_8_bit_forms(model), str(plain))
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(str(prepared)).graph
        maps = {v.name: v.type for v in graph.value_info if _is_map(v.type.tensor_type)}
        quantization.quantize_static(
            str(prepared), str(quantized), Reader(), per_channel=True, quant_format=form,
            op_types_to_quantize=_IN_8_BITS if whole else None,
            activation_type=quantization.QuantType.QUInt8 if whole else quantization.QuantType.QInt8,
            # Weights within ±64: processors without VNNI add pairs of products in 16 bits, which
            # overflow with ±128. Measured: 26.7 points lost on one small network, 0 so.
            reduce_range=True,
            # Of what has no known shape the C generator takes only ONNX's own operations.
            nodes_to_exclude=[n.name for n in graph.node if whole and n.output[0] not in maps],
        )  # fmt: skip
        result = onnx.load(str(quantized))
        if whole:
            _declare(result.graph, maps)
    return result


def _in_8_bit_forms(model: Any) -> Any:
    """A copy in operations that have an 8-bit form.

    Batch norms, those that no convolution could take in, become depthwise 1×1 convolutions, of one weight a
    channel, which 8 bits hold exactly. Means over a map become global pools.
    """
    from onnx import ModelProto, helper, numpy_helper

    result = ModelProto.FromString(model.SerializeToString())
    graph, nodes = result.graph, list(result.graph.node)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for i, node in enumerate(nodes):
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        x, *others = node.input
        if node.op_type == "BatchNormalization":
            scale, shift, mean, variance = (arrays[name] for name in others)
            factor = scale / np.sqrt(variance + attributes["epsilon"])
            weights = {"weight": factor.reshape(-1, 1, 1, 1), "bias": shift - mean * factor}
            names = [f"{node.name}_{part}" for part in weights]
            graph.initializer.extend(map(numpy_helper.from_array, weights.values(), names))
            nodes[i] = helper.make_node(
                "Conv", [x, *names], node.output, node.name, kernel_shape=[1, 1], group=len(scale)
            )
        elif node.op_type == "ReduceMean" and attributes.get("keepdims", 1):
            if list(arrays.get(others[0], ())) == [-1, -2]:  # as adaptive pools are exported
                nodes[i] = helper.make_node("GlobalAveragePool", [x], node.output, node.name)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    for field, values in ((graph.node, nodes), (graph.initializer, kept)):
        del field[:]
        field.extend(values)
    return result


def _is_map(kind: Any) -> bool:
    """Whether all sides are known but the batch's."""
    return all(side.dim_value for side in kind.shape.dim[1:])


def _declare(graph: Any, maps: Mapping[str, Any]) -> None:
    """Write down the shapes of 8-bit maps: ONNX cannot infer those of onnxruntime's own operations."""
    from onnx import TensorProto

    for name in (name for node in graph.node for name in node.output):
        if name.endswith("_quantized") and (kind := maps.get(name.removesuffix("_quantized"))):
            value = graph.value_info.add(name=name, type=kind)
            value.type.tensor_type.elem_type = TensorProto.UINT8


def _batches(images: Images) -> Iterator[dict[str, Any]]:
    for part in images.images.split(64):
        yield {"pixels": to_unit(part).numpy()}

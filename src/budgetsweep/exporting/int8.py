"""Post-training quantization: on which images, and how."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from budgetsweep.data import Dataset, Images
from budgetsweep.data.pixels import to_unit

_CALIBRATION = 512  # training images from which int8 takes the ranges of the activations
# What has an 8-bit form in ONNX itself or passes its input on; the rest, additions say, stays float32.
_STANDARD = ["Conv", "MatMul", "Relu", "Clip", "MaxPool", "Reshape", "Flatten", "Squeeze"]
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
        onnx.save(model, str(plain))
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared), str(quantized), Reader(), per_channel=True, quant_format=form,
            op_types_to_quantize=_STANDARD if whole else None,
            activation_type=quantization.QuantType.QUInt8 if whole else quantization.QuantType.QInt8,
            # Weights within ±64: processors without VNNI add pairs of products in 16 bits, which
            # overflow with ±128. Measured: 26.7 points lost on one small network, 0 so.
            reduce_range=True,
            # Batch norm that could not be folded is computed in float32 by onnxruntime anyway.
            nodes_to_exclude=[n.name for n in model.graph.node if n.op_type == "BatchNormalization"],
        )  # fmt: skip
        result = onnx.load(str(quantized))
    return result


def _batches(images: Images) -> Iterator[dict[str, Any]]:
    for part in images.images.split(64):
        yield {"pixels": to_unit(part).numpy()}

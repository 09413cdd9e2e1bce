"""ONNX: made, counted and run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from budgetsweep.data import Images
from budgetsweep.data.pixels import to_unit
from budgetsweep.errors import UserError

OPSET = 18
_BATCH = 500


def to_onnx(
    program: torch.export.ExportedProgram, network: nn.Module, class_names: Sequence[str]
) -> tuple[Any, int]:
    """The ONNX model, optimized, and its number of parameters before batch norm was folded."""
    exported = torch.onnx.export(
        program, dynamo=True, opset_version=OPSET, input_names=["pixels"],
        output_names=["log_probabilities"], optimize=False, external_data=False, verbose=False,
    )  # fmt: skip
    assert exported is not None
    names = {name for name, _ in network.named_parameters()}
    stored = exported.model_proto.graph.initializer
    count = sum(math.prod(tensor.dims) for tensor in stored if tensor.name in names)
    exported.optimize()
    model = exported.model_proto
    _tidy(model)
    for key, value in {"class_names": json.dumps(list(class_names)), "pixels": "0-1, NCHW"}.items():
        model.metadata_props.add(key=key, value=value)
    return model, count


def _tidy(model: Any) -> None:
    """Drop the exporter's notes, which name this machine's files, and name the batch."""
    graph = model.graph
    for item in [model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input,
                 *graph.output]:  # fmt: skip
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in [*graph.input, *graph.output, *graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == batch:
                dim.dim_param = "batch"


def stored(model: Any) -> tuple[int, int]:
    """How many numbers an ONNX model stores, and their bytes."""
    from onnx.numpy_helper import to_array

    arrays = [to_array(tensor) for tensor in model.graph.initializer]
    return sum(a.size for a in arrays), sum(a.nbytes for a in arrays)


def run_onnx(content: bytes, pixels: Tensor) -> Tensor:
    """Log-probabilities by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"pixels": part.numpy()})[0] for part in pixels.split(_BATCH)]
    return torch.from_numpy(np.concatenate(parts))


def accuracy(content: bytes, images: Images) -> float:
    """The share of images that an ONNX model classifies rightly."""
    return share_right(run_onnx(content, to_unit(images.images)), images)


def share_right(scores: Tensor, images: Images) -> float:
    """The share of images whose highest score is their class's."""
    return float((scores.argmax(1) == images.labels).double().mean())


def require_onnx() -> None:
    """Refuse politely where the extra is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"every format but torch needs the onnx extra ({error.name} is missing): "
            "pip install 'budgetsweep[onnx]'"
        ) from None

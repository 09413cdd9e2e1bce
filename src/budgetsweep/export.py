"""`python -m budgetsweep.export`: a trained network as ONNX, torch.export and int8, checked."""

from __future__ import annotations

import argparse
import io
import json
import logging
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from budgetsweep.budget import FLOAT_BYTES
from budgetsweep.config import DataConfig
from budgetsweep.data import Dataset, Images, load
from budgetsweep.errors import UserError
from budgetsweep.files import write_atomic, write_json
from budgetsweep.saved import SavedRun, load_run
from budgetsweep.training import to_unit

FORMATS = ("onnx", "torch", "int8")
FILES = {"onnx": "network.onnx", "torch": "network.pt2", "int8": "network.int8.onnx"}
OPSET = 18
TOLERANCE = 1e-3  # largest allowed difference of a log-probability from PyTorch's
_CHECKED = 256  # images on which an exported network is compared with PyTorch's
_CALIBRATION = 512  # training images from which int8 takes the ranges of the activations
_MEASURED = 10_000  # images on which the accuracy of int8 is measured, at most
_BATCH = 500

HELP = """\
examples:
  python -m budgetsweep.export multirun/demo
  python -m budgetsweep.export outputs/shapes --format onnx --output for-the-phone

Every file takes `pixels`, float32 (batch, channels, size, size) in 0-1, and gives
`log_probabilities` (batch, classes): subtracting data.mean and dividing by data.std are part of the
exported network, and the batch may have any size.

  onnx   network.onnx       float32; compared with PyTorch through onnxruntime
  torch  network.pt2        float32, for torch.export.load; compared with PyTorch
  int8   network.int8.onnx  weights and activations in 8 bits, calibrated on training images;
                            the accuracy it costs is measured on the validation images

All are compared on validation images, or on training images where the run held none out; the test
set is never read. The parameters are counted in the exported program, and must be as many as the
run's. In ONNX files, batch norm that directly follows a convolution is then folded into it, so that
they store fewer numbers. export.json keeps all that is printed.

There is no export to C source here; emx-onnx-cgen (on PyPI) makes it from network.onnx.

More: docs/own-data.md#export
"""


@dataclass(frozen=True)
class Exported:
    """One file and what was measured of it."""

    format: str
    file: str
    file_bytes: int
    weight_bytes: int  # all numbers it stores: weights, running statistics, scales
    stored_numbers: int
    parameters: int  # recounted before anything was folded
    largest_difference: float | None = None  # of a log-probability from PyTorch's
    compared_images: int | None = None
    accuracy: dict[str, Any] | None = None  # int8: before, after and on what


class OnPixels(nn.Module):
    """A network with its normalization: pixels in 0–1 → log-probabilities."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, data: DataConfig) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(data.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(data.std).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.network((pixels - self.mean) / self.std)
        return scores


class Exporter:
    """One run on its way into files; what two formats share is made once."""

    def __init__(self, run: SavedRun, dataset: Dataset, folder: Path) -> None:
        self.run, self.dataset, self.folder = run, dataset, folder
        self.network = OnPixels(run.network, run.config.data).eval()
        self.program = trace(self.network, run.config.data)
        self.parameters = sum(p.numel() for p in self.program.parameters())
        self._refuse_miscount(self.parameters)
        self._onnx: Any = None

    def export(self, kind: str) -> Exported:
        """Write and check one format."""
        match kind:
            case "onnx":
                return self._export_onnx()
            case "torch":
                return self._export_torch()
            case _:
                return self._export_int8()

    @property
    def onnx(self) -> Any:
        """The float32 ONNX model."""
        if self._onnx is None:
            self._onnx, count = to_onnx(self.program, self.network, self.run.class_names)
            self._refuse_miscount(count)
        return self._onnx

    def _export_onnx(self) -> Exported:
        content = self.onnx.SerializeToString()
        path = self._write("onnx", content)
        scores = run_onnx(content, self._sample())
        return self._measured("onnx", path, *_stored(self.onnx), scores)

    def _export_torch(self) -> Exported:
        buffer = io.BytesIO()
        torch.export.save(self.program, buffer)
        path = self._write("torch", buffer.getvalue())
        program = torch.export.load(path)
        self._refuse_miscount(sum(p.numel() for p in program.parameters()))
        with torch.inference_mode():
            scores = program.module()(self._sample())
        floats = [t for t in program.state_dict.values() if t.is_floating_point()]
        n = sum(t.numel() for t in floats)
        return self._measured("torch", path, n, n * FLOAT_BYTES, scores)

    def _export_int8(self) -> Exported:
        calibration, held_out, on = split_for_int8(self.dataset)
        model = quantize(self.onnx, calibration)
        content = model.SerializeToString()
        path = self._write("int8", content)
        before = accuracy(self.onnx.SerializeToString(), held_out)
        after = accuracy(content, held_out)
        numbers, weight_bytes = _stored(model)
        return Exported(
            "int8", path.name, path.stat().st_size, weight_bytes, numbers, self.parameters,
            accuracy={"float32": before, "int8": after, "cost": before - after,
                      "images": len(held_out), "on": on, "calibrated_on": len(calibration)},
        )  # fmt: skip

    def _measured(
        self, kind: str, path: Path, numbers: int, weight_bytes: int, scores: Tensor
    ) -> Exported:
        with torch.inference_mode():
            expected = self.network(self._sample())
        difference = float((scores - expected).abs().max())
        if not difference <= TOLERANCE:
            path.unlink()
            raise UserError(
                f"{path.name} differs from PyTorch by {difference:.3g} in a log-probability, more "
                f"than {TOLERANCE:g}; it was not kept. Please report the network's configuration."
            )
        return Exported(
            kind, path.name, path.stat().st_size, weight_bytes, numbers, self.parameters,
            difference, len(expected),
        )  # fmt: skip

    def _sample(self) -> Tensor:
        images = self.dataset.validation or self.dataset.train
        return to_unit(images.images[spread(len(images), _CHECKED)])

    def _write(self, kind: str, content: bytes) -> Path:
        path = self.folder / FILES[kind]
        write_atomic(path, lambda file: file.write(content))
        return path

    def _refuse_miscount(self, count: int) -> None:
        expected = self.run.summary["parameters"]
        if count != expected:
            raise UserError(
                f"the exported network has {count:,} parameters, the run {expected:,}; "
                f"{self.run.folder} does not hold together."
            )


def trace(network: nn.Module, data: DataConfig) -> torch.export.ExportedProgram:
    """The network as one graph for any batch size, without the paths of this machine's files."""
    example = torch.zeros(2, data.channels, data.size, data.size)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (example,), dynamic_shapes=(batch,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


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


def _stored(model: Any) -> tuple[int, int]:
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
    predicted = run_onnx(content, to_unit(images.images)).argmax(1)
    return float((predicted == images.labels).double().mean())


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


def quantize(model: Any, calibration: Images) -> Any:
    """Post-training static quantization: int8 weights, a scale a channel, int8 activations."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = _batches(calibration)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        names = ("float.onnx", "prepared.onnx", "int8.onnx")
        plain, prepared, quantized = (Path(folder, name) for name in names)
        onnx.save(model, str(plain))
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared), str(quantized), Reader(), per_channel=True,
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


def require_onnx() -> None:
    """Refuse politely where the extra is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"the formats onnx and int8 need the onnx extra ({error.name} is missing): "
            "pip install 'budgetsweep[onnx]'"
        ) from None


def export(run: SavedRun, formats: Sequence[str], folder: Path) -> list[Exported]:
    """Write the formats into a folder, each checked, and export.json with the figures.

    Raises:
        UserError: the onnx extra or the run's images are missing, or a check fails.
    """
    if set(formats) & {"onnx", "int8"}:
        require_onnx()
    exporter = Exporter(run, load(run.config.data), folder)
    results = [exporter.export(kind) for kind in formats]
    limit = run.config.budget.max_parameters
    write_json(
        folder / "export.json",
        {"run": run.summary["model"], "parameters": run.summary["parameters"],
         "max_parameters": limit, "input": "pixels, float32 NCHW in 0-1", "opset": OPSET,
         "class_names": list(run.class_names), "exports": [asdict(r) for r in results]},
    )  # fmt: skip
    return results


def describe(run: SavedRun, results: Sequence[Exported], folder: Path) -> str:
    """What was written, in lines."""
    n, limit = run.summary["parameters"], run.config.budget.max_parameters
    lines = [f"{run.summary['model']}: {n:,} parameters, {n * FLOAT_BYTES:,} bytes in float32"]
    if limit:
        lines[0] += f"; budget {limit:,}, {limit * FLOAT_BYTES:,} bytes"
    for r in results:
        line = f"{r.file}: {r.file_bytes:,} bytes, {r.weight_bytes:,} of them weights"
        lines.append(f"{line} ({r.stored_numbers:,} numbers, {r.parameters:,} parameters)")
        if limit:
            share = r.weight_bytes / (limit * FLOAT_BYTES)
            lines[-1] += f", {share:.0%} of the budget's bytes"
        lines.append(f"  {_check(r)}")
    return "\n".join([*lines, f"→ {folder}"])


def _check(result: Exported) -> str:
    if result.accuracy is None:
        return (
            f"largest difference from PyTorch {result.largest_difference:.1e} in a "
            f"log-probability, {result.compared_images:,} images"
        )
    a = result.accuracy
    return (
        f"accuracy {a['float32']:.2%} → {a['int8']:.2%}, costs {100 * a['cost']:.2f} points on "
        f"{a['images']:,} {a['on']}; calibrated on {a['calibrated_on']:,} training images"
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        "python -m budgetsweep.export",
        description="Write a trained network for use elsewhere, and check what was written.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("run", type=Path, help="a finished run's folder, or a sweep's: its winner")
    p.add_argument(
        "--format", nargs="+", choices=[*FORMATS, "all"], default=["all"], help="default: all"
    )
    p.add_argument(
        "--output", type=Path, metavar="DIR", help="default: export/ in the run's folder"
    )
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Export and print the figures."""
    args = parser().parse_args(argv)
    formats = [f for f in FORMATS if f in args.format or "all" in args.format]
    # The exporter's and quantizer's progress; what matters raises.
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        run = load_run(args.run)
        folder = args.output or run.folder / "export"
        print(describe(run, export(run, formats, folder), folder))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

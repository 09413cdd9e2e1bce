"""One run on its way into files, each checked against PyTorch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from budgetsweep.config import BudgetConfig
from budgetsweep.data import Dataset, Images, load
from budgetsweep.data.pixels import to_unit
from budgetsweep.errors import UserError
from budgetsweep.exporting.c_source import CSource, run_c, to_c
from budgetsweep.exporting.exported import Exported, Memory
from budgetsweep.exporting.int8 import quantize, split_for_int8, spread
from budgetsweep.exporting.onnx import (
    OPSET,
    accuracy,
    require_onnx,
    run_onnx,
    share_right,
    stored,
    to_onnx,
)
from budgetsweep.exporting.program import OnPixels, trace
from budgetsweep.files import write_json
from budgetsweep.network.cost import FLOAT_BYTES
from budgetsweep.network.limits import measure
from budgetsweep.network.saved import SavedRun
from budgetsweep.runs.images import changed_images
from hydra_budget_sweeper.files import write_atomic

FILES = {
    "onnx": "network.onnx", "torch": "network.pt2", "int8": "network.int8.onnx",
    "c": "network.c", "c_int8": "network.int8.c",
}  # fmt: skip
TOLERANCE = 1e-3  # largest allowed difference of a log-probability from PyTorch's
_RUN_IN_C = 1_000  # images on which the accuracy of 8-bit C is measured, at most
_CHECKED = 256  # images on which an exported network is compared with PyTorch's


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
            case "int8":
                return self._export_int8()
            case "c":
                return self._export_c()
            case _:
                return self._export_c_int8()

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
        return self._measured("onnx", path, *stored(self.onnx), scores)

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
        after = accuracy(content, held_out)
        return self._quantized("int8", path, model, after, (calibration, held_out, on))

    def _export_c(self) -> Exported:
        source = to_c(self.onnx)
        scores = run_c(source, self._sample(), self.run.config.data.classes)
        path = self._write("c", source.text.encode())
        memory = self._memory(source, 32)
        return replace(self._measured("c", path, *stored(self.onnx), scores), memory=memory)

    def _export_c_int8(self) -> Exported:
        calibration, held_out, on = split_for_int8(self.dataset)
        model = quantize(self.onnx, calibration, whole=True)
        source = to_c(model)
        images = held_out[spread(len(held_out), _RUN_IN_C)]
        scores = run_c(source, to_unit(images.images), self.run.config.data.classes)
        path = self._write("c_int8", source.text.encode())
        after = share_right(scores, images)
        result = self._quantized("c_int8", path, model, after, (calibration, images, on))
        return replace(result, memory=self._memory(source, 8))

    def _quantized(
        self, kind: str, path: Path, model: Any, after: float, split: tuple[Images, Images, str]
    ) -> Exported:
        calibration, held_out, on = split
        before = accuracy(self.onnx.SerializeToString(), held_out)
        numbers, weight_bytes = stored(model)
        return Exported(
            kind, path.name, path.stat().st_size, weight_bytes, numbers, self.parameters,
            accuracy={"float32": before, "int8": after, "cost": before - after,
                      "images": len(held_out), "on": on, "calibrated_on": len(calibration)},
        )  # fmt: skip

    def _memory(self, source: CSource, bits: int) -> Memory:
        """What the C source takes beside what a budget of so many bits counts."""
        config = self.run.config
        limits = BudgetConfig(bits=bits, max_weight_bytes=1, max_activation_bytes=1)  # type: ignore[arg-type]
        _, measures = measure(config.model, config.data, limits)
        counted = {m.name: m.value for m in measures}
        return Memory(source.ram_bytes, counted["activation_bytes"], counted["weight_bytes"])

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


def export(run: SavedRun, formats: Sequence[str], folder: Path) -> list[Exported]:
    """Write the formats into a folder, each checked, and export.json with the figures.

    Raises:
        UserError: the onnx extra or the run's images are missing, these are of other classes by now,
            or a check fails.
    """
    if set(formats) - {"torch"}:
        require_onnx()
    classes, changed = changed_images(run)
    if classes:
        raise UserError(
            f"{run.config.data.path}: it no longer holds the classes that the network was trained on "
            f"({classes}), so nothing can be checked on it. Put its images back."
        )
    exporter = Exporter(run, load(run.config.data), folder)
    results = [exporter.export(kind) for kind in formats]
    limit = run.config.budget.max_parameters
    write_json(
        folder / "export.json",
        {"run": run.summary["model"], "parameters": run.summary["parameters"],
         "max_parameters": limit, "input": "pixels, float32 NCHW in 0-1", "opset": OPSET,
         "class_names": list(run.class_names), "images_changed": changed or None,
         "exports": [asdict(r) for r in results]},
    )  # fmt: skip
    return results

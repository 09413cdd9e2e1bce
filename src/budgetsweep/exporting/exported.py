"""What was written, and what was measured of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetsweep.network.cost import FLOAT_BYTES
from budgetsweep.network.saved import SavedRun
from budgetsweep.runs.images import changed_images


@dataclass(frozen=True)
class Memory:
    """What C source takes on a device, beside what a budget counts; bytes."""

    ram: int  # static: all maps of one image
    counted_ram: int
    counted_flash: int


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
    memory: Memory | None = None  # C source


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
        if r.memory:
            lines.append(
                f"  on the device: {r.memory.ram:,} bytes of RAM (the budget counts "
                f"{r.memory.counted_ram:,}), {r.weight_bytes:,} of flash for its numbers (counted "
                f"{r.memory.counted_flash:,}), and its code; no heap"
            )
    _, changed = changed_images(run)
    if changed:
        lines.append(
            f"the images in {run.config.data.path} have changed since the run ({changed}): what is "
            "measured here is of others than it saw, and it may have been trained on some of them"
        )
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

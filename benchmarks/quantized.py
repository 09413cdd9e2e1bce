"""What 8 bits make of networks that were trained over seeds: bytes, and accuracy on the test set.

python -m benchmarks.quantized FOLDER ...

A folder holds one network's runs, such as multirun/curve-4k/replicate/trial-3. Each is quantized after
training, as `budgetsweep export --format c_int8` does, and read by onnxruntime. Nothing is chosen by what
comes out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._measure import Report, Table, say, table
from budgetsweep.data import load
from budgetsweep.exporting.exporter import Exporter
from budgetsweep.exporting.int8 import quantize, split_for_int8
from budgetsweep.exporting.onnx import accuracy, stored
from budgetsweep.network.saved import load_run
from budgetsweep.runs.statistics import Interval, interval

# As their authors tell of single networks, weights of a few bits: kB of weights, test accuracy in percent.
BITNET = {11.0: 99.55, 9.3: 99.44, 7.3: 99.28, 3.2: 98.92}


def of_run(folder: Path) -> dict[str, Any]:
    """One run's network in 8 bits, beside what it was."""
    run = load_run(folder)
    dataset = load(run.config.data)
    model = quantize(Exporter(run, dataset, folder).onnx, split_for_int8(dataset)[0], whole=True)
    return {
        "seed": run.config.seed,
        "parameters": run.summary["parameters"],
        "bytes": stored(model)[1],
        "float32": run.summary["test_accuracy"],
        "int8": accuracy(model.SerializeToString(), dataset.test()),
    }


def percent(over_seeds: Interval) -> str:
    return "{:.2f} % ({:.2f} to {:.2f})".format(
        *(100 * x for x in (over_seeds.mean, over_seeds.low, over_seeds.high))
    )


def quantized(folders: Sequence[Path]) -> tuple[Any, Table]:
    """Every network's mean over its runs; others' figures below."""
    figures, rows = {}, []
    for folder in folders:
        runs = []
        for path in sorted(p.parent for p in folder.glob("*/model.pt")):
            runs.append(of_run(path))
            say(f"{path}: {runs[-1]}")
        name = f"{runs[0]['parameters']:,} parameters"
        figures[name] = runs
        means = [percent(interval([run[k] for run in runs])) for k in ("float32", "int8")]
        rows.append([f"{name}, {len(runs)} seeds", f"{runs[0]['bytes'] / 1000:.1f} kB", *means])
    for size, told in BITNET.items():
        rows.append(["BitNetMCU, as told", f"{size} kB", "", f"{told} %"])
    headings = ["network", "weights", "float32, mean (95 %)", "8 bits, mean (95 %)"]
    return figures, table("MNIST, all 10,000 test images", headings, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("folders", type=Path, nargs="+", help="of one network's runs each")
    chosen = options.parse_args(arguments)
    report = Report("quantized", argparse.Namespace(quick=False))
    report.add("quantized", *quantized(chosen.folders))
    report.close()


if __name__ == "__main__":
    main()

"""How early a loss tells how a network will end, by running averages and by batch statistics.

python -m benchmarks.looks --images 10000 --epochs 3 --networks 32
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks._measure import (
    Report,
    data_overrides,
    parser,
    run_command,
    scratch,
    table,
    with_sizes,
)


def train(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Random networks of `search=joint` within the budget, each trained whole."""
    with scratch() as folder:
        overrides = [
            "search=joint",
            *data_overrides(options),
            f"data.limit={options.images}",
            f"data.validation={options.validation}",
            f"trainer.epochs={options.epochs}",
            "hydra/sweeper/sampler=random",
            "hydra/sweeper/pruner=none",
            "hydra.sweeper.on_end=[]",
            f"hydra.sweeper.n_trials={options.networks}",
            f"hydra.sweep.dir='{folder}/sweep'",
        ]
        run_command(["-m", "benchmarks.apps.looks", "--multirun", *overrides], folder, 3600)
        return [json.loads(p.read_text()) for p in (folder / "sweep").glob("*/looks.json")]


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's, of values without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    report = Report("looks", options)
    trained = train(options)
    results = [network["result"] for network in trained]
    best, third = int(np.argmin(results)), max(1, len(results) // 3)
    figures, rows = [], []
    for at, step in enumerate(int(look["step"]) for look in trained[0]["looks"]):
        cells = [f"{step}", f"{step / trained[0]['looks'][-1]['step']:.0%}"]
        found: dict[str, float] = {"step": step}
        for way in ("average", "batch"):
            seen = [network["looks"][at][way] for network in trained]
            found[f"{way}_correlation"] = rank_correlation(seen, results)
            found[f"{way}_rank_of_best"] = sum(value < seen[best] for value in seen) + 1
            kept = np.argsort(seen)[:third]
            found[f"{way}_best_kept"] = min(results[i] for i in kept)
            cells.append(f"{found[f'{way}_correlation']:.2f}")
            cells.append(f"{found[f'{way}_best_kept']:.4f}")
        figures.append(found)
        rows.append(cells)
    title = (
        f"{len(trained)} random networks of search=joint, {options.epochs} epochs, "
        f"{options.images:,} MNIST images; the best ended at {min(results):.4f}, half of them above "
        f"{np.median(results):.4f}"
    )
    headings = [
        "after steps", "of the training",
        "running averages: rank correlation with the end", "best of the third that goes on",
        "batch statistics: rank correlation with the end", "best of the third that goes on",
    ]  # fmt: skip
    report.add("looks", {"looks": figures, "networks": trained}, table(title, headings, rows))
    report.close()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--images", type=int, help="for training (10,000)")
    options.add_argument("--validation", type=int, help="images (2,000)")
    options.add_argument("--epochs", type=int, help="(3)")
    options.add_argument("--networks", type=int, help="(32)")
    chosen = options.parse_args(arguments)
    usual = {"images": 10_000, "validation": 2_000, "epochs": 3, "networks": 32}
    quick = {"images": 2_560, "validation": 100, "epochs": 1, "networks": 3}
    return with_sizes(chosen, usual, quick)


if __name__ == "__main__":
    main()

"""What pruning saves, and what it does to the best value: the same sweep with and without it.

python -m benchmarks.pruning --images 10000 --epochs 3 --trials 10 --seeds 4
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._measure import (
    Report,
    Spread,
    data_overrides,
    parser,
    ratios,
    run_command,
    say,
    scratch,
    table,
    times,
    with_sizes,
)
from benchmarks._trials import SweepFolder

PRUNERS = {"without": "none", "with asha": "asha"}


def sweep(folder: Path, pruner: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One sweep over widths, two workers."""
    folder = folder / f"{pruner}-{seed}"
    overrides = [
        "search=widths",
        *data_overrides(options),
        f"data.limit={options.images}",
        f"data.validation={options.validation}",
        f"trainer.epochs={options.epochs}",
        f"hydra/sweeper/pruner={pruner}",
        f"hydra.sweeper.sampler.seed={seed}",
        f"hydra.sweeper.n_trials={options.trials}",
        f"hydra.sweep.dir='{folder}'",
    ]
    wall = run_command(["-m", "budgetsweep.train", "--multirun", *overrides], folder, 600)
    trained = SweepFolder(folder).trained()
    found = [t.value for t in trained if t.value is not None]
    return {
        "seconds": wall,
        "epochs": sum(t.epochs for t in trained),
        "pruned": sum(t.value is None for t in trained),
        "trained": len(trained),
        "best": min(found, default=math.inf),
    }


def rows(figures: dict[str, list[dict[str, Any]]], seeds: Sequence[int]) -> list[list[str]]:
    """A line a seed and pruner, then the ratios over all seeds."""
    lines = []
    for turn, seed in enumerate(seeds):
        for name in PRUNERS:
            f = figures[name][turn]
            counts = [f"{f['trained']}", f"{f['pruned']}", f"{f['epochs']:.1f}"]
            lines.append(
                [f"seed {seed}, {name}", *counts, f"{f['seconds']:.0f}", f"{f['best']:.4f}"]
            )
    off, on = (figures[name] for name in PRUNERS)

    def over(key: str) -> str:
        return times(ratios([f[key] for f in on], [f[key] for f in off]))

    return [*lines, ["with / without", "", "", over("epochs"), over("seconds"), over("best")]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    report = Report("pruning", options)
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in PRUNERS}
    seeds = range(options.seeds)
    with scratch() as folder:
        for seed in seeds:
            for name, pruner in PRUNERS.items():
                figures[name].append(sweep(folder, pruner, seed, options))
                last = figures[name][-1]
                say(
                    f"  seed {seed}, {name}: {last['epochs']:.1f} epochs, {last['seconds']:.0f} s, "
                    f"best {last['best']:.4f}"
                )
    title = (
        f"{options.trials} trained trials of up to {options.epochs} epochs, {options.images:,} "
        "MNIST images, 2 workers"
    )
    headings = ["sweep", "trained", "of them pruned", "epochs", "s", "best validation loss"]
    content = table(title, headings, rows(figures, seeds))
    saved = [
        1 - on["epochs"] / off["epochs"]
        for off, on in zip(*(figures[name] for name in PRUNERS), strict=True)
    ]
    report.add("sweeps", {**figures, "share_of_epochs_saved": Spread.of(saved)}, content)
    report.close()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--images", type=int, help="for training (10,000)")
    options.add_argument("--validation", type=int, help="images (2,000)")
    options.add_argument("--epochs", type=int, help="of a whole trial (3)")
    options.add_argument("--trials", type=int, help="to train (10)")
    options.add_argument("--seeds", type=int, help="of the sampler (4)")
    chosen = options.parse_args(arguments)
    usual = {"images": 10_000, "validation": 2_000, "epochs": 3, "trials": 10, "seeds": 4}
    quick = {"images": 256, "validation": 100, "epochs": 3, "trials": 3, "seeds": 1}
    return with_sizes(chosen, usual, quick)


if __name__ == "__main__":
    main()

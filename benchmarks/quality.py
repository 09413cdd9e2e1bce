"""The time to a network as good as the stock sweeper's: judged over seeds, not by the run that chose it.

python -m benchmarks.quality --pairs 3

A pair is two sweeps of the widths under 20,000 parameters, one after the other on the whole machine: the
stock sweeper over the plain loop until it has trained `--trials` networks whole, then ours
(search=shapes, the same widths at the full budget, pruned as by default) for a share of that time.
What either would have returned at a time, the best of its runs until then, is trained again under
fresh seeds by one and the same command, and judged by the test images, which no sweep reads.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omegaconf import OmegaConf

from benchmarks._measure import (
    Command,
    Report,
    Table,
    data_overrides,
    parser,
    read_lines,
    run_command,
    say,
    scratch,
    table,
    with_sizes,
)
from benchmarks._trials import SweepFolder
from benchmarks.endtoend import MANY, Bench, stock

CAREFUL = [
    "threads=1",
    "hydra/launcher=joblib",
    "hydra.launcher.n_jobs=2",
    "hydra.sweeper.n_jobs=2",
]
SHARES = (0.1, 0.2, 0.5)  # of the stock's time, in the table
FIRST_SEED = 100


@dataclass
class Returned:
    """A network that a sweep would have returned from some time on."""

    after: float  # s from the command
    network: list[str]  # overrides
    chosen_by: float  # validation loss of the one run
    losses: list[float]  # of the test images, a fresh seed each
    accuracies: list[float]

    @property
    def loss(self) -> float:
        return statistics.mean(self.losses)


@dataclass
class Pair:
    """What the stock sweep returned at its end, and ours on the way."""

    seconds: float  # of the stock sweep
    stock: Returned
    ours: list[Returned]
    trained: int  # by ours, to the end or until given up

    def reached(self) -> float:
        """Seconds after which ours returns a network as good, and does so to the end; else infinity."""
        after = math.inf
        for found in reversed(self.ours):
            if found.loss > self.stock.loss:
                break
            after = found.after
        return after

    def at(self, seconds: float) -> Returned | None:
        """What ours would have returned then."""
        return next((r for r in reversed(self.ours) if r.after <= seconds), None)


def stock_sweep(bench: Bench, name: str) -> tuple[float, float, list[str]]:
    """The seconds of a sweep of the stock's, the loss of its best run, and its network."""
    outcome = stock(bench, name, CAREFUL)
    trace = read_lines(bench.folder / name / "trace.jsonl")
    best = next(t for t in trace if t["what"] == "trained" and t["value"] == outcome.best)
    network = [f"model.layers.{row}.width={width}" for row, width in best["widths"].items()]
    return outcome.seconds, outcome.best, network


def our_sweep(bench: Bench, name: str, seconds: float) -> tuple[list[Returned], int]:
    """What ours would have returned from when on, within these seconds, and how many it trained."""
    folder, options = bench.folder / name, bench.options
    sweep = SweepFolder(folder)
    command = [
        "-m", "budgetsweep.train", "--multirun", "search=shapes", *bench.data,
        f"hydra.sweep.dir='{folder}'", f"trainer.epochs={options.epochs}",
        f"hydra.sweeper.n_trials={MANY}", f"hydra.sweeper.sampler.seed={options.seed}",
    ]  # fmt: skip
    with Command(command, folder, bench.cache) as running:
        running.watch(lambda: time.time() > running.started + seconds, math.inf)
        trained = [t for t in sweep.trained() if t.ended <= running.started + seconds]
    found: list[Returned] = []
    for trial in trained:
        if trial.value is not None and (not found or trial.value < found[-1].chosen_by):
            network = ["budget.fit=true", *widths(trial.folder)]
            found.append(Returned(trial.ended - running.started, network, trial.value, [], []))
    say(f"  {name}: {len(trained)} trained in {seconds:.0f} s, the best changed {len(found)} times")
    return found, len(trained)


def widths(folder: Path) -> list[str]:
    """What a candidate of ours has of its own."""
    given = OmegaConf.to_container(OmegaConf.load(folder / ".hydra" / "overrides.yaml"))
    assert isinstance(given, list)
    return [text for text in given if text.startswith("model.layers.")]


def judge(bench: Bench, name: str, found: Returned) -> None:
    """Train it under fresh seeds, in one format for all, and read the test images after each."""
    folder, options = bench.folder / name, bench.options
    seeds = f"seed=range({FIRST_SEED},{FIRST_SEED + options.seeds})"
    command = [
        "-m", "budgetsweep.train", "--multirun", "hydra/sweeper=basic", "hydra.launcher.n_jobs=2",
        "trainer=quick", "trainer.test=true", *bench.data, f"hydra.sweep.dir='{folder}'", seeds, *found.network,
        f"trainer.epochs={options.epochs}", "trainer.precision=fp32", "trainer.threads=1",
    ]  # fmt: skip
    run_command(command, folder, options.timeout, bench.cache)
    runs = [json.loads(file.read_text()) for file in sorted(folder.glob("*/summary.json"))]
    assert len(runs) == options.seeds, folder
    found.losses = [run["test_loss"] for run in runs]
    found.accuracies = [run["test_accuracy"] for run in runs]
    say(f"  {name}: test loss {found.loss:.4f}, by its one run {found.chosen_by:.4f}")


def pair(bench: Bench, number: int) -> Pair:
    """The stock sweep, then ours."""
    seconds, best, network = stock_sweep(bench, f"stock-{number}")
    theirs = Returned(seconds, network, best, [], [])
    ours, trained = our_sweep(bench, f"ours-{number}", max(SHARES) * seconds)
    for i, found in enumerate([theirs, *ours]):
        judge(bench, f"judged-{number}-{i}", found)
    return Pair(seconds, theirs, ours, trained)


def shown(found: Returned | None) -> str:
    """A network's true loss and accuracy in a table."""
    if found is None:
        return "nothing yet"
    deviation = statistics.stdev(found.losses) if len(found.losses) > 1 else math.nan
    return f"{found.loss:.4f} (sd {deviation:.4f}), {100 * statistics.mean(found.accuracies):.2f} %"


def as_table(options: argparse.Namespace, pairs: Sequence[Pair]) -> Table:
    rows = []
    for number, found in enumerate(pairs):
        reached = found.reached()
        there = math.isfinite(reached)
        rows.append(
            [
                f"{number}",
                f"{found.seconds:.0f}",
                shown(found.stock),
                *(shown(found.at(share * found.seconds)) for share in SHARES),
                f"{reached:.0f}" if there else "not reached",
                f"{reached / found.seconds:.2f}" if there else "",
            ]
        )
    headings = [
        "pair", "stock, s", "test loss of its network",
        *(f"of ours after {share:g} of that time" for share in SHARES),
        "ours as good from, s", "share",
    ]  # fmt: skip
    title = (
        f"{options.trials} whole trainings of {options.epochs} epochs by the stock sweeper, "
        f"{options.images:,} MNIST images, 2 workers; each network judged over {options.seeds} fresh seeds"
    )
    return table(title, headings, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    report = Report("quality", options)
    pairs = []
    with scratch() as folder:
        data = [
            *data_overrides(options),
            f"data.limit={options.images}",
            f"data.validation={options.validation}",
        ]
        for number in range(options.pairs):
            options.seed = number
            bench = Bench(options, folder, data)
            bench.write_indices()
            pairs.append(pair(bench, number))
            say(
                f"pair {number}: as good after {pairs[-1].reached():.0f} s of {pairs[-1].seconds:.0f}"
            )
    report.add("pairs", [asdict(found) for found in pairs], as_table(options, pairs))
    report.close()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--images", type=int, help="for training (10,000)")
    options.add_argument("--validation", type=int, help="images (2,000)")
    options.add_argument("--epochs", type=int, help="of a trial (3)")
    options.add_argument("--trials", type=int, help="that the stock sweeper trains (24)")
    options.add_argument("--pairs", type=int, help="of sweeps (3)")
    options.add_argument("--seeds", type=int, help="that judge a network (6)")
    options.add_argument("--timeout", type=float, default=1800, help="s, of one sweep")
    chosen = options.parse_args(arguments)
    usual = {
        "images": 10_000,
        "validation": 2_000,
        "epochs": 3,
        "trials": 24,
        "pairs": 3,
        "seeds": 6,
    }
    quick = {"images": 640, "validation": 200, "epochs": 1, "trials": 2, "pairs": 1, "seeds": 2}
    return with_sizes(chosen, usual, quick)


if __name__ == "__main__":
    main()

"""The time to a network as good as the stock sweeper's: judged over seeds, not by the run that chose it.

python -m benchmarks.quality --turns 3

A turn is sweeps of the widths under 20,000 parameters, one after the other on the whole machine: the
stock sweeper over the plain loop until it has trained `--trials` networks whole, then ours
(search=shapes, the same widths at the full budget) for a share of that time, once with its default
pruner and once without any.
What the stock returns at its end, and ours would have returned at any time, the best of the runs until
then, is trained again under fresh seeds by one and the same command, and judged by the test images, which
no sweep reads.
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
    RESULTS,
    Command,
    Report,
    Table,
    parser,
    read_lines,
    run_command,
    say,
    scratch,
    table,
    with_sizes,
)
from benchmarks._trials import SweepFolder
from benchmarks.endtoend import CAREFUL, Bench, our_command, stock

OURS = {"pruned as by default": [], "all whole": ["hydra/sweeper/pruner=none"]}
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
class Sweep:
    """One of ours."""

    returned: list[Returned]  # in order of time
    trained: int  # to the end or until given up

    def reached(self, loss: float) -> float:
        """Seconds after which it returns a network as good, and does so to the end; else infinity."""
        after = math.inf
        for found in reversed(self.returned):
            if found.loss > loss:
                break
            after = found.after
        return after

    def at(self, seconds: float) -> Returned | None:
        """What it would have returned then."""
        return next((r for r in reversed(self.returned) if r.after <= seconds), None)


@dataclass
class Turn:
    """What the stock sweeper returned at its end, and ours on the way."""

    seconds: float  # of the stock sweep
    stock: Returned
    ours: dict[str, Sweep]


def stock_sweep(bench: Bench, name: str) -> tuple[float, float, list[str]]:
    """The seconds of a sweep of the stock's, the loss of its best run, and its network."""
    outcome = stock(bench, name, CAREFUL)
    trace = read_lines(bench.folder / name / "trace.jsonl")
    best = next(t for t in trace if t["what"] == "trained" and t["value"] == outcome.best)
    network = [f"model.layers.{row}.width={width}" for row, width in best["widths"].items()]
    return outcome.seconds, outcome.best, network


def our_sweep(bench: Bench, name: str, seconds: float, settings: Sequence[str]) -> Sweep:
    """What ours would have returned from when on, within these seconds."""
    folder = bench.folder / name
    sweep = SweepFolder(folder)
    command = our_command(bench, folder, "search=shapes", *settings)
    with Command(command, folder, bench.cache) as running:
        running.watch(lambda: time.time() > running.started + seconds, math.inf)
        trained = [t for t in sweep.trained() if t.ended <= running.started + seconds]
    found: list[Returned] = []
    for trial in trained:
        if trial.value is not None and (not found or trial.value < found[-1].chosen_by):
            network = ["budget.fit=true", *widths(trial.folder)]
            found.append(Returned(trial.ended - running.started, network, trial.value, [], []))
    say(f"  {name}: {len(trained)} trained in {seconds:.0f} s, the best changed {len(found)} times")
    return Sweep(found, len(trained))


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


def turn(bench: Bench, number: int, last: Turn | None) -> Turn:
    """The stock sweep, unless it is known, then what is not known of ours."""
    if last is None:
        seconds, best, network = stock_sweep(bench, f"stock-{number}")
        last = Turn(seconds, Returned(seconds, network, best, [], []), {})
        judge(bench, f"judged-{number}-stock", last.stock)
    for i, (words, settings) in enumerate(OURS.items()):
        if words not in last.ours:
            seconds = max(SHARES) * last.seconds
            last.ours[words] = sweep = our_sweep(bench, f"ours-{number}-{i}", seconds, settings)
            for j, found in enumerate(sweep.returned):
                judge(bench, f"judged-{number}-{i}-{j}", found)
    return last


def kept(options: argparse.Namespace) -> list[Turn]:
    """The turns of the last result."""
    turns = json.loads((RESULTS / "quality.json").read_text())["figures"]["turns"]
    return [
        Turn(
            t["seconds"],
            Returned(**t["stock"]),
            {
                words: Sweep([Returned(**r) for r in sweep["returned"]], sweep["trained"])
                for words, sweep in t["ours"].items()
            },
        )
        for t in turns[: options.turns]
    ]


def shown(found: Returned | None) -> str:
    """A network's true loss and accuracy in a table."""
    if found is None:
        return "nothing yet"
    deviation = statistics.stdev(found.losses) if len(found.losses) > 1 else math.nan
    return f"{found.loss:.4f} (sd {deviation:.4f}), {100 * statistics.mean(found.accuracies):.2f} %"


def as_table(options: argparse.Namespace, turns: Sequence[Turn]) -> Table:
    rows = []
    for number, found in enumerate(turns):
        rows.append(
            [f"{number}, stock", f"{found.seconds:.0f}", "", "", shown(found.stock), "", ""]
        )
        for words, sweep in found.ours.items():
            reached = sweep.reached(found.stock.loss)
            there = math.isfinite(reached)
            rows.append(
                [
                    f"{number}, ours, {words}",
                    f"{max(SHARES) * found.seconds:.0f}",
                    *(shown(sweep.at(share * found.seconds)) for share in SHARES),
                    f"{reached:.0f}" if there else "not reached",
                    f"{reached / found.seconds:.2f}" if there else "",
                ]
            )
    headings = [
        "sweep", "s", *(f"test loss after {share:g} of the stock's time" for share in SHARES[:-1]),
        f"at the end (ours: {max(SHARES):g} of it)", "as good from, s", "share",
    ]  # fmt: skip
    title = (
        f"{options.trials} whole trainings of {options.epochs} epochs by the stock sweeper, "
        f"{options.images:,} MNIST images, 2 workers; each network judged over {options.seeds} fresh seeds"
    )
    return table(title, headings, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    last = kept(options) if options.go_on else []
    report = Report("quality", options)
    turns = []
    with scratch() as folder:
        bench = Bench.within(folder, options)
        for number in range(options.turns):
            options.seed = number  # of the samplers
            turns.append(turn(bench, number, last[number] if number < len(last) else None))
    report.add("turns", [asdict(found) for found in turns], as_table(options, turns))
    report.close()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--images", type=int, help="for training (10,000)")
    options.add_argument("--validation", type=int, help="images (2,000)")
    options.add_argument("--epochs", type=int, help="of a trial (3)")
    options.add_argument("--trials", type=int, help="that the stock sweeper trains (24)")
    options.add_argument("--turns", type=int, help="of all sweeps (3)")
    options.add_argument("--go-on", action="store_true", help="keep the last result's sweeps")
    options.add_argument("--seeds", type=int, help="that judge a network (6)")
    options.add_argument("--timeout", type=float, default=1800, help="s, of one sweep")
    chosen = options.parse_args(arguments)
    usual = {
        "images": 10_000,
        "validation": 2_000,
        "epochs": 3,
        "trials": 24,
        "turns": 3,
        "seeds": 6,
    }
    quick = {"images": 640, "validation": 200, "epochs": 1, "trials": 2, "turns": 1, "seeds": 2}
    return with_sizes(chosen, usual, quick)


if __name__ == "__main__":
    main()

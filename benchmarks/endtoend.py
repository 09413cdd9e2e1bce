"""A sweep from start to end: the stock sweeper with the plain loop as its task, against ours.

python -m benchmarks.endtoend --images 10000 --epochs 3 --trials 24

Both search the widths of `search=widths` under 20,000 parameters, on the same MNIST images, and
are timed from the command to the end of the last of `--trials` trained trials. The stock sweeper
knows no budget: its task returns infinity for a candidate over it, without training. Ours then
goes on, if need be, until it reaches the stock's best value.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from benchmarks._measure import (
    REPOSITORY,
    RESULTS,
    Command,
    Report,
    Table,
    data_overrides,
    parser,
    read_lines,
    say,
    scratch,
    table,
    with_sizes,
)
from benchmarks._sides import Child, Setting, Side, compose_config
from benchmarks._trials import SweepFolder
from budgetsweep.data import load
from budgetsweep.data.split import stratified
from hydra_budget_sweeper.compose import flatten
from hydra_budget_sweeper.space.patterns import expand

MANY = 10_000  # trials to ask for; the sweep is ended when it has trained enough
SWEEP_TIMEOUT = 1800.0
CAREFUL = [  # as such a user sets the stock sweeper up
    "threads=1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2",
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """One sweep."""

    seconds: float  # from the command to the end of the last trained trial that was asked for
    best: float  # validation loss among them
    epochs: float  # trained by them
    over_budget: int  # proposals in the meantime
    history: list[tuple[float, float]]  # (seconds, value) of each trained trial, in order
    reached: float = math.nan  # seconds until the value to be reached


@dataclass
class Bench:
    """What the sweeps share."""

    options: argparse.Namespace
    folder: Path
    data: list[str]

    @classmethod
    def within(cls, folder: Path, options: argparse.Namespace) -> Bench:
        """Its images chosen, the same for all sweeps."""
        images = [f"data.limit={options.images}", f"data.validation={options.validation}"]
        bench = cls(options, folder, [*data_overrides(options), *images])
        bench.write_indices()
        return bench

    @property
    def indices(self) -> Path:
        return self.folder / "indices.pt"

    @property
    def cache(self) -> Path:
        """Ours finds the dataset here as tensors, as on every start but a machine's first."""
        return self.folder / "cache"

    def write_indices(self) -> None:
        """Let the plain loop train and validate on the very images that ours does."""
        os.environ["XDG_CACHE_HOME"] = str(self.cache)
        load(compose_config(*self.data).data)  # fetches and checks the files
        from torchvision.datasets import MNIST

        labels = MNIST(str(Path(self.options.root).expanduser()), train=True).targets
        held_out = stratified(labels, self.options.validation, 0)
        rest = torch.ones(len(labels), dtype=torch.bool)
        rest[held_out] = False
        rest = rest.nonzero().squeeze(1)
        train = rest[stratified(labels[rest], self.options.images, 0)]
        torch.save([train, held_out], self.indices)


def loader_workers(bench: Bench) -> int:
    """Give the plain loop its best number of loader processes beside two threads."""
    say("the plain loop's best number of loader processes, 2 threads")
    steps = 3 if bench.options.quick else 40
    rates = {}
    with Child(Setting(2, steps, data_overrides(bench.options), keep_memory=False)) as child:
        for n in (0, 2):
            child.prepare(Side("plain", loader_workers=n))
        for n in (0, 2):
            rates[n] = child.measure(Side("plain", loader_workers=n))
            say(f"  {n}: {rates[n]:,.0f} images/s")
    return max(rates, key=lambda n: rates[n])


def space() -> list[str]:
    """The search space of `search=widths`, as overrides that both sweepers read."""
    conf = REPOSITORY / "conf"
    search = OmegaConf.load(conf / "search" / "widths.yaml")
    network = flatten(OmegaConf.load(conf / "model" / "reference.yaml"))
    params = OmegaConf.select(search, "hydra.sweeper.params")
    texts = {key: str(value) for key, value in network.items()}
    return [f"{key}={values}" for key, values in expand(params, texts, "params").items()]


def stock(bench: Bench, name: str, settings: Sequence[str]) -> Outcome:
    """The stock sweeper over the plain loop, until it has trained enough."""
    options, folder = bench.options, bench.folder / name.replace(" ", "_").replace(",", "")
    trace = folder / "trace.jsonl"
    command = [
        "-m", "benchmarks.apps.plain", "--multirun", f"hydra.sweep.dir='{folder}'",
        f"root='{Path(options.root).expanduser().absolute()}'", f"indices='{bench.indices}'",
        f"trace='{trace}'", f"epochs={options.epochs}", f"hydra.sweeper.n_trials={MANY}",
        f"hydra.sweeper.sampler.seed={options.seed}", *settings, *space(),
    ]  # fmt: skip
    progress = Progress(name, options.trials)

    def trained() -> list[dict[str, Any]]:
        return [line for line in read_lines(trace) if line["what"] == "trained"]

    with Command(command, folder) as running:
        running.watch(lambda: progress.reached(len(trained())), options.timeout)
    rows = sorted(trained(), key=lambda row: row["time"])[: options.trials]
    history = [(row["time"] - running.started, row["value"]) for row in rows]
    if not history:
        raise RuntimeError(f"{name}: nothing was trained; see {running.log}")
    before = [x for x in read_lines(trace) if x["time"] <= rows[-1]["time"]]
    return Outcome(
        seconds=history[-1][0],
        best=min(value for _, value in history),
        epochs=options.epochs * len(history),
        over_budget=sum(x["what"] == "over_budget" for x in before),
        history=history,
    )


def our_command(bench: Bench, folder: Path, *settings: str) -> list[str]:
    """A sweep of ours that is ended from outside."""
    return [
        "-m", "budgetsweep.train", "--multirun", *bench.data, f"hydra.sweep.dir='{folder}'",
        f"trainer.epochs={bench.options.epochs}", f"hydra.sweeper.n_trials={MANY}",
        f"hydra.sweeper.sampler.seed={bench.options.seed}", *settings,
    ]  # fmt: skip


def ours(
    bench: Bench, name: str, target: float, patience: float, settings: Sequence[str] = ()
) -> Outcome:
    """Our sweeper over our training, until it has trained enough and, given `patience` seconds,
    reached the target."""
    options, folder = bench.options, bench.folder / name.replace(" ", "_").replace(",", "")
    command = our_command(bench, folder, "search=widths", *settings)
    sweep, progress = SweepFolder(folder), Progress(name, options.trials)
    deadline = time.time() + patience

    def done() -> bool:
        trained = sweep.trained()
        found = any(t.value is not None and t.value <= target for t in trained)
        return progress.reached(len(trained)) and (found or time.time() > deadline)

    with Command(command, folder, bench.cache) as running:
        running.watch(done, options.timeout)
        trained = sweep.trained()
    if not trained:
        raise RuntimeError(f"{name}: nothing was trained; see {running.log}")
    history = [
        (t.ended - running.started, math.inf if t.value is None else t.value) for t in trained
    ]
    counted = history[: options.trials]
    return Outcome(
        seconds=counted[-1][0],
        best=min(value for _, value in counted),
        epochs=sum(t.epochs for t in trained[: options.trials]),
        over_budget=sweep.over_budget(until=counted[-1][0] + running.started),
        history=history,
        reached=first_at(history, target),
    )


@dataclass
class Progress:
    """Says when another trial has been trained."""

    name: str
    wanted: int
    seen: int = 0

    def reached(self, n: int) -> bool:
        if n != self.seen:
            say(f"  {self.name}: {n} trained, {self.wanted} wanted")
            self.seen = n
        return n >= self.wanted


def first_at(history: list[tuple[float, float]], target: float) -> float:
    """Seconds until a value at or below the target; NaN if there was none."""
    return next((seconds for seconds, value in history if value <= target), math.nan)


def row(name: str, outcome: Outcome, ours_outcome: Outcome | None) -> list[str]:
    """A line of the table; against ours where another outcome is given."""
    cells = [name, f"{outcome.seconds:.0f}", f"{outcome.best:.4f}", f"{outcome.epochs:.1f}"]
    if ours_outcome is None:
        return [*cells, "", "", ""]
    reached = first_at(ours_outcome.history, outcome.best)
    took = "not reached" if math.isnan(reached) else f"{reached:.0f}"
    faster = "" if math.isnan(reached) else f"{outcome.seconds / reached:.1f} ×"
    return [*cells, f"{outcome.seconds / ours_outcome.seconds:.1f} ×", took, faster]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    report = Report("endtoend", options)
    outcomes: dict[str, Outcome] = {}
    with scratch() as folder:
        bench = Bench.within(folder, options)
        try:
            if options.ours_only:
                outcomes |= kept(options)
            else:
                run_stock(bench, loader_workers(bench), outcomes)
            run_ours(bench, outcomes)
        except RuntimeError as error:
            say(f"not all sweeps went well: {error}")
    report.add("sweeps", {n: vars(o) for n, o in outcomes.items()}, as_table(options, outcomes))
    report.close()
    return 0 if "ours" in outcomes else 1


def as_table(options: argparse.Namespace, outcomes: dict[str, Outcome]) -> Table:
    headings = [
        "sweep", "s", "best validation loss", "epochs trained",
        "s / ours", "ours reached its best after, s", "s / that",
    ]  # fmt: skip
    title = (
        f"{options.trials} trained trials of {options.epochs} epochs, {options.images:,} MNIST "
        f"images, {options.validation:,} for validation, 20,000 parameters"
    )
    ours = outcomes.get("ours")
    rows = [row(n, o, ours if n.startswith("stock") else None) for n, o in outcomes.items()]
    return table(title, headings, rows)


def run_stock(bench: Bench, workers: int, outcomes: dict[str, Outcome]) -> None:
    """The stock's defaults, then a careful user's settings."""
    default = f"stock, one trial at a time, 2 threads, {workers} loader processes"
    settings = ["threads=2", f"loader_workers={workers}"]
    outcomes[default] = stock(bench, "stock, its defaults", settings)
    careful = stock(bench, "stock, careful", CAREFUL)
    outcomes["stock, joblib, 2 workers of 1 thread"] = careful


def run_ours(bench: Bench, outcomes: dict[str, Outcome]) -> None:
    """Ours, which may go on to the stock's best value for as long as the stock took."""
    target = min(outcome.best for outcome in outcomes.values())
    patience = max(outcome.seconds for outcome in outcomes.values())
    outcomes["ours"] = ours(bench, "ours", target, patience)
    if bench.options.unpruned:
        none = ["hydra/sweeper/pruner=none"]
        outcomes["ours, no pruning"] = ours(bench, "ours, no pruning", target, 0, none)


def kept(options: argparse.Namespace) -> dict[str, Outcome]:
    """The stock's sweeps of the last result.

    Raises:
        RuntimeError: it was of other sizes.
    """
    last = json.loads((RESULTS / "endtoend.json").read_text())
    for name in ("images", "validation", "epochs", "trials", "seed"):
        if last["options"][name] != getattr(options, name):
            raise RuntimeError(f"the last result had --{name} {last['options'][name]}")
    say(f"the stock's sweeps are those of {last['date']}")
    sweeps = last["figures"]["sweeps"]
    return {name: Outcome(**s) for name, s in sweeps.items() if name.startswith("stock")}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--images", type=int, help="for training (10,000)")
    options.add_argument("--validation", type=int, help="images (2,000)")
    options.add_argument("--epochs", type=int, help="of a trial (3)")
    options.add_argument("--trials", type=int, help="to train (24)")
    options.add_argument("--seed", type=int, default=0, help="of the samplers")
    options.add_argument("--ours-only", action="store_true", help="keep the stock's last sweeps")
    options.add_argument("--unpruned", action="store_true", help="ours without pruning, too")
    options.add_argument("--timeout", type=float, default=SWEEP_TIMEOUT, help="s, of one sweep")
    chosen = options.parse_args(arguments)
    usual = {"images": 10_000, "validation": 2_000, "epochs": 3, "trials": 24}
    quick = {"images": 640, "validation": 200, "epochs": 1, "trials": 2}
    return with_sizes(chosen, usual, quick)


if __name__ == "__main__":
    sys.exit(main())

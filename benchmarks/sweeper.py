"""What a sweeper costs: ours and the stock one on the same task, which does nothing.

python -m benchmarks.sweeper [--full]: --full adds 1,000 trials of the stock sweeper.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._measure import (
    APPS,
    Report,
    Spread,
    in_turns,
    parser,
    ratios,
    read_lines,
    run_command,
    say,
    scratch,
    table,
    times,
)
from benchmarks.apps.noop import seconds as task_seconds

SIDES = {"ours": "budget", "stock": "optuna"}
NAMES = "abcdef"
SPACE = [f"{name}=range(0,1000)" for name in NAMES]
WORKERS = (1, 2)
LAUNCHERS = {"ours": "forkserver", "stock": "joblib"}  # for two workers; for one, basic
SHORTEST = 0.2  # seconds, of the trials that take 0.2 to 2
TIMEOUT = 600


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    trials: tuple[int, ...]
    repeats: dict[int, int]  # trials → turns
    growth: tuple[int, ...]  # sizes of the study to look at
    infeasible: int  # trials to train where one candidate in twenty fits
    uneven: int  # trials whose times differ tenfold


DEFAULT = Sizes((10, 100), {10: 3, 100: 2}, (100, 300, 1000), 10, 20)
QUICK = Sizes((4, 8), {4: 2, 8: 1}, (8, 16, 24), 2, 4)


@dataclass
class Sweep:
    """One finished sweep of the task that does nothing."""

    wall: float  # seconds, the whole command
    trace: list[dict[str, Any]]

    def at(self, what: str) -> list[float]:
        return sorted(line["time"] for line in self.trace if line["what"] == what)

    def further(self) -> float:
        """Seconds from the start of one trial to the next, on average."""
        starts = self.at("start")
        return (starts[-1] - starts[0]) / (len(starts) - 1)

    def at_size(self, size: int) -> float:
        """Seconds a trial when the study holds about `size` of them."""
        window = self.at("start")[size - 1 - max(4, size // 10) : size]
        return (window[-1] - window[0]) / (len(window) - 1)

    def infeasible(self) -> list[float]:
        """Seconds from each candidate over the limit to the next candidate."""
        asked = [line for line in self.trace if line["what"] == "asked"]
        pairs = itertools.pairwise(asked)
        return [b["time"] - a["time"] for a, b in pairs if a["over"] > 0]


def sweep(
    folder: Path, side: str, sampler: str, workers: int, n_trials: int, extra: Sequence[str] = ()
) -> Sweep:
    """Run a sweep in a process of its own, as from the command line."""
    folder = folder / f"{time.time_ns()}"
    overrides = [
        f"hydra/sweeper={SIDES[side]}",
        f"hydra/sweeper/sampler={sampler}",
        "hydra.sweeper.sampler.seed=1",
        f"hydra.sweep.dir='{folder}'",
        f"hydra.sweeper.n_trials={n_trials}",
        f"hydra.sweeper.n_jobs={workers}",
        f"hydra/launcher={'basic' if workers == 1 else LAUNCHERS[side]}",
        *([] if workers == 1 else [f"hydra.launcher.n_jobs={workers}"]),
        f"trace='{folder}/trace.jsonl'",
    ]
    command = [str(APPS / "noop.py"), "--multirun", *overrides, *SPACE]
    wall = run_command([*command, *extra], folder, TIMEOUT)
    return Sweep(wall, read_lines(folder / "trace.jsonl"))


def overhead(report: Report, folder: Path, sizes: Sizes, trials: Sequence[int]) -> None:
    """Seconds a trial, ours and the stock's in turns."""
    figures, rows = {}, []
    for sampler in ("random", "tpe"):
        for workers in WORKERS:
            for n in trials:
                part = f"{sampler}, {workers} worker{'s' * (workers > 1)}, {n} trials"
                say(part)
                measured = compare(folder, sampler, workers, n, sizes.repeats.get(n, 1))
                figures[part] = measured
                rows.append(overhead_row([sampler, str(workers), f"{n:,}"], measured, n))
    headings = [
        "sampler", "workers", "trials",
        "ours, s a trial (whole command)", "stock", "stock / ours",
        "ours, ms each further trial", "stock", "stock / ours",
    ]  # fmt: skip
    title = "Cost of a trial whose task does nothing; median (lowest–highest)"
    report.add("overhead", figures, table(title, headings, rows))


def compare(folder: Path, sampler: str, workers: int, n: int, repeats: int) -> dict[str, Any]:
    sweeps: dict[str, list[Sweep]] = {side: [] for side in SIDES}

    def measure(side: str) -> float:
        sweeps[side].append(sweep(folder, side, sampler, workers, n))
        return sweeps[side][-1].wall

    walls = in_turns({side: functools.partial(measure, side) for side in SIDES}, repeats, "s")
    return {
        side: {"wall": walls[side], "further": [s.further() for s in sweeps[side]]}
        for side in SIDES
    }


def overhead_row(head: list[str], measured: dict[str, Any], n: int) -> list[str]:
    ours, stock = measured["ours"], measured["stock"]
    return [
        *head,
        Spread.of(ours["wall"]).text(3, 1 / n),
        Spread.of(stock["wall"]).text(3, 1 / n),
        times(ratios(stock["wall"], ours["wall"])),
        Spread.of(ours["further"]).text(1, 1000),
        Spread.of(stock["further"]).text(1, 1000),
        times(ratios(stock["further"], ours["further"])),
    ]


def infeasible(report: Report, folder: Path, sizes: Sizes) -> None:
    """What a proposal over the limit costs: it is asked for, composed, checked and told."""
    figures, rows = {}, []
    extra = ["allowed=50", "hydra.sweeper.constraints=noop.limits"]
    for sampler in ("random", "tpe"):
        say(f"infeasible proposals, {sampler}")
        run = sweep(
            folder, "ours", sampler, 1, sizes.infeasible,
            [*extra, "hydra.sweeper.feasibility_samples=0"],
        )  # fmt: skip
        costs = run.infeasible()
        asked = ask_seconds(sampler, max(1, len(costs) // 2), constrained=True)
        figures[sampler] = {"seconds": costs, "sampler_alone": asked}
        # Quartiles: single outliers come from the machine, not from the sweep.
        low, middle, high = statistics.quantiles(costs, n=4) if len(costs) > 1 else costs * 3
        rows.append(
            [
                sampler,
                f"{len(costs):,}",
                f"{1000 * middle:.1f} ({1000 * low:.1f}–{1000 * high:.1f})",
                f"{1000 * asked:.1f}",
            ]
        )
    headings = ["sampler", "proposals over the limit", "ms each", "of that the sampler's own, ms"]
    title = "Cost of a proposal over the limit; median (quartiles)"
    report.add("infeasible", figures, table(title, headings, rows))


def uneven(report: Report, folder: Path, sizes: Sizes, repeats: int) -> None:
    """Trials of 0.2 to 2 s on two workers: what waiting for the slowest costs."""
    n = sizes.uneven
    work = sum(task_seconds(number, SHORTEST) for number in range(n))
    say(f"{n} trials of {SHORTEST:g} to {10 * SHORTEST:g} s, 2 workers")

    def measure(side: str) -> float:
        return sweep(folder, side, "random", 2, n, [f"sleep={SHORTEST}"]).wall

    walls = in_turns({side: functools.partial(measure, side) for side in SIDES}, repeats, "s")
    ideal = work / 2
    rows = [
        [side, Spread.of(walls[side]).text(1), f"{ideal:.1f}",
         times(Spread.of([w / ideal for w in walls[side]]))]
        for side in SIDES
    ]  # fmt: skip
    rows.append(["stock / ours", times(ratios(walls["stock"], walls["ours"])), "", ""])
    headings = ["sweeper", "s, whole command", "half of the tasks' own time, s", "over that"]
    title = f"{n} trials whose times vary tenfold ({SHORTEST:g}–{10 * SHORTEST:g} s), 2 workers"
    figures = {"walls": walls, "task_seconds": work}
    report.add("uneven", figures, table(title, headings, rows))


def growth(report: Report, folder: Path, sizes: Sizes, full: bool) -> None:
    """How a trial's cost grows with the study, and how much of it is the sampler's own."""
    largest = sizes.growth[-1]
    plan = [("ours", s, largest) for s in ("random", "tpe_multivariate", "tpe")]
    # 1,000 trials take the stock sweeper minutes.
    plan += [("stock", "random", largest if full else sizes.growth[-2])]
    plan += [("stock", "tpe", largest)] if full else []
    figures: dict[str, Any] = {}
    rows = []
    for side, sampler, n in plan:
        say(f"growth to {n} trials: {side}, {sampler}")
        name, extra = samplers(sampler)
        run = sweep(folder, side, name, 1, n, extra)
        costs = {size: run.at_size(size) for size in sizes.growth if size <= n}
        alone = {size: ask_seconds(sampler, size) for size in sizes.growth}
        figures[f"{side}, {sampler}"] = {"seconds": costs, "sampler_alone": alone}
        cells = [f"{1000 * costs[s]:.1f}" if s in costs else "—" for s in sizes.growth]
        rows.append([f"{side}, {sampler}", *cells, *[f"{1000 * alone[s]:.1f}" for s in alone]])
    headings = ["sweeper, sampler", *[f"ms at {s:,}" for s in sizes.growth]]
    headings += [f"sampler alone at {s:,}" for s in sizes.growth]
    title = "Cost of a trial as the study grows, 1 worker"
    report.add("growth", figures, table(title, headings, rows))


def samplers(name: str) -> tuple[str, list[str]]:
    """The stock group's option and what to add to it."""
    if name != "tpe_multivariate":
        return name, []
    return "tpe", ["hydra.sweeper.sampler.multivariate=true"]


@functools.cache
def ask_seconds(name: str, size: int, constrained: bool = False, repeats: int = 15) -> float:
    """Seconds of Optuna's own ask and suggest, in memory, with `size` trials in the study."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(sampler=sampler)
    for _ in range(size):
        tell(study, constrained)
    if name != "random":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # multivariate sampling counts as experimental
            study.sampler = optuna.samplers.TPESampler(
                seed=1, multivariate=name == "tpe_multivariate"
            )
    costs = []
    for _ in range(repeats):
        start = time.perf_counter()
        trial = study.ask()
        values = [trial.suggest_int(letter, 0, 999) for letter in NAMES]
        costs.append(time.perf_counter() - start)
        study.tell(trial, sum(values))
    return statistics.median(costs)


def tell(study: Any, constrained: bool) -> None:
    """Add a random trial, over the limit with odds of 19 in 20."""
    import optuna

    trial = study.ask()
    values = [trial.suggest_int(letter, 0, 999) for letter in NAMES]
    if constrained:
        trial.set_constraint("a", (values[0] - 49) / 50)
    over = constrained and values[0] > 49
    state = optuna.trial.TrialState.PRUNED if over else optuna.trial.TrialState.COMPLETE
    study.tell(trial, None if over else sum(values), state=state)


def budget_check(report: Report, repeats: int) -> None:
    """The product's own constraint: build on the meta device, count, compare."""
    from hydra import compose, initialize_config_dir

    from budgetsweep.config import CONF_DIR, register
    from budgetsweep.network.budget import violations

    register()
    with initialize_config_dir(str(CONF_DIR)):
        configs = [compose("config", [f"model.layers.conv2.width={w}"]) for w in (8, 16, 24)]
    violations(configs[0])
    costs = []
    for turn in range(repeats):
        start = time.perf_counter()
        violations(configs[turn % len(configs)])
        costs.append(time.perf_counter() - start)
    text = Spread.of(costs).text(1, 1000)
    content = table("Counting a network against its budget", ["what", "ms"], [["one check", text]])
    report.add("budget_check", costs, content)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--full", action="store_true", help="1,000 trials of the stock one, too")
    chosen: argparse.Namespace = options.parse_args(arguments)
    sizes = QUICK if chosen.quick else DEFAULT
    trials = (*sizes.trials, 1000) if chosen.full else sizes.trials
    report = Report("sweeper", chosen)
    with scratch() as folder:
        budget_check(report, 5 if chosen.quick else 50)
        infeasible(report, folder, sizes)
        overhead(report, folder, sizes, trials)
        uneven(report, folder, sizes, 1 if chosen.quick else 2)
        growth(report, folder, sizes, chosen.full)
    report.close()


if __name__ == "__main__":
    main()

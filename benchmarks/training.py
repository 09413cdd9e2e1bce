"""One training run: ours, the plain loop and the bare computation; scaling, augmentation, start-up.

python -m benchmarks.training --root data
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks._measure import (
    APPS,
    Report,
    Spread,
    data_overrides,
    in_turns,
    parser,
    ratios,
    run_command,
    say,
    scratch,
    table,
    times,
)
from benchmarks._sides import Child, Setting, Side, measure_in_turns
from benchmarks._trials import SweepFolder


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    repeats: int
    steps: int  # a turn
    start_ups: int
    batch_sizes: tuple[int, ...]
    images: tuple[int, ...]


DEFAULT = Sizes(4, 50, 3, (32, 128, 512, 1024), (1_280, 5_120, 20_480))
QUICK = Sizes(2, 3, 1, (32, 128), (256, 512))

OURS, OURS_PLAIN_IMAGES, BARE = Side("ours"), Side("ours", augment=False), Side("bare")


@dataclass
class Bench:
    """What all parts share."""

    report: Report
    sizes: Sizes
    data: list[str]
    real: bool = True

    def child(
        self, threads: int, steps: int | None = None, keep_memory: bool = True, *more: str
    ) -> Child:
        steps = steps or self.sizes.steps
        return Child(Setting(threads, steps, [*self.data, *more], not self.real, keep_memory))


def one_run(bench: Bench, threads: int) -> None:
    """Ours against the plain loop at its best, and against the ceiling."""
    loaders = (0, 2) if threads > 1 else (0,)
    plain = [Side("plain", augment, n) for augment in (True, False) for n in loaders]
    say(f"one run, {threads} threads")
    with bench.child(threads) as ours, bench.child(threads, keep_memory=False) as theirs:
        children = {OURS: ours, **dict.fromkeys(plain, theirs), OURS_PLAIN_IMAGES: ours, BARE: ours}
        rates, told = measure_in_turns(children, bench.sizes.repeats)
    bench.real = told["real_data"]
    rows = [
        [str(side), Spread.of(rates[side]).text(), *one_run_ratios(side, rates)] for side in rates
    ]
    images = "MNIST" if bench.real else "random images"
    title = (
        f"One run, {plural(threads, 'thread')}, batch 128, {images}, images/s "
        f"(ours: {', '.join(set(told['formats'].values()))})"
    )
    figures = {"rates": {str(s): r for s, r in rates.items()}, **told}
    headings = ["way to train", "images/s", "ours / this", "this / bare computation"]
    bench.report.add(f"one_run_{threads}", figures, table(title, headings, rows))


def one_run_ratios(side: Side, rates: dict[Side, list[float]]) -> list[str]:
    ours = OURS if side.augment else OURS_PLAIN_IMAGES
    over = times(ratios(rates[ours], rates[side])) if side.kind == "plain" else ""
    return [over, times(ratios(rates[side], rates[BARE]))]


def scaling(bench: Bench) -> None:
    """Two processes of one thread against twice one."""
    say("scaling: two processes of one thread")
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(bench.child(1)) for _ in range(2)]
        for child in children:
            child.prepare(OURS)

        def pair() -> float:
            for child in children:
                child.start(OURS)
            return sum(child.finish() for child in children)

        sides: dict[str, Callable[[], float]] = {
            "first alone": lambda: children[0].measure(OURS),
            "second alone": lambda: children[1].measure(OURS),
            "both": pair,
        }
        rates = in_turns(sides, bench.sizes.repeats, "images/s")
    twice = [a + b for a, b in zip(rates["first alone"], rates["second alone"], strict=True)]
    efficiency = ratios(rates["both"], twice)
    single = Spread.of([*rates["first alone"], *rates["second alone"]])
    rows = [
        ["one process", single.text(), ""],
        ["two at once", Spread.of(rates["both"]).text(), times(efficiency)],
    ]
    headings = ["processes of one thread", "images/s together", "of twice one"]
    content = table("Two workers against twice one", headings, rows)
    bench.report.add("scaling", {"rates": rates, "efficiency": efficiency}, content)


PRESETS = ("affine", "crop_flip", "photo", "strong")  # of conf/augment/


def augmentation(bench: Bench) -> None:
    """What augmenting adds to a step of the reference, 1 thread, on MNIST's images and CIFAR's size."""
    plain, presets = Side("ours", preset="none"), [Side("ours", preset=p) for p in PRESETS]
    rows, figures = [[preset] for preset in PRESETS], {}
    images = {"1×28×28": [], "3×32×32": ["data.channels=3", "data.size=32"]}
    for shape, data in images.items():
        say(f"augmentation, {shape}")
        with bench.child(1, None, True, *data) as child:
            sides = dict.fromkeys([plain, *presets], child)
            rates, _ = measure_in_turns(sides, bench.sizes.repeats)
        for row, side in zip(rows, presets, strict=True):
            longer = ratios(rates[plain], rates[side])
            figures[f"{side.preset}, {shape}"] = longer
            row.append(times(longer))
    headings = ["augment", *(f"step, of one without: {shape}" for shape in images)]
    bench.report.add(
        "augmentation", figures, table("A step with augmentation, 1 thread", headings, rows)
    )


def growth(bench: Bench) -> None:
    """Images a second by batch size and by size of the dataset, one thread."""
    images = [Side("ours", images=n) for n in bench.sizes.images]
    rows, figures = [], {}
    batches = [Side("ours", batch_size=n) for n in bench.sizes.batch_sizes]
    say("growth, 1 thread")
    with bench.child(1, steps=max(3, bench.sizes.steps // 5)) as child:
        rates, _ = measure_in_turns(dict.fromkeys([*batches, *images], child), 2)
    for side, values in rates.items():
        seconds = [(side.images or side.batch_size) / v for v in values]
        unit = "epoch" if side.images else "step"
        figures[str(side)] = values
        rows.append([str(side), Spread.of(values).text(), Spread.of(seconds).text(3), unit])
    headings = ["ours", "images/s", "s", "a"]
    bench.report.add(
        "growth", figures, table("By batch and dataset size, 1 thread", headings, rows)
    )


def start_up(bench: Bench, options: argparse.Namespace, folder: Path) -> None:
    """Seconds from the command to the first training loss, and between trials of a worker."""
    if not bench.real:
        say("start-up is left out: it needs MNIST's files")
        return
    say("start-up")
    root = Path(options.root).expanduser().absolute()
    ours = ["budgetsweep.train", *bench.data, f"hydra.run.dir='{folder}/ours'"]
    plain = ["benchmarks.apps.plain", f"root='{root}'", f"hydra.run.dir='{folder}/plain'"]
    warm = folder / "cache"
    first_batch(folder, ours, warm)
    sides = {
        "ours": lambda: first_batch(folder, ours, warm),
        "ours, the first": lambda: first_batch(folder, ours),
        "plain loop": lambda: first_batch(folder, plain),
    }
    seconds = in_turns(sides, bench.sizes.start_ups, "s")
    gaps, setups = between_trials(folder, bench.data, 3 if bench.report.quick else 6)
    rows = [
        ["command to first training loss, ours", Spread.of(seconds["ours"]).text(2)],
        ["the same, the first time with a dataset", Spread.of(seconds["ours, the first"]).text(2)],
        ["the same, plain loop", Spread.of(seconds["plain loop"]).text(2)],
        ["one trial's end to the next one's first batch, ours, in a worker",
         Spread.of(setups).text(3)],
        ["all a trial takes beside training and evaluation, ours, in a worker",
         Spread.of(gaps).text(3)],
    ]  # fmt: skip
    figures = {"first_batch": seconds, "between_trials": gaps, "of_that_setup": setups}
    bench.report.add("start_up", figures, table("Start-up", ["what", "s"], rows))


def first_batch(folder: Path, module: Sequence[str], cache: Path | None = None) -> float:
    """Seconds to the first loss; without a cache, none is left from an earlier start."""
    folder = folder / f"{time.time_ns()}"
    said = folder / "first_batch"
    started = time.time()
    run_command([str(APPS / "first_batch.py"), str(said), *module], folder, cache=cache)
    return float(said.read_text()) - started


def between_trials(folder: Path, data: list[str], n: int) -> tuple[list[float], list[float]]:
    """What trials after the first take beside training, and the part before their first batch."""
    sweep = folder / "trials"
    command = ["-m", "budgetsweep.train", "--multirun", "search=widths", *data]
    command += ["data.limit=640", "data.validation=100", "trainer.epochs=1"]
    command += [
        "hydra/sweeper/pruner=none",
        "hydra/launcher=basic",
        "hydra.sweeper.n_jobs=1",
        f"hydra.sweeper.n_trials={n}",
    ]
    run_command([*command, f"hydra.sweep.dir='{sweep}'"], folder / "log")
    trials = SweepFolder(sweep).trained()
    gaps, setups = [], []
    for before, trial in itertools.pairwise(trials):
        summary = json.loads((trial.folder / "summary.json").read_text())
        gap = trial.ended - before.ended - summary["train_seconds"] - summary["evaluate_seconds"]
        gaps.append(gap)
        setups.append(summary["setup_seconds"])
    return gaps, setups


def plural(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__).parse_args(arguments)
    bench = Bench(
        Report("training", options), QUICK if options.quick else DEFAULT, data_overrides(options)
    )
    for threads in (1, 2):
        one_run(bench, threads)
    scaling(bench)
    augmentation(bench)
    with scratch() as folder:
        start_up(bench, options, folder)
    growth(bench)
    bench.report.close()


if __name__ == "__main__":
    main()

"""Trials a second by storage and number of workers, and what a thousand workers would get: simulated.

python -m benchmarks.storages [--postgres postgresql+psycopg://user@host/name]: with a server, which is not
started here, PostgreSQL and the storage proxy before it are measured, too.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import os
import random
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._measure import (
    APPS,
    Command,
    Report,
    parser,
    read_lines,
    run_command,
    say,
    scratch,
    table,
)

SPACE = [f"{name}=range(0,1000)" for name in "abcdef"]
TABLE = Path(__file__).parent / "tables" / "mnist.jsonl"
WORKERS = (1, 8, 64, 256, 1000)  # simulated
TIMEOUT = 1800


@dataclass(frozen=True)
class Costs:
    """What a trial that takes no time costs one worker: seconds, mean of all trials."""

    whole: float
    locked: float  # of it with the lock held that all workers share


def sweep(folder: Path, url: str | None, workers: int, n: int) -> Path:
    """Run a sweep of trials that take no time; return its folder."""
    folder = folder / f"{time.time_ns()}"
    overrides = [
        "hydra/sweeper=budget", "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1",
        f"hydra.sweep.dir='{folder}'", f"hydra.sweeper.n_trials={n}",
        f"hydra.sweeper.n_jobs={workers}",
        f"hydra/launcher={'basic' if workers == 1 else 'forkserver'}",
        f"trace='{folder}/trace.jsonl'",
    ]  # fmt: skip
    if url:
        overrides.append(f"hydra.sweeper.storage='{url}'")
    run_command([str(APPS / "claims.py"), "--multirun", *overrides, *SPACE], folder, TIMEOUT)
    return folder


def rate(folder: Path) -> float:
    """Trials a second from the first that began to the last: their starts."""
    lines = read_lines(folder / "trace.jsonl")
    starts = sorted(line["time"] for line in lines if line["what"] == "start")
    return (len(starts) - 1) / (starts[-1] - starts[0])


def measured(
    folder: Path, url: str | None, n: int, crowd: Sequence[int]
) -> tuple[Costs, dict[int, float]]:
    """What a trial costs one worker, and the trials a second of several."""
    file = folder / f"claims-{time.time_ns()}"
    os.environ["CLAIMS"] = str(file)
    alone = rate(sweep(folder, url, 1, n))
    # Several locks a trial, to claim it, to admit it, to tell it; one worker waits for none.
    held = sum(map(float, file.read_text().split())) / n
    rates = {1: alone}
    for workers in crowd:
        os.environ["CLAIMS"] = os.devnull
        rates[workers] = rate(sweep(folder, url, workers, n))
        say(f"  {workers} workers: {rates[workers]:.1f} trials/s")
    return Costs(1 / alone, held), rates


def simulated(costs: Costs, workers: int, seconds: Callable[[], float], trials: int) -> float:
    """The share of their time that so many workers train, each on a core of its own.

    A worker holds the lock for `costs.locked` a trial, first come, first served; what else a trial
    costs it does beside the others.
    """
    beside = costs.whole - costs.locked
    free_at, claimed, taken = 0.0, [], []
    ready = [(random.random() * seconds(), worker) for worker in range(workers)]
    heapq.heapify(ready)
    for _ in range(trials):
        now, worker = heapq.heappop(ready)
        free_at = max(now, free_at) + costs.locked
        claimed.append(free_at)
        taken.append(seconds())
        heapq.heappush(ready, (free_at + beside + taken[-1], worker))
    begun = trials // 5  # until then they come to the lock as they were started
    each_second = (trials - 1 - begun) / (claimed[-1] - claimed[begun])
    return each_second * statistics.mean(taken) / workers


@contextlib.contextmanager
def served(url: str, folder: Path) -> Iterator[str]:
    """Start the storage proxy before a database; return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        "-m",
        "hydra_budget_sweeper.serve_storage",
        url,
        "--port",
        str(port),
        "--threads",
        "20",
    ]
    with Command(words, folder / "proxy") as proxy:
        proxy.watch(lambda: "until Ctrl-C" in proxy.log.read_text(), 60)
        yield f"grpc://localhost:{port}"


def measure(report: Report, folder: Path, options: argparse.Namespace) -> dict[str, Costs]:
    """Measure each storage that there is."""
    places: dict[str, str | None] = {"journal": None, "SQLite": f"sqlite:///{folder}/study.db"}
    found: dict[str, Costs] = {}
    figures, rows = {}, []
    with contextlib.ExitStack() as stack:
        if options.postgres:
            places["PostgreSQL"] = options.postgres
            places["PostgreSQL, proxy"] = stack.enter_context(served(options.postgres, folder))
        for name, url in places.items():
            say(name)
            found[name], rates = measured(folder, url, options.trials, options.crowd)
            costs = found[name]
            figures[name] = {"whole": costs.whole, "locked": costs.locked, "rates": rates}
            rows.append(
                [name, f"{1000 * costs.whole:.0f}", f"{1000 * costs.locked:.0f}",
                 *(f"{rates[n]:.1f}" for n in (1, *options.crowd))]
            )  # fmt: skip
    headings = ["storage", "ms a trial, one worker", "of that with the lock held"]
    headings += [f"trials/s, {n} worker{'s' * (n > 1)}" for n in (1, *options.crowd)]
    title = f"{options.trials} trials that take no time, random sampler"
    report.add("storages", figures, table(title, headings, rows))
    return found


def simulate(report: Report, found: dict[str, Costs], trials: int) -> None:
    """How much of their time workers would train, with trials as long as real ones."""
    real = [json.loads(line)["seconds"] for line in TABLE.read_text().splitlines()]
    figures, rows = {}, []
    for name, costs in found.items():
        for part in (1, 60):  # whole trainings, and trials that take a sixtieth of one
            shares = {
                n: simulated(
                    costs, n, lambda part=part: random.choice(real) / part, trials * max(n, 10)
                )
                for n in WORKERS
            }
            mean = statistics.mean(real) / part
            figures[f"{name}, {mean:.3g} s"] = shares
            rows.append(
                [
                    name,
                    f"{mean:.3g}",
                    f"{mean / costs.locked:,.0f}",
                    *(f"{100 * s:.0f} %" for s in shares.values()),
                ]
            )
    headings = [
        "storage",
        "s a trial, mean",
        "workers at which the lock is all",
        *(f"{n:,}" for n in WORKERS),
    ]
    title = "Simulated: share of its time that each of so many workers trains"
    report.add("simulated", figures, table(title, headings, rows))


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--postgres", metavar="URL", help="of a server's database")
    options.add_argument("--trials", type=int, default=300, help="of a sweep (300)")
    options.add_argument(
        "--crowd", type=int, nargs="*", default=[8], help="numbers of workers beside 1 (8)"
    )
    chosen: Any = options.parse_args(arguments)
    if chosen.quick:
        chosen.trials = 20
    random.seed(0)
    # Where the database is is nobody's affair.
    shown = argparse.Namespace(**vars(chosen) | {"postgres": bool(chosen.postgres)})
    report = Report("storages", shown)
    with scratch() as folder:
        simulate(report, measure(report, folder, chosen), 5 if chosen.quick else 50)
    report.close()


if __name__ == "__main__":
    main()

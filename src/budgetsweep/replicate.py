"""`python -m budgetsweep.replicate`: what several seeds say, with intervals.

One run varies by its seed, and the best of many single runs is mostly luck. `seeds` sums up the
runs of one configuration; `compare` trains a sweep's finalists and the reference over the same
seeds and says which differ.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from budgetsweep.arguments import positive
from budgetsweep.errors import BudgetError, UserError
from budgetsweep.files import write_json, write_text
from budgetsweep.run import SUMMARY

RESULT = "replication"
LEADERBOARD = "leaderboard.json"
REFERENCE = "reference"
FIRST_SEED = 1_000  # apart from the seeds of sweeps


@dataclass(frozen=True)
class Interval:
    """Mean, standard deviation and 95 % confidence interval of the mean (Student's t)."""

    n: int
    mean: float
    sd: float
    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """The 95 % t-interval of the mean; infinitely wide for a single value."""
    n, mean = len(values), statistics.fmean(values)
    if n < 2:
        return Interval(n, mean, math.nan, -math.inf, math.inf)
    from scipy.stats import t

    sd = statistics.stdev(values)
    half = float(t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return Interval(n, mean, sd, mean - half, mean + half)


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """The summaries of the finished runs in `folder`'s sub-folders, by seed.

    Raises:
        UserError: there is no such folder, no run in it, or one that did not read the test set.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    paths = sorted(folder.glob(f"*/{SUMMARY}"))
    runs = [json.loads(path.read_text()) for path in paths]
    if not runs:
        raise UserError(f"{folder}: no finished runs (*/{SUMMARY}); train some seeds first.")
    if any(run["test_accuracy"] is None for run in runs):
        raise UserError(f"{folder}: runs without a test accuracy; train with trainer.test=true.")
    return sorted(runs, key=lambda run: run["seed"])


def seeds_table(runs: Sequence[dict[str, Any]], published: float | None) -> str:
    """A markdown table: each seed, then mean, sd and interval, against the published figure."""
    stats = interval([run["test_accuracy"] for run in runs])
    first = runs[0]
    lines = [
        "| seed | test accuracy | test loss | parameters | train seconds |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['seed']} | {r['test_accuracy']:.2%} | {r['test_loss']:.4f} | {r['parameters']:,} "
        f"| {r['train_seconds']:.0f} |"
        for r in runs
    ]
    spread = (
        f", sd {100 * stats.sd:.3f} points, 95 % interval {stats.low:.3%} to {stats.high:.3%}"
        if stats.n > 1
        else ""
    )
    lines.append(
        f"\nmean {stats.mean:.3%}{spread} ({stats.n} seeds, {first['parameters']:,} parameters, "
        f"last of {first['epochs']} epochs)"
    )
    if published is not None:
        lines.append(
            f"published: {published:.2%}; difference {100 * (stats.mean - published):+.3f} points"
        )
    return "\n".join(lines)


def seeds(folder: Path, published: float | None) -> str:
    """Sum up one configuration's seeds; written to replication.md and .json in the folder."""
    runs = read_runs(folder)
    text = seeds_table(runs, published)
    stats = interval([run["test_accuracy"] for run in runs])
    write_json(folder / f"{RESULT}.json", {"published": published, **asdict(stats), "runs": runs})
    write_text(folder / f"{RESULT}.md", text + "\n")
    return text


def compare(
    sweep: Path, top: int, n_seeds: int, overrides: Sequence[str], *, together: bool = False
) -> str:
    """Train the reference and the sweep's `top` finalists over seeds, and compare them.

    The finalists are those the sweep selected by validation; the test set is read once a run.
    Runs that are finished, from an earlier call, are not repeated. A reference over the sweep's
    budget is left out, and the finalists are compared with the best of them. `together`: all seeds
    of a network are trained as one batched network; see `budgetsweep.ensemble`.
    """
    groups = networks(sweep, top)
    why_not = over_budget([*groups[REFERENCE], *overrides])
    if why_not:
        del groups[REFERENCE]
        print(why_not, file=sys.stderr, flush=True)  # the training takes a while
    results: dict[str, list[dict[str, Any]]] = {}
    for name, own in groups.items():
        folder = sweep / "replicate" / name
        _train(folder, [*own, *overrides], n_seeds, together)
        results[name] = read_runs(folder)
    finalists = {name: own for name, own in groups.items() if name != REFERENCE}
    text = comparison_table(results, finalists)
    if why_not:
        text += f"\n\n{why_not}"
    write_json(sweep / "replicate" / f"{RESULT}.json", results)
    write_text(sweep / "replicate" / f"{RESULT}.md", text + "\n")
    return text


def networks(sweep: Path, top: int) -> dict[str, list[str]]:
    """The overrides of the reference and of the `top` finalists, each with all that the sweep set.

    The reference is the sweep's configuration without what was searched.

    Raises:
        UserError: there is no readable leaderboard, or no trial is complete.
    """
    try:
        trials = json.loads((sweep / LEADERBOARD).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{sweep}: no readable {LEADERBOARD} ({error}); is it a sweep?") from None
    done = [t for t in trials if t["state"] == "COMPLETE" and t.get("folder")][:top]
    if not done:
        raise UserError(f"{sweep}: no trial is complete yet.")
    finalists = {f"trial-{t['trial']}": _overrides(sweep / t["folder"]) for t in done}
    searched = {key for t in done for key in t["params"]}
    first = next(iter(finalists.values()))
    return {REFERENCE: [o for o in first if o.split("=")[0] not in searched], **finalists}


def over_budget(overrides: Sequence[str]) -> str:
    """In one line why the reference, of these overrides, is left out; empty where it fits.

    Raises:
        UserError: the overrides do not make a configuration.
    """
    import hydra
    from hydra.errors import HydraException

    from budgetsweep.budget import enforce
    from budgetsweep.config import CONF_DIR, register, to_config

    register()
    try:
        with hydra.initialize_config_dir(str(CONF_DIR)):
            config = to_config(hydra.compose("config", overrides=list(overrides)))
        enforce(config.model, config.data, config.budget)
    except HydraException as error:
        raise UserError(str(error)) from None
    except BudgetError as error:
        return f"The reference is left out, as it is {str(error).partition(';')[0]}."
    return ""


def _overrides(folder: Path) -> list[str]:
    from omegaconf import OmegaConf

    try:
        return [str(o) for o in OmegaConf.load(folder / ".hydra" / "overrides.yaml")]
    except OSError as error:
        raise UserError(f"{folder}: the trial's overrides are missing ({error}).") from None


def _train(folder: Path, overrides: Sequence[str], n_seeds: int, together: bool) -> None:
    """One run a seed: as many at once as there are cores, or all as one batched network."""
    from joblib import Parallel, delayed

    def train(module: str, seed: str, *settings: str) -> int:
        command = [
            sys.executable, "-m", f"budgetsweep.{module}", "trainer.progress=false", *settings,
            *overrides, f"seed={seed}", "trainer.test=true", "resume=true",
            f"hydra.run.dir='{folder}/${{seed}}'",
        ]  # fmt: skip
        return subprocess.run(command, check=False).returncode

    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds)
    if together:
        failed = [train("together", f"range({seeds.start},{seeds.stop})")]
    else:
        runs = (delayed(train)("train", str(seed), "trainer.threads=1") for seed in seeds)
        failed = Parallel(n_jobs=-1, prefer="threads")(runs)
    if any(failed):
        raise UserError(f"training in {folder} failed; the reason is above.")


def comparison_table(
    results: dict[str, list[dict[str, Any]]], finalists: dict[str, list[str]]
) -> str:
    """Each group's interval, and its difference from the first by Welch's t-test.

    The first is the reference, or without one the finalist that the sweep found best.
    """
    from scipy.stats import ttest_ind

    first = next(iter(results))
    reference = [run["test_accuracy"] for run in results[first]]
    against = f"the {first}" if first == REFERENCE else first
    lines = [
        f"| network | parameters | mean | 95 % interval | against {against} |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for name, runs in results.items():
        values = [run["test_accuracy"] for run in runs]
        stats = interval(values)
        verdict = ""
        if name != first and len(values) > 1:
            test = ttest_ind(values, reference, equal_var=False).confidence_interval(0.95)
            verdict = (
                f"{100 * (stats.mean - statistics.fmean(reference)):+.3f} points "
                f"({100 * test.low:+.3f} to {100 * test.high:+.3f}): "
                + _verdict(test.low, test.high)
            )
        lines.append(
            f"| {name} | {runs[0]['parameters']:,} | {stats.mean:.3%} "
            f"| {stats.low:.3%} to {stats.high:.3%} | {verdict} |"
        )
    lines += ["", *(f"{name}: `{' '.join(own)}`" for name, own in finalists.items())]
    return "\n".join(lines)


def _verdict(low: float, high: float) -> str:
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no difference shown"


_EPILOG = """examples:
  python -m budgetsweep.replicate multirun/reproduce-20-epochs --published 0.9945
  python -m budgetsweep.replicate multirun/joint --top 2 --seeds 5 trainer.epochs=20

Of a folder whose sub-folders are runs that differ by seed: mean, standard deviation and 95 %
interval of the test accuracy. Of a sweep: its finalists and the reference (the sweep's
configuration without what was searched) are first trained over the same fresh seeds, in
FOLDER/replicate; then each is compared with the reference by Welch's t-test. A reference over the
sweep's budget is left out, and the finalists are compared with the best of them. Finished runs are
not repeated. The tables are also written as replication.md and replication.json.

More: docs/seeds.md
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m budgetsweep.replicate",
        description="Say what several seeds show: mean, spread and 95 % interval, and whether a\n"
        "sweep's finalists differ from the reference.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("folder", type=Path, help="a folder of seed runs, or a sweep's")
    p.add_argument(
        "--published", type=float, metavar="SHARE", help="a figure to compare with, such as 0.9945"
    )
    p.add_argument("--top", type=positive, default=3, metavar="N", help="finalists of a sweep (3)")
    p.add_argument("--seeds", type=positive, default=5, metavar="N", help="runs of each (5)")
    p.add_argument(
        "--together",
        action="store_true",
        help="train all seeds of a network as one batched network: meant for a GPU, and for tiny "
        "networks; on a CPU, networks of ordinary size are faster without",
    )
    p.add_argument(
        "overrides", nargs="*", metavar="key=value", help="for all runs of a sweep's networks"
    )
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Compare and print; a person's mistake ends with one line."""
    args = parser().parse_intermixed_args(argv)
    try:
        if (args.folder / LEADERBOARD).exists():
            settings = args.top, args.seeds, args.overrides
            print(compare(args.folder, *settings, together=args.together))
        else:
            print(seeds(args.folder, args.published))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

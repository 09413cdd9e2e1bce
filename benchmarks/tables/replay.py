"""What a policy would have made of the networks of a table, replayed hundreds of times in seconds.

python -m benchmarks.tables.replay mnist

A replay draws networks of the table at random, as the random sampler would, and gives each up where the
policy does, until its epochs are spent. It returns the network that the policy thinks best, by the first
half of the validation images and the first seed. How good that is, is told by the other half, and by the
other seeds where the network has them: what is chosen by is never what it is judged by.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from scipy.stats import spearmanr

from benchmarks._measure import Report, Table, table
from benchmarks.tables.make import TABLES

MOST = 400  # networks that a replay may draw
MEASURES = ("loss", "fitted_loss", "soft_error", "error")
SPENT = (12, 24, 36, 48, 72, 96, 144)  # epochs; the last are 24 whole trainings
OVER_TIME = (  # the first, all whole, is what others are held to
    "none",
    "median, by error",
    "hyperband from 15, by error",
    "asha from 135, 1 in 2, by error",
    "asha from 429, 1 in 2, by error",
    "asha from 1215, 1 in 2, by error",
    "asha from a third, 1 in 2, by error",
    "asha from 429, 1 in 3, by training loss",
    "all to 135, then the best 4, by training loss",
)


@dataclass(frozen=True)
class Network:
    """A candidate of a table, and its trainings by seed."""

    name: str
    trainings: list[dict[str, Any]]

    @property
    def looks(self) -> list[dict[str, float]]:
        looks: list[dict[str, float]] = self.trainings[0]["looks"]
        return looks

    @property
    def epochs(self) -> float:
        return float(self.trainings[0]["epochs"])

    def seen(self, measure: str) -> float:
        """What a sweep goes by: the first half of the validation images, one seed."""
        return float(self.trainings[0]["halves"][0][measure])

    def true(self, measure: str = "error") -> float:
        """The other half, averaged over the other seeds where there are some."""
        judges = self.trainings[1:] or self.trainings
        return statistics.mean(t["halves"][1][measure] for t in judges)

    def epochs_until(self, step: float) -> float:
        return step / float(self.trainings[0]["steps_per_epoch"])


def load(name: str) -> list[Network]:
    """The networks of a table, in the order that they were drawn in."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (TABLES / f"{name}.jsonl").read_text().splitlines():
        training = json.loads(line)
        found.setdefault(training["network"], []).append(training)
    networks = [Network(n, sorted(t, key=lambda t: int(t["seed"]))) for n, t in found.items()]
    return sorted(
        (n for n in networks if n.trainings[0]["seed"] == 0),
        key=lambda n: tuple(map(int, n.name.split("-"))),
    )


# --- policies -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a replay returned, what it cost, and how many networks it looked at."""

    network: Network
    epochs: float
    seen: int


# Of networks, as drawn, and the epochs there are.
Policy = Callable[[Sequence[Network], float], Outcome]


def best_of(networks: Sequence[Network], measure: str) -> Network:
    return min(networks, key=lambda n: n.seen(measure))


def pruned_by(make: Callable[[], optuna.pruners.BasePruner], measure: str, look: str) -> Policy:
    """A sweep with one of Optuna's pruners, which is told every look of each network.

    Args:
        make: the pruner, anew for each replay.
        measure: what finished networks are compared by.
        look: what is told on the way: `loss` or `error`, of a look, or `train_loss`, the mean so far.
    """

    def policy(networks: Sequence[Network], epochs: float) -> Outcome:
        study = optuna.create_study(pruner=make())
        spent, seen, whole = 0.0, 0, list[Network]()
        for network in networks:
            if spent >= epochs:
                break
            seen += 1
            trial, end = study.ask(), network.epochs
            for at in network.looks[:-1]:
                trial.report(told(at, look), int(at["step"]))
                if trial.should_prune():
                    end = network.epochs_until(at["step"])
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
            else:
                study.tell(trial, network.seen(measure))
                whole.append(network)
            spent += end
        return Outcome(best_of(whole or networks[:1], measure), spent, seen)

    return policy


def short_then_best(step: int, k: int, measure: str, look: str) -> Policy:
    """As many as there is time for to a small number of steps, then the best `k` whole."""

    def early(network: Network) -> dict[str, float]:
        return next(at for at in network.looks if at["step"] >= step)

    def policy(networks: Sequence[Network], epochs: float) -> Outcome:
        spent, drawn = 0.0, list[Network]()
        for network in networks:
            if spent + k * network.epochs >= epochs:
                break
            drawn.append(network)
            spent += network.epochs_until(early(network)["step"])
        drawn = drawn or list(networks[:1])
        kept = sorted(drawn, key=lambda n: told(early(n), look))[:k]
        spent += sum(n.epochs - n.epochs_until(early(n)["step"]) for n in kept)
        return Outcome(best_of(kept, measure), spent, len(drawn))

    return policy


def told(at: Mapping[str, float], look: str) -> float:
    return 1 - at["accuracy"] if look == "error" else at[look]


def asha(
    first: int | str, factor: int, skipped: int = 0
) -> Callable[[], optuna.pruners.BasePruner]:
    return lambda: optuna.pruners.SuccessiveHalvingPruner(first, factor, skipped)


def policies(measure: str) -> dict[str, Policy]:
    """Everything that is compared, by name."""
    found: dict[str, Policy] = {"none": pruned_by(optuna.pruners.NopPruner, measure, "loss")}
    looks = {"loss": "loss", "error": "error", "train_loss": "training loss"}
    for look, words in looks.items():
        found[f"median, by {words}"] = pruned_by(optuna.pruners.MedianPruner, measure, look)
        found[f"hyperband from 15, by {words}"] = pruned_by(
            lambda: optuna.pruners.HyperbandPruner(15, 4_000, 3), measure, look
        )
        for factor in (2, 3):
            for first in (15, 135, 429, 1_215):
                name = f"asha from {first}, 1 in {factor}, by {words}"
                found[name] = pruned_by(asha(first, factor), measure, look)
        found[f"asha from a third, 1 in 2, by {words}"] = pruned_by(
            asha("auto", 2, 5), measure, look
        )
        for step in (135, 405, 1_215):
            name = f"all to {step}, then the best 4, by {words}"
            found[name] = short_then_best(step, 4, measure, look)
    return found


# --- tables ---------------------------------------------------------------------------------------


def resampled(networks: Sequence[Network], turn: int) -> list[Network]:
    """Another table that these networks might have been: as many of them, with replacement."""
    return random.Random(turn).choices(networks, k=len(networks))


def drawn_from(networks: Sequence[Network], tables: int, times: int) -> list[list[list[Network]]]:
    """What the random sampler proposes, so many times of each resampled table."""
    return [
        [
            random.Random(f"{turn} {time}").choices(resampled(networks, turn), k=MOST)
            for time in range(times)
        ]
        for turn in range(tables)
    ]


def pruning(
    networks: Sequence[Network], epochs: float, tables: int, times: int, measure: str
) -> tuple[Any, Table]:
    """What each policy returns for the same epochs, beside what training all whole does.

    All replays of one table share its chance: the intervals are over tables, resampled.
    """
    draws = drawn_from(networks, tables, times)
    figures, rows = {}, []
    whole: dict[str, np.ndarray[Any, Any]] = {}
    for name, policy in policies(measure).items():
        outcomes = [[policy(drawn, epochs) for drawn in of_table] for of_table in draws]
        flat = [o for of_table in outcomes for o in of_table]
        seen, spent = (statistics.mean(getattr(o, k) for o in flat) for k in ("seen", "epochs"))
        figures[name] = found = {"seen": seen, "epochs": spent}
        for true in ("error", "fitted_loss"):
            means = np.array([[o.network.true(true) for o in ts] for ts in outcomes]).mean(1)
            against = means - whole.setdefault(true, means)
            found[true] = means.mean()
            found[f"{true} against none"] = [against.mean(), *np.quantile(against, [0.025, 0.975])]
        error, loss = (found[f"{true} against none"] for true in ("error", "fitted_loss"))
        rows.append(
            [
                name, f"{seen:.0f}", f"{spent:.0f}", f"{found['error']:.3%}",
                "{:+.3f} ({:+.3f} to {:+.3f})".format(*(100 * e for e in error)),
                "{:+.1f} ({:+.1f} to {:+.1f})".format(*(1000 * e for e in loss)),
            ]
        )  # fmt: skip
    title = f"{epochs:.0f} epochs to spend, {len(networks)} networks, compared by {measure}"
    title += f": {times} replays of each of {tables} resampled tables"
    headings = ["policy", "networks seen", "epochs spent", "error of what is returned"]
    headings += ["against none, points (95 %)", "its fitted loss against none, thousandths (95 %)"]
    return figures, table(title, headings, rows)


def over_time(
    networks: Sequence[Network], tables: int, times: int, compared: Mapping[str, Policy]
) -> tuple[Any, Table]:
    """How good what a policy returns is after so many epochs, and when as good as after 24 whole trainings.

    A replay's own time is that until its network is as good as the one that training all whole returns in the
    end, of the same draws; so the first policy has such times, too.
    """
    draws = [drawn for of_table in drawn_from(networks, tables, times) for drawn in of_table]
    errors_of = {
        name: np.array([[policy(d, e).network.true() for e in SPENT] for d in draws])
        for name, policy in compared.items()
    }
    whole = next(iter(errors_of.values()))
    figures: dict[str, Any] = {}
    rows = []
    for name, errors in errors_of.items():
        means = errors.mean(0)
        enough = [e for e, mean in zip(SPENT, means, strict=True) if mean <= whole.mean(0)[-1]]
        reached = errors <= whole[:, -1:]
        first = np.where(reached.any(1), np.array(SPENT)[reached.argmax(1)], np.inf)
        times_taken = [
            told_epochs(q) for q in np.quantile(first, [0.5, 0.25, 0.75], method="higher")
        ]
        figures[name] = dict(zip(SPENT, means, strict=True))
        rows.append(
            [
                name, *(f"{mean:.3%}" for mean in means), told_epochs(min(enough, default=math.inf)),
                "{} ({}–{})".format(*times_taken),
            ]
        )  # fmt: skip
    title = f"Error of what is returned after so many epochs, {len(draws)} replays"
    headings = ["policy", *(f"{epochs}" for epochs in SPENT), "as 24 whole trainings after"]
    headings.append("as the replay's own 24 after, median (quartiles)")
    return figures, table(title, headings, rows)


def told_epochs(epochs: float) -> str:
    return "more" if math.isinf(epochs) else f"{epochs:.0f}"


def ranking(networks: Sequence[Network]) -> tuple[Any, Table]:
    """How well each measure of one seed tells the error of other seeds on other images."""
    repeated = [n for n in networks if len(n.trainings) > 1]
    what = "other seeds' error" if repeated else "the error on other images, of the same training"
    repeated = repeated or list(networks)
    truth = [n.true() for n in repeated]
    seen: Mapping[str, Callable[[dict[str, Any]], float]] = {
        **{m: lambda t, m=m: t["halves"][0][m] for m in MEASURES},
        **{f"{m}, augmented": lambda t, m=m: t["augmented_first"][m] for m in MEASURES},
        "error, as it is and augmented": lambda t: (
            t["halves"][0]["error"] + 4 * t["augmented_first"]["error"]
        ),
    }
    figures, rows = {}, []
    for name, of in seen.items():
        found = float(spearmanr([of(n.trainings[0]) for n in repeated], truth).statistic)
        figures[name] = found
        rows.append([name, f"{found:.2f}"])
    title = f"{len(repeated)} networks: rank correlation of one seed's figure with {what}"
    return figures, table(title, ["what ranks", "Spearman"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    networks = load(options.name)
    report = Report(f"replay-{options.name}", options)
    report.add("ranking", *ranking(networks))
    report.add(
        "pruning",
        *pruning(networks, options.epochs, options.tables, options.times, options.measure),
    )
    known = policies(options.measure)
    compared = {name: known[name] for name in OVER_TIME}
    report.add("over_time", *over_time(networks, options.tables, options.times, compared))
    report.close()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("name", help="of the table")
    options.add_argument("--epochs", type=float, default=48, help="that a replay may spend (48)")
    options.add_argument("--tables", type=int, default=100, help="resampled (100)")
    options.add_argument("--times", type=int, default=4, help="replays of each (4)")
    options.add_argument(
        "--measure", choices=MEASURES, default="loss", help="what compares networks"
    )
    options.set_defaults(quick=False)
    return options.parse_args(arguments)


if __name__ == "__main__":
    main()

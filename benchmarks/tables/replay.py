"""What a policy would have made of the networks of a table, replayed hundreds of times in seconds.

python -m benchmarks.tables.replay mnist

A replay draws networks of the table in a random order, as the random sampler would, and gives each up
where the policy does. It returns the network that the policy thinks best, by the first half of the
validation images and the first seed. How good that is, is told by the other half, and by the other seeds
where the network has them: what is chosen by is never what it is judged by.
"""

from __future__ import annotations

import argparse
import json
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

MEASURES = ("loss", "fitted_loss", "soft_error", "error")


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
    """What a replay returned, and what it cost."""

    network: Network
    epochs: float


Policy = Callable[[Sequence[Network]], Outcome]


def pruned_by(make: Callable[[], optuna.pruners.BasePruner], measure: str, look: str) -> Policy:
    """A sweep with one of Optuna's pruners, which is told every look of each network.

    Args:
        make: the pruner, anew for each replay.
        measure: what finished networks are compared by.
        look: what is told on the way: `loss`, of a look, or `train_loss`, the mean of all so far.
    """

    def policy(networks: Sequence[Network]) -> Outcome:
        study = optuna.create_study(pruner=make())
        epochs, best = 0.0, None
        for network in networks:
            trial, end = study.ask(), network.epochs
            for seen in network.looks[:-1]:
                trial.report(seen[look], int(seen["step"]))
                if trial.should_prune():
                    end = network.epochs_until(seen["step"])
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
            else:
                study.tell(trial, network.seen(measure))
                if best is None or network.seen(measure) < best.seen(measure):
                    best = network
            epochs += end
        return Outcome(best or networks[0], epochs)

    return policy


def short_then_best(step: int, k: int, measure: str, look: str = "loss") -> Policy:
    """All to a small number of steps, then the best `k` whole."""

    def policy(networks: Sequence[Network]) -> Outcome:
        def early(network: Network) -> dict[str, float]:
            return next(seen for seen in network.looks if seen["step"] >= step)

        kept = sorted(networks, key=lambda n: early(n)[look])[:k]
        spent = sum(n.epochs_until(early(n)["step"]) for n in networks if n not in kept)
        best = min(kept, key=lambda n: n.seen(measure))
        return Outcome(best, spent + sum(n.epochs for n in kept))

    return policy


def asha(first: int, factor: int) -> Callable[[], optuna.pruners.BasePruner]:
    return lambda: optuna.pruners.SuccessiveHalvingPruner(first, factor)


def policies(measure: str) -> dict[str, Policy]:
    """Everything that is compared, by name."""
    found: dict[str, Policy] = {
        "none": pruned_by(optuna.pruners.NopPruner, measure, "loss"),
        "median": pruned_by(optuna.pruners.MedianPruner, measure, "loss"),
        "hyperband from 15": pruned_by(
            lambda: optuna.pruners.HyperbandPruner(15, 4_000, 3), measure, "loss"
        ),
    }
    for look, words in (("loss", "looks"), ("train_loss", "training loss")):
        for factor in (2, 3, 4):
            for first in (15, 45, 135, 405, 1_215):
                name = f"asha from {first}, 1 in {factor}, by {words}"
                found[name] = pruned_by(asha(first, factor), measure, look)
        for step in (135, 405, 1_215):
            for k in (2, 4, 8):
                name = f"all to {step}, then {k}, by {words}"
                found[name] = short_then_best(step, k, measure, look)
    return found


# --- tables ---------------------------------------------------------------------------------------


def replayed(networks: Sequence[Network], policy: Policy, size: int, times: int) -> list[Outcome]:
    """The policy on as many random draws; the same ones for every policy."""
    return [
        policy(random.Random(turn).sample(list(networks), min(size, len(networks))))
        for turn in range(times)
    ]


def pruning(networks: Sequence[Network], size: int, times: int, measure: str) -> tuple[Any, Table]:
    """What each policy returns and costs, over all replays."""
    whole = sum(n.epochs for n in networks) / len(networks) * size
    figures, rows = {}, []
    for name, policy in policies(measure).items():
        outcomes = replayed(networks, policy, size, times)
        errors = np.array([o.network.true() for o in outcomes])
        losses = np.array([o.network.true("loss") for o in outcomes])
        spent = statistics.mean(o.epochs for o in outcomes) / whole
        half_width = 1.96 * errors.std(ddof=1) / len(errors) ** 0.5
        figures[name] = {"error": errors.mean(), "loss": losses.mean(), "epochs": spent}
        rows.append(
            [
                name,
                f"{spent:.0%}",
                f"{errors.mean():.3%} ± {half_width:.3%}",
                f"{losses.mean():.4f}",
            ]
        )
    title = f"{times} replays of {size} of {len(networks)} networks, compared by {measure}"
    headings = ["policy", "epochs trained", "error of what is returned", "its loss"]
    return figures, table(title, headings, rows)


def ranking(networks: Sequence[Network]) -> tuple[Any, Table]:
    """How well each measure of one seed tells the error of other seeds on other images."""
    repeated = [n for n in networks if len(n.trainings) > 1]
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
    title = (
        f"{len(repeated)} networks: rank correlation of one seed's figure with other seeds' error"
    )
    return figures, table(title, ["what ranks", "Spearman"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    networks = load(options.name)
    report = Report(f"replay-{options.name}", options)
    report.add("ranking", *ranking(networks))
    report.add("pruning", *pruning(networks, options.size, options.times, options.measure))
    report.close()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("name", help="of the table")
    options.add_argument("--size", type=int, default=24, help="networks a replay")
    options.add_argument("--times", type=int, default=200, help="replays")
    options.add_argument(
        "--measure", choices=MEASURES, default="loss", help="what compares networks"
    )
    options.set_defaults(quick=False)
    return options.parse_args(arguments)


if __name__ == "__main__":
    main()

"""How well early looks at a network tell its end: by its weights as they are, and by their moving averages.

python -m benchmarks.tables.early mnist [key=value ...]

Trains the networks of a table again under another seed, on the schedule of the whole training, up to
about half of it, and keeps the looks in benchmarks/tables/NAME-early.jsonl. Stopped, it goes on where it was.
A look judges the first half of the validation images; the end is the table's error of the other half.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from hydra import compose, initialize_config_dir
from joblib import Parallel, delayed
from scipy.stats import spearmanr
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks._measure import Report, Table, say, table
from benchmarks.apps.whole import halves, prepared
from benchmarks.tables.make import TABLES, rounded
from benchmarks.tables.replay import (
    Network,
    Outcome,
    Policy,
    asha,
    load,
    over_time,
    pruned_by,
    short_then_best,
)
from budgetsweep.config import CONF_DIR, Config, register, to_config
from budgetsweep.training.early_looks import look

STEPS = (135, 270, 429, 810, 1215)  # of looks; the last ends a training
DECAYS = (0.9, 0.97, 0.99, 0.995)  # of the averages, a step
CHOSEN = 0.99
ALIKE = 10  # steps for which an average is the weights as they are
SIGNALS = {"train_loss": "mean training loss", "loss": "loss", "error": "error"}
SIGNALS |= {f"{k}{d}": f"{k} of an average of decay {d}" for k in ("loss", "error") for d in DECAYS}


class Seen(Exception):
    """All looks are taken."""


def composed(network: Network, seed: int, overrides: Sequence[str]) -> Config:
    """The settings of a table's network under another seed."""
    register()
    training = network.trainings[0]
    with initialize_config_dir(str(CONF_DIR)):
        given = [*training["settings"], "search=best", "data.validation=10000", *overrides]
        own = [f"seed={seed}", f"trainer.epochs={training['epochs']}"]
        return to_config(compose("config", overrides=[*given, *own]))


def seen(network: Network, config: Config) -> dict[str, Any]:
    """The looks at one network in training."""
    trainer, cost, validation = prepared(config)
    assert cost.parameters == network.trainings[0]["parameters"], network.name
    images = validation[halves(len(validation))[0]]
    averages = {
        d: AveragedModel(trainer.network, multi_avg_fn=get_ema_multi_avg_fn(d)) for d in DECAYS
    }
    looks: list[dict[str, float]] = []

    def after_step(step: int) -> None:
        at = trainer.epoch * trainer.steps_per_epoch + step
        for average in averages.values():
            if at <= ALIKE:
                average.module.load_state_dict(trainer.network.state_dict())
            else:
                average.update_parameters(trainer.network)
        if at in STEPS:
            found = {"step": at, "train_loss": trainer.total / at}
            judged = {"": trainer.network, **{str(d): a.module for d, a in averages.items()}}
            for name, weights in judged.items():
                evaluation = look(weights, images, config, trainer.fmt)
                found |= {f"loss{name}": evaluation.loss, f"error{name}": 1 - evaluation.accuracy}
            looks.append(found)
        if at == STEPS[-1]:
            raise Seen

    try:
        while True:
            trainer.train_epoch(after_step)
    except Seen:
        return {"network": network.name, "seed": config.seed, "looks": looks}


def keep(file: Path, network: Network, seed: int, overrides: Sequence[str]) -> None:
    """A line for a network."""
    found = seen(network, composed(network, seed, overrides))
    with file.open("a") as lines:
        lines.write(json.dumps(rounded(found), separators=(",", ":")) + "\n")
    say(f"network {network.name}: {found['looks'][-1]}")


def read(file: Path) -> dict[str, list[dict[str, float]]]:
    """The looks that there are, by network."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {found["network"]: found["looks"] for found in map(json.loads, lines)}


def told(
    networks: Sequence[Network], looks: dict[str, list[dict[str, float]]]
) -> tuple[Any, Table]:
    """Rank correlations of each signal with the end, after each number of steps; 95 % by resampling."""
    truth = np.array(
        [statistics.mean(t["halves"][1]["error"] for t in n.trainings) for n in networks]
    )
    draws = np.random.default_rng(0).integers(len(networks), size=(1000, len(networks)))
    draws = np.vstack([np.arange(len(networks)), draws])  # the first is the table itself
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for signal in SIGNALS:
        given = [np.array([looks[n.name][i][signal] for n in networks]) for i in range(len(STEPS))]
        found[signal] = [
            np.array([spearmanr(of_step[d], truth[d]).statistic for d in draws])
            for of_step in given
        ]
    shown = {SIGNALS[signal]: at for signal, at in found.items()}
    against = zip(found[f"error{CHOSEN}"], found["error"], strict=True)
    shown[f"error, of the average of {CHOSEN} against as it is"] = [a - b for a, b in against]
    figures = {
        words: [[float(v) for v in (c[0], *np.quantile(c[1:], [0.025, 0.975]))] for c in at]
        for words, at in shown.items()
    }
    rows = [
        [words, *("{:.2f} ({:.2f} to {:.2f})".format(*c) for c in at)]
        for words, at in figures.items()
    ]
    title = f"{len(networks)} networks: rank correlation of a look with the error at the end of other trainings"
    return figures, table(title, ["look by", *(f"after {step} steps" for step in STEPS)], rows)


def by_signal(looks: dict[str, list[dict[str, float]]], signal: str, policy: Policy) -> Policy:
    """The policy, told by this signal of the other training in place of the table's own looks."""

    def told_by(network: Network) -> Network:
        early = [{"step": at["step"], "accuracy": 1 - at[signal]} for at in looks[network.name]]
        first, *others = network.trainings
        end = first["looks"][-1]
        return replace(network, trainings=[{**first, "looks": [*early, end]}, *others])

    known: dict[str, Network] = {}

    def chosen(networks: Sequence[Network], epochs: float) -> Outcome:
        for network in networks:
            known.setdefault(network.name, told_by(network))
        return policy([known[network.name] for network in networks], epochs)

    return chosen


def policies(looks: dict[str, list[dict[str, float]]]) -> dict[str, Policy]:
    """None, and each policy by the weights as they are and by an average."""
    found: dict[str, Policy] = {"none": pruned_by(optuna.pruners.NopPruner, "error", "error")}
    plain: dict[str, Policy] = {
        f"asha from {first}, 1 in {factor}": pruned_by(asha(first, factor), "error", "error")
        for first, factor in ((429, 2), (429, 3), (810, 2), (810, 3), (1215, 2))
    }
    for step in (429, 810):
        plain[f"all to {step}, then the best 4"] = short_then_best(step, 4, "error", "error")
    for name, policy in plain.items():
        for signal in ("error", f"error{CHOSEN}"):
            found[f"{name}, by {SIGNALS[signal]}"] = by_signal(looks, signal, policy)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("name", help="of the table")
    options.add_argument("overrides", nargs="*", help="key=value that all its networks have")
    options.add_argument("--seed", type=int, default=77, help="that the table has not (77)")
    options.add_argument("--jobs", type=int, default=2, help="workers of one thread (2)")
    options.add_argument("--read", action="store_true", help="only read what is there")
    options.add_argument("--tables", type=int, default=100, help="resampled, for replays (100)")
    options.add_argument("--times", type=int, default=4, help="replays of each (4)")
    options.set_defaults(quick=False)
    chosen = options.parse_intermixed_args(arguments)
    networks, file = load(chosen.name), TABLES / f"{chosen.name}-early.jsonl"
    # Those with several seeds come first: their ends are the surest.
    todo = sorted(networks, key=lambda n: -len(n.trainings)) if not chosen.read else []
    known = read(file)
    Parallel(n_jobs=chosen.jobs)(
        delayed(keep)(file, n, chosen.seed, chosen.overrides) for n in todo if n.name not in known
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    report = Report(f"early-{chosen.name}", chosen)
    looks = read(file)
    there = [n for n in networks if n.name in looks]
    report.add("early", *told(there, looks))
    report.add("over_time", *over_time(there, chosen.tables, chosen.times, policies(looks)))
    report.close()


if __name__ == "__main__":
    main()

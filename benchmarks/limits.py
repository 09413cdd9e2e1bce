"""Samplers under limits: what ours tells of a candidate that is never trained, against its true value.

python -m benchmarks.limits [--samplers tpe gp] [--seeds 20] [--asks 100]

One closed-form space of six parameters, 63 % of it over the limit, whose best candidates lie at the
limit. Pure Optuna, nothing is trained. The stock way trains what is over the limit too, so its
sampler knows the true values; ours knows the excess alone. Prints a table in Markdown: how far the
best candidate within the limit is from the best there is, after as many asks, and which share of
the asks was within it. Minutes, most of them for gp.
"""

from __future__ import annotations

import argparse
import math
import statistics
import warnings
from collections.abc import Callable
from itertools import product

import optuna
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from hydra_budget_sweeper.study.over_budget import told_over_budget
from hydra_budget_sweeper.study.sampler import Recipe

LIMIT = 4200
ACTIVATIONS = {"relu": 0.01, "silu": 0.0, "tanh": 0.03}
SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "random": optuna.samplers.RandomSampler,
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=False),
    "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=20),
    "nsgaiii": lambda seed: optuna.samplers.NSGAIIISampler(seed=seed, population_size=20),
    "cmaes": optuna.samplers.CmaEsSampler,
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed, scramble=True),
    "gp": optuna.samplers.GPSampler,
}
CLASSES = {"cmaes": optuna.samplers.CmaEsSampler, "gp": optuna.samplers.GPSampler}


def excess(a: int, b: int, c: int) -> float:
    """How far the cost of three layers' widths is over the limit, as a share of it."""
    return (9 * (a * b + b * c) + 10 * c - LIMIT) / LIMIT


def widths_loss(a: int, b: int, c: int) -> float:
    return 1 / a + 1.5 / b + 2 / c


def candidate(trial: Trial) -> tuple[float, float]:
    """Suggest a candidate; return its loss and its excess."""
    a, b, c = (trial.suggest_int(name, 4, 32) for name in "abc")
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    dropout = trial.suggest_float("dropout", 0, 0.5)
    activation = trial.suggest_categorical("activation", list(ACTIVATIONS))
    loss = 0.05 * (math.log10(rate) + 1.5) ** 2 + 0.4 * (dropout - 0.1) ** 2
    return widths_loss(a, b, c) + loss + ACTIVATIONS[activation], excess(a, b, c)


def run(name: str, way: str, seed: int, asks: int) -> tuple[float, float]:
    """Return the best loss within the limit after `asks`, and the share within it."""
    study = optuna.create_study(sampler=SAMPLERS[name](seed=seed))
    recipe = Recipe(CLASSES.get(name, BaseSampler), {}, {})
    fitting: list[FrozenTrial] = []
    for number in range(asks):
        trial = study.ask()
        loss, over = candidate(trial)
        trial.set_constraint("cost", over)
        if over <= 0 or way == "stock":
            study.tell(trial, loss)
        elif way == "pruned":
            study.tell(trial, state=TrialState.PRUNED)
        else:
            asked = study.get_trials(deepcopy=False)[number]
            told = told_over_budget(recipe, [StudyDirection.MINIMIZE], asked, over, fitting)
            study.tell(trial, told[1], told[0])
        if over <= 0:
            fitting.append(study.get_trials(deepcopy=False)[number])
    losses = [t.values[0] for t in fitting]
    return min(losses, default=math.nan), len(losses) / asks


def row(name: str, way: str, seeds: int, asks: int, best: float) -> str:
    results = [run(name, way, seed, asks) for seed in range(seeds)]
    found = [1000 * (loss - best) for loss, _ in results if not math.isnan(loss)]
    share = statistics.mean(share for _, share in results)
    if len(found) < seeds:
        return f"| {name} | {way} | none in {seeds - len(found)} of {seeds} | {100 * share:.0f} % |"
    error = statistics.stdev(found) / math.sqrt(seeds) if seeds > 1 else math.nan
    return f"| {name} | {way} | {statistics.mean(found):.1f} ± {error:.1f} | {100 * share:.0f} % |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    parser.add_argument("--ways", nargs="+", default=["stock", "ours"], help="stock, ours, pruned")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--asks", type=int, default=100)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    fitting = (w for w in product(range(4, 33), repeat=3) if excess(*w) <= 0)
    best = min(widths_loss(*w) for w in fitting)
    print(
        "| sampler | way | best − optimum, ‰ | asks within the limit |\n| --- | --- | ---: | ---: |"
    )
    for name in options.samplers:
        for way in options.ways:
            print(row(name, way, options.seeds, options.asks, best), flush=True)


if __name__ == "__main__":
    main()

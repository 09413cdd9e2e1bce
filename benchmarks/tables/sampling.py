"""What samplers make of the space of a table, replayed on a forest that was fitted to its networks.

python -m benchmarks.tables.sampling fashion

A table's networks are a few points of a space; a sampler proposes others. So a forest that was fitted to
the table stands for the training (a surrogate benchmark, Eggensperger et al. 2015): a candidate's true error
is what the forest says, and what the sampler is told is that of so many images, drawn anew. How far the
forest can be trusted is said first: by networks that it was not fitted to.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optuna
from joblib import Parallel, delayed
from omegaconf import OmegaConf
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction import DictVectorizer
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline

from benchmarks._measure import REPOSITORY, Report, Table, say, table
from benchmarks.tables.best import point
from benchmarks.tables.replay import load
from hydra_budget_sweeper.space.parse import parse_space
from hydra_budget_sweeper.space.space import Space
from hydra_budget_sweeper.study.trials import suggest

IMAGES = 5_000  # validation images that an error is told of
AFTER = (12, 24, 48)  # candidates
WORKERS = 2
SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "random": RandomSampler,
    "TPE, each parameter by itself": partial(TPESampler, multivariate=False),
    "TPE, all together (search=best)": partial(TPESampler, multivariate=True),
    "TPE, in groups": partial(TPESampler, multivariate=True, group=True),
    "NSGA-II, 12 a generation": partial(NSGAIISampler, population_size=12),
    "GP": GPSampler,
}


def searched(overrides: Sequence[str]) -> Space:
    """The space of search=best, less what all networks of the table had alike."""
    conf: Any = OmegaConf.to_container(OmegaConf.load(REPOSITORY / "conf" / "search" / "best.yaml"))
    return parse_space(conf["hydra"]["sweeper"]["params"], overrides, {})


@dataclass(frozen=True)
class Surrogate:
    """A forest that tells the error of a candidate, 0 to 1; `trust` is its rank correlation with networks unseen."""

    space: Space
    model: Pipeline
    trust: float
    networks: int

    def error(self, params: dict[str, Any]) -> float:
        (predicted,) = self.model.predict([params])
        return float(predicted)


def fitted(name: str, fixed: Sequence[str]) -> Surrogate:
    """The forest of a table whose networks were made with these overrides."""
    networks = load(name)
    rows = [point(n.trainings[0]["settings"]) for n in networks]
    errors = [statistics.mean(len(t["errors"]) for t in n.trainings) / 10_000 for n in networks]
    forest = RandomForestRegressor(100, min_samples_leaf=2, max_features=0.5, random_state=0)
    model = make_pipeline(DictVectorizer(sparse=False), forest)
    unseen = cross_val_predict(model, rows, errors, cv=len(rows))
    trust = float(spearmanr(unseen, errors).statistic)
    return Surrogate(searched(fixed), model.fit(rows, errors), trust, len(networks))


def replayed(surrogate: Surrogate, name: str, seed: int) -> list[float]:
    """The true errors of what looked best after so many candidates."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    chance = np.random.default_rng(seed)
    study = optuna.create_study(sampler=SAMPLERS[name](seed=seed))
    seen: list[tuple[float, float]] = []
    for _ in range(max(AFTER)):
        trial = study.ask()
        drawn = surrogate.space.draw(partial(suggest, trial))
        true = surrogate.error(surrogate.space.decode(drawn))
        told = chance.binomial(IMAGES, true) / IMAGES
        study.tell(trial, told)
        seen.append((told, true))
    return [min(seen[:n])[1] for n in AFTER]


def compared(surrogate: Surrogate, replays: int) -> tuple[Any, Table]:
    """Each sampler's errors after so many candidates, and the difference from the random one's at the end."""
    figures: dict[str, Any] = {}
    rows: list[list[str]] = []
    for name in SAMPLERS:
        found = np.array(
            Parallel(n_jobs=WORKERS)(delayed(replayed)(surrogate, name, s) for s in range(replays))
        )
        figures[name] = found
        against = (found - figures["random"])[:, -1]
        error = 1.96 * against.std(ddof=1) / len(against) ** 0.5
        means = [f"{mean:.2%}" for mean in found.mean(0)]
        difference = f"{100 * against.mean():+.3f} ± {100 * error:.3f}"
        rows.append([name, *means, difference if name != "random" else ""])
        say(f"{name}: {rows[-1][1:]}")
    title = f"A forest of {surrogate.networks} networks, which ranks networks unseen with a correlation of "
    title += f"{surrogate.trust:.2f}: true error of what is returned, mean of {replays} replays"
    headings = ["sampler", *(f"{n} candidates" for n in AFTER), "against random, points (95 %)"]
    return {"trust": surrogate.trust, **{k: v.tolist() for k, v in figures.items()}}, table(
        title, headings, rows
    )


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("name", help="of the table")
    options.add_argument("fixed", nargs="*", help="key=value that all its networks have")
    options.add_argument("--replays", type=int, default=100, help="of each sampler (100)")
    chosen = options.parse_args(arguments)
    report = Report(f"sampling-{chosen.name}", argparse.Namespace(quick=False, **vars(chosen)))
    report.add("sampling", *compared(fitted(chosen.name, chosen.fixed), chosen.replays))
    report.close()


if __name__ == "__main__":
    main()

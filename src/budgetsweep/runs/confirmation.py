"""The network that was found and the reference over fresh seeds, the test set read once a run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from budgetsweep.config import BudgetConfig
from budgetsweep.errors import BudgetError, UserError
from budgetsweep.files import write_json
from budgetsweep.folders import REPLICATION
from budgetsweep.mistakes import explained
from budgetsweep.runs.comparison import comparison_table
from budgetsweep.runs.overrides import overrides_of
from budgetsweep.runs.seeds import read_runs
from budgetsweep.runs.training import train
from budgetsweep.training.shared import share
from hydra_budget_sweeper.compose import flatten
from hydra_budget_sweeper.files import write_text
from hydra_budget_sweeper.space.grammar import override_text

if TYPE_CHECKING:
    from hydra_budget_sweeper import SweepResults

REFERENCE, OWN = "reference", "own"
FIRST_SEED = 1_000  # apart from the seeds of sweeps
_LIMITS = [f.name for f in fields(BudgetConfig) if f.name.startswith(("max_", "min_"))]
# A budget in an experiment's own file comes after the group's.
NO_BUDGET = ["budget=none", *(f"budget.{limit}=null" for limit in _LIMITS), "budget.fit=false"]


@dataclass(frozen=True)
class Pair:
    """A network under its name and the reference, as overrides, and the first seed of both."""

    name: str
    overrides: list[str]
    reference: list[str]
    first_seed: int = FIRST_SEED


def winner_of(sweep: Path) -> Pair:
    """A sweep's winner as it won, and its reference.

    Both train on all training images, as nothing is selected any more, under seeds that neither
    the search nor its finalists had.

    Raises:
        UserError: the sweep cannot be read, or no trial is complete.
    """
    from hydra_budget_sweeper import SweepError, read_sweep

    try:
        results = read_sweep(sweep)
    except SweepError as error:
        raise UserError(str(error)) from None
    winner = results.winner
    if winner is None or winner.folder is None:
        raise UserError(f"{sweep}: no trial is complete yet.")
    runs = winner.finalist.runs if winner.finalist else ()
    won = [run.folder for run in runs if run.folder]
    own = [*without(overrides_of(won[0] if won else winner.folder), {"seed"}), "data.validation=0"]
    seeds = [run.seed for t in results.finalists if t.finalist for run in t.finalist.runs]
    return Pair(
        f"trial-{winner.number}",
        own,
        reference_of(results, own),
        max([FIRST_SEED, *(seed + 1 for seed in seeds)]),
    )


def reference_of(results: SweepResults, own: Sequence[str]) -> list[str]:
    """The overrides of a sweep's first known point: of all that was searched, what that point says.

    A sweep to which no point was given has what it would train without its search.
    """
    searched = {key for t in results.trials for key in t.params}
    known = min((t for t in results.trials if t.enqueued), key=lambda t: t.number, default=None)
    said = [o for o in known.overrides if _key(o) in known.enqueued] if known else []
    return [*without(own, searched), *said]


def own_network(run: Path, reference: Sequence[str]) -> Pair:
    """A run's network and the one it is to be compared with, trained in every other way alike."""
    own = overrides_of(run)
    groups = ("model", "budget", "search", "experiment")
    # To be compared with, it need not be within the budget.
    bare = [*(o for o in own if not _key(o).startswith(groups)), *reference, *NO_BUDGET]
    return Pair(OWN, own, [*bare, *_as_trained(own, bare)])


def _as_trained(own: Sequence[str], bare: Sequence[str]) -> list[str]:
    """What is left to say so that all but the network is as in `own`.

    An experiment's file may have a model of its own, which another's rows must not be mixed with.
    """
    wanted, there = (_apart_from_the_network(overrides) for overrides in (own, bare))
    missing = object()
    return [
        f"{key}={override_text(value)}"
        for key, value in wanted.items()
        if there.get(key, missing) != value
    ]


def _apart_from_the_network(overrides: Sequence[str]) -> dict[str, Any]:
    config = _task(overrides)
    del config["model"], config["budget"]
    OmegaConf.resolve(config)
    return flatten(config)


def without(overrides: Sequence[str], searched: Collection[str]) -> list[str]:
    """The overrides that set none of the searched keys."""
    return [o for o in overrides if _key(o) not in searched]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def compose(overrides: Sequence[str]) -> DictConfig:
    """Compose the application's configuration, Hydra's own part in it.

    Raises:
        UserError: the overrides do not make one.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from budgetsweep.config import CONF_DIR, register

    register()
    running = GlobalHydra.instance().hydra  # a sweep's, where its report is written at its end
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF_DIR)):
            return hydra.compose("config", overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # the last: model=null
        raise UserError(explained(error)) from None
    finally:
        GlobalHydra.instance().hydra = running


def _task(overrides: Sequence[str]) -> DictConfig:
    config = compose(overrides)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return config


def reference_config(results: SweepResults, own: Sequence[str]) -> DictConfig | None:
    """A sweep's reference composed, by a trial's overrides; None where that cannot be done here."""
    try:
        return compose(reference_of(results, own))
    except UserError:
        return None


def is_at(config: DictConfig, params: Mapping[str, Any]) -> bool:
    """Whether a configuration has all these values; a group's is the choice made for it."""
    choices = config.hydra.runtime.choices

    def holds(key: str, value: Any) -> bool:
        if key in choices:
            return str(choices[key]) == str(value)
        there = OmegaConf.select(config, key)
        if isinstance(there, float | int) and isinstance(value, float | int):
            return math.isclose(there, value)
        return there is not None and str(there) == str(value)

    return bool(params) and all(holds(key, value) for key, value in params.items())


def over_budget(overrides: Sequence[str]) -> str:
    """In one line by how much a network, of these overrides, is over budget; empty where it fits.

    Raises:
        UserError: the overrides do not make a configuration.
    """
    from budgetsweep.config import to_config
    from budgetsweep.data import resolve
    from budgetsweep.network.budget import enforce

    config = to_config(_task(overrides))
    try:
        enforce(config.model, resolve(config.data), config.budget)
    except BudgetError as error:
        return f"The reference is {str(error).partition(';')[0]}; it is compared all the same."
    return ""


def confirm(folder: Path, pair: Pair, n_seeds: int, overrides: Sequence[str]) -> str:
    """Train both over the same seeds in FOLDER/replicate, and say whether they differ.

    Runs that are finished, from an earlier call, are not repeated. A reference over the budget is
    trained without one.
    """
    groups = {REFERENCE: [*pair.reference, *overrides], pair.name: [*pair.overrides, *overrides]}
    about = [f"{pair.name}: `{' '.join(pair.overrides)}`"]
    if _task(groups[REFERENCE]) == _task(groups[pair.name]):
        del groups[REFERENCE]
        about.append(f"{pair.name} is the reference itself.")
    elif why := over_budget(groups[REFERENCE]):
        kept = [o for o in groups[REFERENCE] if not _key(o).startswith("budget")]
        groups[REFERENCE] = [*kept, *NO_BUDGET]
        about.append(why)
    base = folder / Path(REPLICATION).parent
    share(base)
    seeds = range(pair.first_seed, pair.first_seed + n_seeds)
    # Seed by seed: cut short, as many are done of both, and a busy hour met both alike.
    runs = {f"{name}/{s}": [*own, f"seed={s}"] for s in seeds for name, own in groups.items()}
    train(base, runs)
    results = {name: read_runs(base / name) for name in groups}
    text = comparison_table(results, about)
    write_json(folder / REPLICATION, results)
    write_text((folder / REPLICATION).with_suffix(".md"), text + "\n")
    return text


def confirmed(sweep: Path, pair: Pair) -> Path:
    """The folder of the winner's first run in a confirmation."""
    return sweep / Path(REPLICATION).parent / pair.name / str(pair.first_seed)

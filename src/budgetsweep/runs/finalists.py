"""Networks to be trained over seeds: a sweep's finalists or a run's own, and the reference."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from budgetsweep.commands import training_command
from budgetsweep.errors import BudgetError, UserError
from budgetsweep.files import write_json, write_text
from budgetsweep.folders import REPLICATION
from budgetsweep.runs.comparison import comparison_table
from budgetsweep.runs.seeds import read_runs

REFERENCE, OWN = "reference", "own"
FIRST_SEED = 1_000  # apart from the seeds of sweeps

Networks = dict[str, list[str]]  # name → overrides


def networks(sweep: Path, top: int) -> Networks:
    """The overrides of the reference and of the `top` finalists, each with all that the sweep set.

    The reference is the sweep's configuration without what was searched.

    Raises:
        UserError: the sweep cannot be read, or no trial is complete.
    """
    from hydra_budget_sweeper import SweepError, read_sweep

    try:
        results = read_sweep(sweep)
    except SweepError as error:
        raise UserError(str(error)) from None
    done = [t for t in results.trials if t.state == "complete" and t.folder][:top]
    if not done:
        raise UserError(f"{sweep}: no trial is complete yet.")
    finalists = {f"trial-{t.number}": _overrides(t.folder) for t in done if t.folder}
    searched = {key for t in results.trials for key in t.params}
    first = next(iter(finalists.values()))
    return {REFERENCE: without(first, searched), **finalists}


def own_network(run: Path, reference: Sequence[str]) -> Networks:
    """A run's network and the one it is to be compared with, trained in every other way alike."""
    own = _overrides(run)
    kept = [o for o in own if not _key(o).startswith(("model", "budget", "search"))]
    # To be compared with, it need not be within the budget.
    return {REFERENCE: [*kept, *reference, "budget=none"], OWN: own}


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
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(str(error)) from None
    finally:
        GlobalHydra.instance().hydra = running


def _task(overrides: Sequence[str]) -> DictConfig:
    config = compose(overrides)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return config


def reference_config(overrides: Sequence[str], searched: Collection[str]) -> DictConfig | None:
    """What a sweep of these overrides would train without its search; None if that is nothing."""
    try:
        return compose(without(overrides, searched))
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
    """In one line why the reference, of these overrides, is left out; empty where it fits.

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
        return f"The reference is left out, as it is {str(error).partition(';')[0]}."
    return ""


def compare(folder: Path, groups: Networks, n_seeds: int, overrides: Sequence[str]) -> str:
    """Train networks over the same seeds in FOLDER/replicate, and compare them with the first.

    A sweep's finalists are those that it selected by validation; the test set is read once a run.
    Runs that are finished, from an earlier call, are not repeated. A reference over the budget is
    left out, and the finalists are compared with the best of them; a finalist that is the
    reference is not trained twice.
    """
    from budgetsweep.training.number_format import share  # torch takes seconds to import

    about = [f"{name}: `{' '.join(own)}`" for name, own in groups.items() if name != REFERENCE]
    why_not = over_budget([*groups[REFERENCE], *overrides])
    if why_not:
        del groups[REFERENCE]
        about.append(why_not)
        print(why_not, file=sys.stderr, flush=True)  # the training takes a while
    for name in _same_as_first(groups):
        del groups[name]
        about.append(f"{name} is the reference itself.")
    base = folder / "replicate"
    share(folder)
    for name, own in groups.items():
        _train(base / name, [*own, *overrides], n_seeds)
    results = {name: read_runs(base / name) for name in groups}
    text = comparison_table(results, about)
    write_json(folder / REPLICATION, results)
    write_text((folder / REPLICATION).with_suffix(".md"), text + "\n")
    return text


def _same_as_first(groups: Networks) -> list[str]:
    """The networks that are the reference: they compose to the same configuration."""
    if REFERENCE not in groups:
        return []
    first = _task(groups[REFERENCE])
    return [n for n, own in groups.items() if n != REFERENCE and _task(own) == first]


def _overrides(folder: Path) -> list[str]:
    try:
        return [str(o) for o in OmegaConf.load(folder / ".hydra" / "overrides.yaml")]
    except OSError as error:
        raise UserError(f"{folder}: the run's overrides are missing ({error}).") from None


def _train(folder: Path, overrides: Sequence[str], n_seeds: int) -> None:
    """One run a seed, as many at once as there are cores."""
    from hydra.core.override_parser.types import Quote, QuotedString
    from joblib import Parallel, delayed

    def train_one(seed: int) -> int:
        place = QuotedString(str(folder / str(seed)), Quote.single).with_quotes()
        command = [
            *training_command(), "trainer.progress=false", "trainer.threads=1", *overrides, f"seed={seed}", "trainer.test=true", "resume=true",
            f"hydra.run.dir={place}",
        ]  # fmt: skip
        return subprocess.run(command, check=False).returncode

    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds)
    if any(Parallel(n_jobs=-1, prefer="threads")(delayed(train_one)(seed) for seed in seeds)):
        raise UserError(f"training in {folder} failed; the reason is above.")

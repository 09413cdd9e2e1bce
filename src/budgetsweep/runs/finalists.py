"""A sweep's finalists and the reference: which they are, and their training over seeds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from budgetsweep.commands import training_command
from budgetsweep.errors import BudgetError, UserError
from budgetsweep.folders import LEADERBOARD

REFERENCE = "reference"
FIRST_SEED = 1_000  # apart from the seeds of sweeps


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

    from budgetsweep.config import CONF_DIR, register, to_config
    from budgetsweep.data import resolve
    from budgetsweep.network.budget import enforce

    register()
    try:
        with hydra.initialize_config_dir(str(CONF_DIR)):
            config = to_config(hydra.compose("config", overrides=list(overrides)))
        enforce(config.model, resolve(config.data), config.budget)
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


def train(folder: Path, overrides: Sequence[str], n_seeds: int) -> None:
    """One run a seed, as many at once as there are cores."""
    from joblib import Parallel, delayed

    def train_one(seed: int) -> int:
        command = [
            *training_command(), "trainer.progress=false", "trainer.threads=1", *overrides,
            f"seed={seed}", "trainer.test=true", "resume=true", f"hydra.run.dir='{folder}/{seed}'",
        ]  # fmt: skip
        return subprocess.run(command, check=False).returncode

    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds)
    if any(Parallel(n_jobs=-1, prefer="threads")(delayed(train_one)(seed) for seed in seeds)):
        raise UserError(f"training in {folder} failed; the reason is above.")

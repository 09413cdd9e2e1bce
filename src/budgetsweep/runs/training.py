"""Trains runs on all cores, by the launcher that sweeps use: its processes end with this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from budgetsweep.errors import UserError


def train(base: Path, runs: Mapping[str, Sequence[str]]) -> None:
    """Train one network a core, to its end and with a look at the test set.

    What is finished is left as it is, and what was begun goes on from its checkpoint.

    Args:
        base: the folder above all of them.
        runs: each run's folder, below `base`, to its overrides.

    Raises:
        UserError: a run cannot be trained, or its process was killed.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.plugins import Plugins
    from hydra.errors import CompactHydraException
    from hydra.experimental.callback import Callback
    from hydra.types import HydraContext, RunMode

    from budgetsweep.config import CONF_DIR, register
    from hydra_budget_sweeper.space.grammar import override_text

    register()
    jobs = [
        ["trainer.progress=false", *own, "trainer.test=true", "resume=true", f"hydra.sweep.subdir={name}"]
        for name, own in runs.items()
    ]  # fmt: skip
    given = [f"hydra.sweep.dir={override_text(str(base.resolve()))}", "hydra.launcher.n_jobs=-1"]
    with hydra.initialize_config_dir(str(CONF_DIR)):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", given, run_mode=RunMode.MULTIRUN)
        HydraConfig.instance().set_config(config)
        nobody: Any = Callback()  # hears of these jobs
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(loader, nobody), task_function=_train, config=config
        )
        try:
            told = [job.return_value for job in launcher.launch(jobs, initial_job_idx=0)]
        except CompactHydraException as error:
            raise UserError(f"{error} The same command goes on.") from None
    if problems := [problem for problem in told if problem]:
        raise UserError(f"Training in {base} failed: {problems[0]}")


def _train(cfg: DictConfig) -> str:
    """Train one network; what a person did wrong comes back in a sentence."""
    from hydra.core.hydra_config import HydraConfig

    from budgetsweep.config import to_config
    from budgetsweep.training.run import run

    try:
        run(to_config(cfg), Path(HydraConfig.get().runtime.output_dir), threads=1)
    except UserError as error:
        return str(error)
    return ""

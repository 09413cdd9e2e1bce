"""Trains runs on all cores, by the launcher that sweeps use: its processes end with this one."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from budgetsweep.errors import UserError
from budgetsweep.runs.overrides import SEARCHPATH
from hydra_budget_sweeper.results.screen import duration


def train(base: Path, runs: Mapping[str, Sequence[str]]) -> None:
    """Train one network a core, to its end and with a look at the test set; say a line of each.

    What is finished is left as it is, and what was begun goes on from its checkpoint.

    Args:
        base: the folder above all of them.
        runs: each run's folder, below `base`, to its overrides.

    Raises:
        UserError: a run cannot be trained, or its process was killed.
        SystemExit: it was interrupted (code 130), which has been said.
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
    from hydra_budget_sweeper.workers.signals import terminate_as_interrupt

    register()
    place = [f"hydra.sweep.dir={override_text(str(base.resolve()))}", "hydra.launcher.n_jobs=-1"]
    # Each run's own words are in its folder; several at once make no sense together.
    place += ["+hydra.job_logging.handlers.console.level=WARNING", "hydra/hydra_logging=none"]
    print(f"{len(runs)} runs, each with its log in its folder in {base}", file=sys.stderr)
    told: list[str] = []
    with hydra.initialize_config_dir(str(CONF_DIR)):
        loader = GlobalHydra.instance().config_loader()
        for groups, jobs in _by_groups(runs, loader).items():
            config = loader.load_configuration(
                "config", [*place, *groups], run_mode=RunMode.MULTIRUN
            )
            HydraConfig.instance().set_config(config)
            # A sweep before it in this process, as in `find`, has left its log on.
            logging.getLogger("hydra_plugins").setLevel(logging.WARNING)
            nobody: Any = Callback()  # hears of these jobs
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=HydraContext(loader, nobody), task_function=_train, config=config
            )
            try:
                with terminate_as_interrupt():
                    done = launcher.launch(jobs, initial_job_idx=0)
            except CompactHydraException as error:
                raise UserError(f"{error} The same command goes on.") from None
            except KeyboardInterrupt:
                print("Interrupted. The same command goes on.", file=sys.stderr)
                raise SystemExit(130) from None
            told += [job.return_value for job in done]
    if problems := [problem for problem in told if problem]:
        raise UserError(f"Training in {base} failed: {problems[0]}")


def _by_groups(
    runs: Mapping[str, Sequence[str]], loader: ConfigLoader
) -> dict[tuple[str, ...], list[list[str]]]:
    """The runs by the config groups that they choose, and from where: no job may set Hydra itself."""
    found: dict[tuple[str, ...], list[list[str]]] = {}
    for name, own in runs.items():
        keys = [o.partition("=")[0].lstrip("+") for o in own]
        chosen = {
            key: o
            for key, o in zip(keys, own, strict=True)
            if key == SEARCHPATH or loader.get_group_options(key)
        }
        rest = [o for key, o in zip(keys, own, strict=True) if key not in chosen]
        added = ["trainer.progress=false", "trainer.test=true", "resume=true"]
        groups = [o for key, o in chosen.items() if key != SEARCHPATH]
        job = [*groups, *rest, *added, f"hydra.sweep.subdir={name}"]
        found.setdefault(tuple(chosen.values()), []).append(job)
    return found


def _train(cfg: DictConfig) -> str:
    """Train one network; what a person did wrong comes back in a sentence."""
    from hydra.core.hydra_config import HydraConfig

    from budgetsweep.config import to_config
    from budgetsweep.training.run import run

    started = time.monotonic()
    try:
        done = run(to_config(cfg), Path(HydraConfig.get().runtime.output_dir), threads=1)
    except UserError as error:
        return str(error)
    name, took = HydraConfig.get().sweep.subdir, duration(time.monotonic() - started)
    print(f"{name}: test accuracy {done['test_accuracy']:.2%}, {took}", file=sys.stderr, flush=True)
    return ""

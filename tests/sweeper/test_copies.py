"""A job without copies of its own node is, to all who see it, the job that Hydra runs."""

import copy
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hydra_budget_sweeper.compose import Candidate, Composer
from hydra_budget_sweeper.workers.copies import copy_again, spare_copies

CONF = Path(__file__).parent / "apps" / "conf"


class Seen:
    """Hydra's callbacks and a task, which keep what they are given."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.saved: dict[str, str] = {}

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self._see("start", config)

    def on_job_end(self, config: DictConfig, job_return: Any) -> None:
        self._see("end", config)
        self._see("returned", job_return.cfg)
        self.told.append(("returned hydra", OmegaConf.to_yaml(job_return.hydra_cfg)))

    def task(self, cfg: DictConfig) -> float:
        own: Any = HydraConfig.instance().cfg
        self._see("task", cfg)
        self._see("current", own)
        self.told.append(("resolved", OmegaConf.to_container(own, resolve=True)))
        self.told.append(("environment", os.environ.get("FOLDER")))
        # What a task does to one of them no other copy sees.
        mine = copy.deepcopy(HydraConfig.get())
        with read_write(own.hydra), open_dict(own.hydra):
            own.hydra.job.name = "renamed"
            own.hydra.sweeper.n_trials = 3
        self.told.append(("renamed", HydraConfig.get().job.name))
        self._see("renamed copy", copy.deepcopy(own))
        with read_write(mine), open_dict(mine):
            mine.job.name = "mine"
        self._see("my copy", mine)
        cfg.x = 7
        return 1.0

    def _see(self, what: str, config: Any) -> None:
        flags = [
            (key, OmegaConf.is_readonly(config.hydra[key]), OmegaConf.is_struct(config.hydra[key]))
            for key in ("sweeper", "job", "runtime")
            if "hydra" in config
        ]
        types = [OmegaConf.get_type(config, key) for key in config]
        self.told.append((what, (OmegaConf.to_yaml(config), flags, types, type(config))))


def run(candidate: Candidate, context: HydraContext, spare: bool, seen: Seen) -> None:
    """Run the job and keep what it leaves: what is seen of it, its files, or how it failed."""

    def task(cfg: DictConfig) -> float:
        copy_again(candidate.job)
        return seen.task(cfg)

    if spare:
        spare_copies(candidate.job, context)
    try:
        returned = run_job(
            task_function=task if spare else seen.task,
            config=candidate.job,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=context,
        )
    except OmegaConfBaseException as error:
        seen.told.append(("failure", str(error)))
        return
    assert returned.return_value == 1.0
    folder = Path(str(candidate.job.hydra.runtime.output_dir))
    assert OmegaConf.load(folder / ".hydra" / "config.yaml").x == 1.5
    seen.saved = {p.name: p.read_text() for p in (folder / ".hydra").iterdir()}
    shutil.rmtree(folder)


def counter() -> Callable[[], int]:
    numbers = iter(range(1_000_000))
    return lambda: next(numbers)


class OfSweeps(Callback):
    """Sees no job."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    "heard", [None, OfSweeps, Seen], ids=["alone", "a sweep's callback", "a job's"]
)
@pytest.mark.parametrize(
    "fixed",
    [
        [],
        ["+hydra.job.env_set.FOLDER=${hydra:runtime.output_dir}"],
        ["hydra.sweep.subdir=a/../${hydra.job.num}-${x}"],
        ["hydra.sweep.subdir=${counted:}"],
        ["hydra.sweep.subdir=${hydra.job.override_dirname}", "hydra.verbose=[a]"],
        ["hydra/job_logging=none", "hydra.job.chdir=true", "hydra/launcher=joblib"],
        ["hydra.job.chdir=${resume}"],
    ],
)
def test_a_job_is_the_same(fixed: list[str], heard: type | None, tmp_path: Path) -> None:
    with initialize_config_dir(config_dir=str(CONF)):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        master = hydra.compose_config(
            "config", ["hydra/sweeper=budget", f"hydra.sweep.dir='{tmp_path}'", *fixed],
            RunMode.MULTIRUN, with_log_configuration=False,
        )  # fmt: skip
        HydraConfig.instance().set_config(master)
        both = []
        for spare in (False, True):
            OmegaConf.register_resolver("counted", counter(), replace=True)
            seen, callbacks = Seen(), Callbacks()
            callbacks.callbacks = [seen] if heard is Seen else [heard()] if heard else []
            candidate = Composer(hydra.config_loader, master).compose(["x=1.5", "shape=big"], 5)
            run(candidate, HydraContext(hydra.config_loader, callbacks), spare, seen)
            both.append(seen)
        for (what, expected), (_, got) in zip(both[0].told, both[1].told, strict=True):
            assert got == expected, what
        assert both[1].saved == both[0].saved

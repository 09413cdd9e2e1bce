"""Hydra's own node of a job, not copied where nobody could tell."""

from typing import Any

from hydra.experimental.callback import Callback
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf


def spare_copies(job: DictConfig, context: HydraContext) -> None:
    """Let `run_job` take Hydra's node of `job` itself instead of copies, until `copy_again`.

    It makes four before it calls the task: twice for `HydraConfig`, one with all of the job, to
    throw it away there, and one to save. Value by value, that takes longer than all else that it
    does. A task sees one of them, through `HydraConfig`; only callbacks of jobs see the others, and the
    job itself. One thing shows, and has its copies as well: a saved copy hangs on nothing, so that
    `hydra.job.chdir` cannot refer to what the task gets.
    """
    if any(map(_of_jobs, context.callbacks.callbacks)) or OmegaConf.is_interpolation(
        job.hydra.job, "chdir"
    ):
        return
    hydra = job.hydra
    vars(hydra)["__deepcopy__"] = lambda _memo: hydra


def copy_again(job: DictConfig) -> None:
    """End what `spare_copies` began."""
    vars(job.hydra).pop("__deepcopy__", None)


def _of_jobs(callback: Any) -> bool:
    """Whether it is called for each job, and not for the sweep as a whole only."""
    return any(
        getattr(type(callback), name, None) is not getattr(Callback, name)
        for name in ("on_job_start", "on_job_end")
    )

"""Jobs in processes forked from the server, each run as Hydra runs any job."""

import logging
import pickle
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import (
    JobReturn,
    JobStatus,
    configure_log,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from ._server import JobContext, JobProcess

log = logging.getLogger(__name__)

_PATIENCE = 10  # seconds for processes that were told to end


class JobProcessDied(CompactHydraException):
    """A job's process was killed, or could not start."""


def launch(
    n_jobs: int,
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
    *,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
) -> Sequence[JobReturn]:
    """Run the jobs, at most `n_jobs` at a time, and return what each came to.

    Raises:
        JobProcessDied: A process was killed; its siblings have been ended, too.
        CompactHydraException: The task holds something that no other process can be sent.
    """
    setup_globals()
    configure_log(
        config.hydra.hydra_logging,
        config.hydra.verbose,
        execution_whitelist=hydra_context.execution_whitelist,
    )
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    n_jobs = max(1, min(n_jobs, len(job_overrides)))
    log.info("Launching %d jobs in %d processes", len(job_overrides), n_jobs)
    for index, overrides in enumerate(job_overrides, start=initial_job_idx):
        log.info("\t#%d : %s", index, " ".join(filter_overrides(overrides)))
    packed = _pack((hydra_context, task_function, config, Singleton.get_state()))
    context = JobContext()
    with ProcessPoolExecutor(n_jobs, mp_context=context) as pool:
        jobs = [
            pool.submit(_run, packed, index, list(overrides))
            for index, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        try:
            return [pickle.loads(job.result()) for job in jobs]
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(context.processes)
            if isinstance(error, BrokenProcessPool):
                raise JobProcessDied(
                    "A job's process was terminated abruptly: killed, or out of memory? If none "
                    "comes to its first line, see what it printed: each imports the script, so "
                    'that this must call its main function under `if __name__ == "__main__":`.'
                ) from None
            raise


def _pack(whatever: Any) -> bytes:
    try:
        packed: bytes = cloudpickle.dumps(whatever)
    except Exception as error:
        raise CompactHydraException(
            "The task cannot be sent to another process, as hydra/launcher=forkserver needs it: "
            f"{error}. What a task of the script refers to at its top level goes with it; make "
            "such an object in the task, or in a module of its own."
        ) from error
    return packed


def _end(processes: Sequence[JobProcess]) -> None:
    """End the processes, and see to it: whoever called may count on their having stopped."""
    started = [process for process in processes if process.pid is not None]
    for process in started:
        process.terminate()
    until = time.monotonic() + _PATIENCE
    try:
        for process in started:
            process.join(max(0.0, until - time.monotonic()))
    finally:
        for process in started:
            process.kill()


def _run(packed: bytes, index: int, overrides: list[str]) -> bytes:
    """Run one job in this process."""
    if "numpy" in sys.modules:
        # Forked, all processes would draw the same numbers.
        sys.modules["numpy"].random.seed()
    hydra_context, task_function, config, singletons = pickle.loads(packed)
    setup_globals()
    Singleton.set_state(singletons)
    job_config = hydra_context.config_loader.load_sweep_config(config, overrides)
    with open_dict(job_config):
        job_config.hydra.job.id = f"{job_config.hydra.job.name}_{index}"
        job_config.hydra.job.num = index
    HydraConfig.instance().set_config(job_config)
    returned = run_job(
        hydra_context=hydra_context,
        task_function=task_function,
        config=job_config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    return _pack_return(returned)


def _pack_return(returned: JobReturn) -> bytes:
    """A value that cannot be sent back fails its job alone."""
    try:
        packed: bytes = cloudpickle.dumps(returned)
    except Exception as error:
        returned.status = JobStatus.FAILED
        returned.return_value = TypeError(
            f"what the task returned cannot be sent to another process: {error}"
        )
        packed = cloudpickle.dumps(returned)
    return packed

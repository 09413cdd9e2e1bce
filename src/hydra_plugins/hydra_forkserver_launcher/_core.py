"""One launch: its jobs go to processes forked from the server, at most `n_jobs` at a time."""

import logging
import pickle
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from ._job import run_packed
from ._server import JobContext, JobProcess

log = logging.getLogger(__name__)

_PATIENCE = 10  # seconds for processes that were told to end


class JobProcessDied(CompactHydraException, BrokenProcessPool):
    """A job's process was killed, or could not start."""

    def __init__(self) -> None:
        super().__init__(
            "A job's process was terminated abruptly: killed, or out of memory? Each imports the "
            "script first; if that calls its main function when imported, put the call under "
            '`if __name__ == "__main__":`.'
        )


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
        try:
            jobs = [
                pool.submit(run_packed, packed, index, list(overrides))
                for index, overrides in enumerate(job_overrides, start=initial_job_idx)
            ]
            return [pickle.loads(job.result()) for job in jobs]
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(context.processes)
            if isinstance(error, BrokenProcessPool):
                raise JobProcessDied from None
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

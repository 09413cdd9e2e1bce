"""A server that has the imports done, and jobs in processes forked from it.

Forked after the imports but before any work, a process has them without their time (seconds, for
torch) and shares their memory. The server does nothing else, so that a fork finds no thread half
way through something.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from .cores import available_cores

log = logging.getLogger(__name__)

_PATIENCE = 10  # seconds for a process that was told to end


def start_server(n_jobs: int, preload: Sequence[str], task: TaskFunction) -> None:
    """Start the process that imports, if it does not run yet; return without waiting for it."""
    # A main module is run anew in each process, under another name.
    modules = {*preload, __name__, task.__module__} - {"__main__"}
    multiprocessing.set_forkserver_preload(sorted(modules))
    with _deaf_to_interrupts(), _share_of_cores(n_jobs):
        forkserver.ensure_running()


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
        BrokenProcessPool: A process was killed; its siblings have been ended, too.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    n_jobs = min(n_jobs, len(job_overrides))
    log.info("Launching %d jobs in %d processes", len(job_overrides), n_jobs)
    for index, overrides in enumerate(job_overrides, start=initial_job_idx):
        log.info("\t#%d : %s", index, " ".join(filter_overrides(overrides)))
    packed = cloudpickle.dumps((hydra_context, task_function, config, Singleton.get_state()))
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(n_jobs, mp_context=context) as pool:
        jobs = [
            pool.submit(_run, packed, index, list(overrides))
            for index, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        try:
            return [cloudpickle.loads(job.result()) for job in jobs]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            processes = multiprocessing.active_children()
            for process in processes:
                process.terminate()
            for process in processes:
                process.join(_PATIENCE)  # whoever called may count on their having stopped
            raise


def _run(packed: bytes, index: int, overrides: list[str]) -> bytes:
    """Run one job in this process."""
    if "numpy" in sys.modules:
        # Forked, all processes would draw the same numbers.
        sys.modules["numpy"].random.seed()
    hydra_context, task_function, config, singletons = cloudpickle.loads(packed)
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
    packed_return: bytes = cloudpickle.dumps(returned)
    return packed_return


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let Ctrl-C, which goes to all processes of a terminal, leave the server alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _share_of_cores(n_jobs: int) -> Iterator[None]:
    """Let numerical libraries in the processes use their share, unless the user has said."""
    name = "OMP_NUM_THREADS"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(max(1, available_cores() // n_jobs))
    try:
        yield
    finally:
        del os.environ[name]

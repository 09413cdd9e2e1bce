"""One job in a process of its own, run as Hydra runs any job."""

import pickle
import sys

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from omegaconf import open_dict

from hydra_budget_sweeper.scripts import restore_main, with_script_allowed


def run_packed(packed: bytes, index: int, overrides: list[str]) -> bytes:
    """Run one job in this process; take and give what `cloudpickle` makes of it all."""
    if "numpy" in sys.modules:
        # Forked, all processes would draw the same numbers.
        sys.modules["numpy"].random.seed()
    hydra_context, task_function, config, singletons = pickle.loads(packed)
    restore_main(task_function)
    setup_globals()
    Singleton.set_state(singletons)
    job_config = hydra_context.config_loader.load_sweep_config(config, overrides)
    with open_dict(job_config):
        job_config.hydra.job.id = f"{job_config.hydra.job.name}_{index}"
        job_config.hydra.job.num = index
    HydraConfig.instance().set_config(job_config)
    try:
        returned = run_job(
            hydra_context=with_script_allowed(hydra_context),
            task_function=task_function,
            config=job_config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except Exception:
        raise
    except BaseException as error:
        # Hydra hangs the job's return on it, and it on that: pickling goes round for half a minute.
        raise _alone(error) from None
    return _pack_return(returned)


def _alone(error: BaseException) -> BaseException:
    """The same exception with nothing that hangs on it."""
    try:
        return type(error)(*error.args)
    except Exception:  # of a class that is made in another way
        return RuntimeError(f"{type(error).__name__}: {error}")


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

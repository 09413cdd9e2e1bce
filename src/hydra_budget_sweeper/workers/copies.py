"""Quick copies of a job's configuration, for as long as Hydra prepares the job."""

import copy
import pickle
from typing import Any

from omegaconf import DictConfig, OmegaConf


def copy_by_pickle(job: DictConfig) -> None:
    """Let the copies that `run_job` makes of a job before it calls the task come from a pickle.

    It copies Hydra's own node four times, value by value, which takes longer than all else that it
    does: twice for `HydraConfig`, where the second takes the first one's place; once with the job,
    to throw it away there; and, a copy of a copy, to save it. In between it writes the folder,
    which is here already, and `env_set`; where nothing else is written a pickle gives the same.
    With the last copy this is over.
    """
    hydra = job.hydra
    OmegaConf.set_readonly(hydra, True)  # as `run_job` does first
    if OmegaConf.to_container(hydra.job, resolve=False)["env_set"] != {}:  # type: ignore[index, call-overload]
        return
    try:
        packed = pickle.dumps(job)
        copied_job: DictConfig = pickle.loads(packed)
    except Exception:  # a class that this process alone knows: then value by value
        return
    copied_hydra = copied_job.hydra
    folder = hydra.runtime.output_dir

    def copy_hydra(memo: dict[int, Any]) -> Any:
        if hydra.runtime.output_dir == folder:
            return copied_hydra
        end()
        return copy.deepcopy(hydra, memo)

    def copy_job(_memo: dict[int, Any]) -> Any:
        vars(job).pop("__deepcopy__")
        return copied_job

    def copy_last(_memo: dict[int, Any]) -> Any:
        end()
        return pickle.loads(packed).hydra

    def end() -> None:
        for node in (job, hydra, copied_hydra):
            vars(node).pop("__deepcopy__", None)

    vars(hydra)["__deepcopy__"] = copy_hydra
    vars(job)["__deepcopy__"] = copy_job
    vars(copied_hydra)["__deepcopy__"] = copy_last

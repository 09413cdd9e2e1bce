"""Quick copies of a job's configuration, for as long as Hydra prepares the job."""

import copy
import pickle
from typing import Any

from omegaconf import DictConfig, OmegaConf


def copy_by_pickle(job: DictConfig) -> None:
    """Let the copies that `run_job` makes of a job before it calls the task come from a pickle.

    It copies Hydra's own node four times, value by value, which takes longer than all else that it
    does: twice for `HydraConfig`, once to take it out of what the task gets, once to save it. In
    between it writes the folder, which is here already, and `env_set`; where nothing else is
    written a pickle gives the same. With the last copy, which is a copy's, this is over.
    """
    hydra = job.hydra
    OmegaConf.set_readonly(hydra, True)  # as `run_job` does first
    if OmegaConf.to_container(hydra.job, resolve=False)["env_set"] != {}:  # type: ignore[index, call-overload]
        return
    try:
        packed = pickle.dumps(job)
        twin = pickle.loads(packed).hydra
    except Exception:  # a class that this process alone knows: then value by value
        return
    folder = hydra.runtime.output_dir

    def copy_job(_memo: dict[int, Any]) -> Any:
        return pickle.loads(packed)

    def copy_hydra(memo: dict[int, Any]) -> Any:
        if hydra.runtime.output_dir == folder:
            return twin  # the same one twice: the second takes the first one's place
        end()
        return copy.deepcopy(hydra, memo)

    def copy_twin(_memo: dict[int, Any]) -> Any:
        end()
        return pickle.loads(packed).hydra

    def end() -> None:
        for node in (job, hydra, twin):
            vars(node).pop("__deepcopy__", None)

    vars(job)["__deepcopy__"] = copy_job
    vars(hydra)["__deepcopy__"] = copy_hydra
    vars(twin)["__deepcopy__"] = copy_twin

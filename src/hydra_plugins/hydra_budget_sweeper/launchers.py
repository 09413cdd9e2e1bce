"""Workers on a cluster: settings of Hydra's own launchers for Slurm and Ray that suit a sweep.

The launchers' other settings lie below these, where they are installed: `submitit_slurm`, `ray`.
"""

from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

# A worker that reaches its time limit is queued again, so that the limit need not be a sweep's.
SLURM: dict[str, Any] = {
    "_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    "max_num_timeout": 1000,
}

# A running cluster is joined, none started; a worker whose node dies starts again on another.
RAY: dict[str, Any] = {
    "_target_": "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
    "ray": {"init": {"address": "auto"}, "remote": {"num_cpus": 1, "max_retries": -1}},
}


def register(name: str, settings: dict[str, Any], base: str) -> None:
    """Make a launcher known to Hydra, above `base` where that is installed.

    Where it is not, every setting of it composes, so that the sweep can say what to install.
    """
    package = settings["_target_"].rpartition(".")[0].rpartition(".")[0]
    if find_spec(package) is not None:
        node = OmegaConf.create({"defaults": [base, "_self_"], **settings})
    else:
        node = OmegaConf.create(settings, flags={"struct": False})
    ConfigStore.instance().store(
        group="hydra/launcher", name=name, node=node, provider="budget_sweeper", replace=True
    )


register("slurm", SLURM, "submitit_slurm")
register("ray_cluster", RAY, "ray")

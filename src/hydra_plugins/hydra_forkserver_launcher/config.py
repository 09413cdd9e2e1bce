"""Settings of the launcher."""

from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore


@dataclass
class ForkserverLauncherConf:
    """Jobs run in processes forked from one that has already imported what they need."""

    _target_: str = "hydra_plugins.hydra_forkserver_launcher.forkserver_launcher.ForkserverLauncher"

    # jobs at a time, each in a process of its own; -1: one a core
    n_jobs: int = -1

    # modules to import once for all processes, beside the task's own; they must start no threads
    preload: list[str] = field(default_factory=list)


ConfigStore.instance().store(
    group="hydra/launcher",
    name="forkserver",
    node=ForkserverLauncherConf,
    provider="forkserver_launcher",
)

"""A launcher for tests: its jobs run where the sweep's folder is another, empty one."""

import ctypes
import multiprocessing
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

_CLONE_NEWNS = 0x00020000


@dataclass
class ElsewhereConf:
    """No settings but the size that every launcher of processes has."""

    _target_: str = "hydra_plugins.elsewhere_launcher.elsewhere.ElsewhereLauncher"
    n_jobs: int = 1


ConfigStore.instance().store(group="hydra/launcher", name="elsewhere", node=ElsewhereConf)


def hide(folder: str) -> None:
    """Give this process a view of the file system in which `folder` is empty."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)


class ElsewhereLauncher(BasicLauncher):
    """Stands for a cluster whose machines do not share the folder."""

    def __init__(self, n_jobs: int) -> None:
        super().__init__()

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        if (child := os.fork()) == 0:
            hide(str(self.config.hydra.sweep.dir))
            sender.send(list(super().launch(job_overrides, initial_job_idx)))
            os._exit(0)
        sender.close()
        try:
            return receiver.recv()
        finally:
            os.waitpid(child, 0)

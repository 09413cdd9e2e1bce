"""A callback that leaves files in each job's folder, and the whole job pickled, to be run again."""

from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Watcher(Callback):
    def __init__(self, name: str) -> None:
        self.name = name

    def on_job_start(self, config: DictConfig, *, task_function: Any, **kwargs: Any) -> None:
        folder = Path(config.hydra.runtime.output_dir)
        (folder / "started.txt").write_text(f"{self.name} {task_function.__name__} {config.x}")
        (folder / "job.pickle").write_bytes(cloudpickle.dumps((task_function, config)))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        folder = Path(config.hydra.runtime.output_dir)
        (folder / "ended.txt").write_text(f"{job_return.status} {job_return.return_value}")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        (Path(config.hydra.sweep.dir) / "sweep-started.txt").write_text(self.name)

"""Objects made by `instantiate`: nested, partial, and by a schema that names the class."""

import logging
from dataclasses import dataclass
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class Optimizer:
    def __init__(self, algo: str, lr: float) -> None:
        self.algo, self.lr = algo, lr

    def __repr__(self) -> str:
        return f"Optimizer({self.algo}, {self.lr})"


class Trainer:
    def __init__(self, optimizer: Any, steps: int) -> None:
        self.optimizer, self.steps = optimizer, steps

    def __repr__(self) -> str:
        return f"Trainer({self.optimizer}, {self.steps})"


@dataclass
class LongTrainer:
    steps: int = 100
    optimizer: Any = None
    _target_: str = "app.Trainer"


ConfigStore.instance().store(group="trainer", name="long", node=LongTrainer)


@hydra.main(config_path="conf", config_name="config", execution_whitelist=["app.*", "__main__.*"])
def main(cfg: DictConfig) -> float:
    trainer = instantiate(cfg.trainer)
    if callable(trainer.optimizer):
        trainer.optimizer = trainer.optimizer(lr=0.5)
    log.info(trainer)
    return float(trainer.steps)


if __name__ == "__main__":
    main()

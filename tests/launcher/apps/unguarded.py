"""A script that runs its application whenever it is imported."""

from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore


@dataclass
class Config:
    """The schema."""

    x: int = 1


ConfigStore.instance().store(name="config", node=Config)


@hydra.main(config_path=None, config_name="config")
def main(cfg: Config) -> int:
    return cfg.x


main()

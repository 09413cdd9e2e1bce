"""Started with `python -m`; its configuration is in the package, its imports are relative."""

import logging

import hydra
from omegaconf import DictConfig

from .objective import objective

log = logging.getLogger(__name__)


@hydra.main(config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    log.info(cfg)
    return objective(cfg.x)


if __name__ == "__main__":
    main()

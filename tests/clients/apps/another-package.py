"""The configuration is in another package that is installed."""

import logging

import hydra
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@hydra.main(config_path="pkg://package.conf", config_name="config")
def main(cfg: DictConfig) -> float:
    log.info(cfg)
    return float(cfg.x)


if __name__ == "__main__":
    main()

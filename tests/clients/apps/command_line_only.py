"""No configuration at all: every key is added on the command line."""

import logging

import hydra
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@hydra.main(config_path=None)
def main(cfg: DictConfig) -> float:
    log.info(cfg)
    return float(cfg.db.port)


if __name__ == "__main__":
    main()

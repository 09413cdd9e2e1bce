"""Hydra's own configuration: logging, folders named after overrides, environment, callbacks."""

import logging
import os

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@hydra.main(config_path=".", config_name="config", execution_whitelist=["watching.*"])
def main(cfg: DictConfig) -> float:
    job = HydraConfig.get().job
    log.debug("quiet unless hydra.verbose")
    log.info("%s %s %s", job.name, job.override_dirname, job.config_name)
    log.info(os.environ["FROM_THE_CONFIGURATION"])
    return float(cfg.x)


if __name__ == "__main__":
    main()

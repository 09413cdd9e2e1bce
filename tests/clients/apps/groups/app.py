"""Config groups: defaults, packages, experiments, a list of choices, names that are put together."""

import logging

import hydra
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


@hydra.main(config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    log.info(OmegaConf.to_yaml(cfg, resolve=True))
    return float(len(str(cfg)))


if __name__ == "__main__":
    main()

"""A task that composes another configuration while it runs."""

import logging

import hydra
from hydra import compose
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


@hydra.main(config_path="groups/conf", config_name="bare")
def main(cfg: DictConfig) -> float:
    other = compose("packages", overrides=[f"db@target={cfg.target}"])
    log.info(OmegaConf.to_yaml(other))
    return float(other.target.port)


if __name__ == "__main__":
    main()

"""A configuration file: interpolations, resolvers (one of them our own), a value to be given."""

import logging
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_original_cwd, to_absolute_path
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)
OmegaConf.register_new_resolver("times", lambda a, b: a * b)


@hydra.main(config_path=".", config_name="config")
def main(cfg: DictConfig) -> float:
    log.info(OmegaConf.to_yaml(cfg, resolve=True))
    log.info("%s %s", get_original_cwd(), to_absolute_path("data"))
    log.info("works in its folder: %s", Path.cwd() == Path(HydraConfig.get().runtime.output_dir))
    Path("result.txt").write_text(str(cfg.node.double)) if cfg.write else None
    return float(cfg.node.double)


if __name__ == "__main__":
    main()

"""Files with a structured schema, from the script and from a module that it imports."""

import logging
from dataclasses import dataclass, field

import database
import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

log = logging.getLogger(__name__)


@dataclass
class Config:
    db: database.Database = field(default_factory=database.Database)
    debug: bool = MISSING


store = ConfigStore.instance()
store.store(name="base_config", node=Config)
store.store(group="db", name="base_mysql", node=database.MySQL)
database.register()


@hydra.main(config_path="conf", config_name="config")
def main(cfg: Config) -> float:
    log.info(OmegaConf.to_yaml(cfg))
    log.info("%s %s", OmegaConf.get_type(cfg).__name__, OmegaConf.get_type(cfg.db).__name__)
    return float(cfg.db.port)


if __name__ == "__main__":
    main()

"""Dataclasses in the script itself: nested, inherited, in groups, with enums and mappings of them."""

import logging
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

log = logging.getLogger(__name__)


class Split(Enum):
    TRAIN = "train"
    TEST = "test"


@dataclass
class Database:
    driver: str = MISSING
    port: int = 80
    password: str = "${oc.env:CLIENT_HOME,none}"


@dataclass
class MySQL(Database):
    driver: str = "mysql"
    port: int = 3306


@dataclass
class PostgreSQL(Database):
    driver: str = "postgresql"
    port: int = 5432
    timeout: int | None = 10


@dataclass
class Window:
    width: int = 640
    height: float = 480.0


@dataclass
class Config:
    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"db": "mysql"}])
    db: Database = MISSING
    window: Window = field(default_factory=Window)
    split: Split = Split.TRAIN
    sizes: dict[Split, int] = field(default_factory=lambda: {Split.TRAIN: 60, Split.TEST: 10})
    layers: list[int] = field(default_factory=lambda: [8, 16])


@dataclass
class Choosing(Config):
    defaults: list[Any] = field(default_factory=lambda: [{"db": MISSING}, "_self_"])


store = ConfigStore.instance()
store.store(name="config", node=Config)
store.store(name="choosing", node=Choosing)
store.store(group="db", name="mysql", node=MySQL)
store.store(group="db", name="postgresql", node=PostgreSQL)


@hydra.main(config_path=None, config_name="config")
def main(cfg: Config) -> float:
    log.info(OmegaConf.to_yaml(cfg))
    settings = OmegaConf.to_object(cfg)
    assert isinstance(settings, Config)
    log.info(settings)
    return float(cfg.db.port + cfg.window.width + cfg.sizes[cfg.split])


if __name__ == "__main__":
    main()

"""A library of schemas."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class Database:
    driver: str = MISSING
    port: int = 80


@dataclass
class MySQL(Database):
    driver: str = "mysql"
    user: str = MISSING


@dataclass
class PostgreSQL(Database):
    driver: str = "postgresql"
    timeout: int = 10


def register() -> None:
    store = ConfigStore.instance()
    store.store(group="database_lib/db", name="postgresql", node=PostgreSQL)

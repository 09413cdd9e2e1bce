"""Configurations as the command line makes them, without starting a run."""

from __future__ import annotations

from functools import lru_cache

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from budgetsweep.config import CONF_DIR, Config, register, to_config
from budgetsweep.config.settings_page import settings

MODELS = sorted(path.stem for path in (CONF_DIR / "model").glob("*.yaml"))


@lru_cache
def compose_raw(*overrides: str, return_hydra_config: bool = False) -> DictConfig:
    """What Hydra hands to the application. Shared between tests: do not change it."""
    register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF_DIR)):
        return hydra.compose("config", list(overrides), return_hydra_config)


def compose(*overrides: str) -> Config:
    """The checked configuration, a fresh one at each call."""
    return to_config(compose_raw(*overrides))


def options(key: str) -> list[str]:
    """What the schema allows for a setting with a closed set of values, null apart."""
    kind = next(setting.type for setting in settings() if setting.key == key)
    return [value for value in kind.split(" | ") if value != "null"]

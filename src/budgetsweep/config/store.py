"""Where Hydra finds the configuration: the folder `conf/`, and the schema by its name."""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from budgetsweep.config.schema import Config

# In a checkout conf/ lies at the top; in an installed package it lies inside that.
_PACKAGE = Path(__file__).resolve().parents[1]
CONF_DIR = next(
    (d for d in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if d.is_dir()), _PACKAGE / "conf"
)


def register() -> None:
    """Make the schema known to Hydra under the name that conf/config.yaml starts from.

    A group has to be chosen: with the schema's own values in its place, `~scheduler` would train with
    the schedule that it was to remove.
    """
    schema = OmegaConf.structured(Config)
    for name in schema:
        if (CONF_DIR / str(name)).is_dir():
            schema[name] = MISSING
    # `replace`: without it a second call, in one process, warns.
    ConfigStore.instance().store(name="schema", node=schema, provider="budgetsweep", replace=True)

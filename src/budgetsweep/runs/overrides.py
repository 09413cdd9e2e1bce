"""With which overrides a run was started."""

from __future__ import annotations

from pathlib import Path

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from budgetsweep.errors import UserError
from hydra_budget_sweeper.space.grammar import override_text

SEARCHPATH = "hydra.searchpath"
_OURS = ("hydra", "main", "schema")  # providers of what every command finds


def overrides_of(folder: Path) -> list[str]:
    """Read the overrides of a run, and where else its command looked for configurations.

    That is of `--config-dir` and `hydra.searchpath`; as an override it is the same to any command.

    Raises:
        UserError: they are missing or unreadable.
    """
    try:
        own = [str(o) for o in OmegaConf.load(folder / ".hydra" / "overrides.yaml")]
        places = _places(folder / ".hydra" / "hydra.yaml")
    except (OSError, ValueError, TypeError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: the run's overrides cannot be read ({reason}).") from None
    path = ",".join(override_text(place) for place in places)
    return [*own, f"{SEARCHPATH}=[{path}]"] if places else own


def _places(path: Path) -> list[str]:
    """Where a command looked beside its own places; nowhere if nobody has written it down."""
    if not path.exists():
        return []
    sources = OmegaConf.select(OmegaConf.load(path), "hydra.runtime.config_sources") or []
    return [f"{s['schema']}://{s['path']}" for s in sources if s["provider"] not in _OURS]

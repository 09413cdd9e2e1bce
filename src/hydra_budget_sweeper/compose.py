"""Overrides to the configuration Hydra would compose, at a hundredth of the time.

Composing anew reads every file of the defaults list (some 40 ms). Only choices of config groups
need that; a plain `key=value` is applied by Hydra's own function to a copy of the composed rest.
"""

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from hashlib import sha1
from typing import Any

import cloudpickle
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict
from omegaconf.errors import OmegaConfBaseException

_MAX_BASES = 64
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[-+]?\d+)?")


class _SharedNode(DictConfig):
    """Hydra's own node of one job, whose copies share their contents.

    `run_job` copies it four times, node by node, which was most of what a short trial cost. It
    makes the node read-only before the task runs, so that nobody can tell a copy from the rest.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "_SharedNode":
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for own in ("_metadata", "_flags_cache"):
            twin.__dict__[own] = deepcopy(self.__dict__[own], memo)
        twin.__dict__["_content"] = dict(self.__dict__["_content"])
        return twin


@lru_cache(maxsize=1024)
def _parse(text: str) -> Override:
    key, _, value = text.partition("=")
    if value == "0" or not _NUMBER.fullmatch(value):
        return OverridesParser.create().parse_override(text)
    # The grammar takes a millisecond; what it makes of a number is known.
    number = int(value) if value.lstrip("-").isdigit() else float(value)
    return replace(_parse(f"{key}=0"), _value=number, input_line=text)


class Composer:
    """Composes candidates of one sweep.

    Args:
        loader: Hydra's.
        master: The sweep's own configuration.
        example: Overrides of any one candidate; shows which keys are config groups.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, example: Sequence[str]) -> None:
        self._loader = loader
        self._master = master
        self._bases: dict[tuple[str, ...], tuple[bytes, bytes]] = {}
        composed = loader.load_sweep_config(master, list(example))
        self._groups = set(composed.hydra.runtime.choices)

    def task_config(self, overrides: Sequence[str]) -> DictConfig:
        """Compose what the task would get, without the `hydra` node."""
        groups, plain = self._split(overrides)
        config: DictConfig = cloudpickle.loads(self._base(groups)[1])
        ConfigLoaderImpl._apply_overrides_to_config(plain, config)
        return config

    def job_config(self, overrides: Sequence[str], number: int) -> DictConfig:
        """Compose the whole configuration of job `number`, for Hydra's `run_job`."""
        groups, plain = self._split(overrides)
        config: DictConfig = cloudpickle.loads(self._base(groups)[0])
        ConfigLoaderImpl._apply_overrides_to_config(plain, config)
        OmegaConf.copy_cache(from_config=self._master, to_config=config)
        with open_dict(config):
            config.hydra.overrides.task = list(overrides)
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        return config

    def _split(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], list[Override]]:
        if type(self._loader) is not ConfigLoaderImpl:
            return tuple(overrides), []
        groups: list[str] = []
        plain: list[Override] = []
        for text in overrides:
            override = _parse(text)
            if self._is_plain(override):
                plain.append(override)
            else:
                groups.append(text)
        return tuple(groups), plain

    def _is_plain(self, override: Override) -> bool:
        key = override.key_or_group
        known = {key, key.replace(".", "/"), f"{key}@{override.package}"}
        group = override.package is not None or bool(known & self._groups)
        return not group and not override.is_hydra_override()

    def _base(self, groups: tuple[str, ...]) -> tuple[bytes, bytes]:
        if groups not in self._bases:
            if len(self._bases) >= _MAX_BASES:
                self._bases.pop(next(iter(self._bases)))
            whole = self._loader.load_sweep_config(self._master, list(groups))
            object.__setattr__(whole.hydra, "__class__", _SharedNode)
            packed = cloudpickle.dumps(whole)
            with flag_override(whole, ["struct", "readonly"], [False, False]):
                del whole["hydra"]
            self._bases[groups] = (packed, cloudpickle.dumps(whole))
        return self._bases[groups]


def fingerprint(config: DictConfig) -> str:
    """Return a digest that two configurations share where every resolved value is the same."""
    return sha1(json.dumps(_resolved(config), sort_keys=True, default=str).encode()).hexdigest()


def flatten(config: DictConfig) -> dict[str, Any]:
    """Return dotted key to value, interpolations as they are written."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, node: Any) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(f"{prefix}{key}.", value)
        else:
            flat[prefix.removesuffix(".")] = node

    walk("", json.loads(json.dumps(OmegaConf.to_container(config, resolve=False), default=str)))
    return flat


def _resolved(config: DictConfig) -> Any:
    try:
        return OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException:
        # What is only known inside the trial's own folder cannot tell candidates apart.
        return OmegaConf.to_container(config, resolve=False)

"""A candidate as Hydra composes it: the one thing that is judged, compared, trained and recorded.

Composing anew reads every file of the defaults list. Only choices of config groups need that: a
plain `key=value` is set on a copy of the composed rest, as Hydra itself sets it.
"""

import os
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from hashlib import sha1
from typing import Any

import cloudpickle
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override, open_dict, read_write
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from hydra_budget_sweeper.space.grammar import parser
from hydra_budget_sweeper.storage_url import without_password

_MAX_BASES = 64
_NUMBER = re.compile(
    r"([a-zA-Z_]\w*(?:\.[a-zA-Z_]\w*)*)=(-?(?:0|[1-9]\d*))((?:\.\d+)?(?:e[-+]?\d+)?)", re.A
)


_Read = tuple[Override, Any]  # an override and its value


@dataclass
class Candidate:
    """One candidate of a sweep.

    Args:
        overrides: What tells it from the sweep's own configuration, in Hydra's order.
        job: Its whole configuration, for Hydra's `run_job`.
        compose_task: Composes `task`.
    """

    overrides: tuple[str, ...]
    job: DictConfig
    compose_task: Callable[[], DictConfig]

    @cached_property
    def task(self) -> DictConfig:
        """What the task will get: `job` without the `hydra` node."""
        return self.compose_task()

    def place_in(self, subdir: str) -> None:
        """Give its job another folder below the sweep's."""
        if subdir != self.subdir:
            with read_write(self.job.hydra), open_dict(self.job.hydra):
                self.job.hydra.sweep.subdir = subdir
            self._know_folder()

    def _know_folder(self) -> None:
        """Tell the job's folder beforehand, for `${hydra:runtime.output_dir}` in what is judged."""
        hydra = self.job.hydra
        with self.as_current_job(), read_write(hydra), open_dict(hydra):
            # Its folder below the sweep's, by `hydra.sweep.subdir` unless it was placed elsewhere.
            self.subdir = str(hydra.sweep.subdir)
            # As Hydra does; a Path would keep "..".
            folder = os.path.join(str(hydra.sweep.dir), self.subdir)  # noqa: PTH118
            hydra.runtime.output_dir = os.path.abspath(folder)  # noqa: PTH100

    def __post_init__(self) -> None:
        self._know_folder()

    @contextmanager
    def as_current_job(self) -> Iterator[None]:
        """Let `${hydra:...}` mean this candidate's job for the length of the block."""
        before = HydraConfig.instance().cfg
        HydraConfig.instance().cfg = self.job  # type: ignore[assignment]
        try:
            yield
        finally:
            HydraConfig.instance().cfg = before

    @cached_property
    def fingerprint(self) -> str:
        """A digest that two candidates share where all that their tasks get is the same.

        A trial's own folder cannot tell candidates apart.
        """
        folder = self.job.hydra.runtime.output_dir
        with self.as_current_job():
            values = [(repr(k), _child(self.job, k, folder)) for k in self.job if k != "hydra"]
        return sha1(repr(values).encode()).hexdigest()


class Composer:
    """Composes the candidates of one sweep.

    Args:
        loader: Hydra's.
        master: The sweep's own configuration.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader = loader
        self._master = master
        self._bases: dict[tuple[str, ...], tuple[bytes, bytes]] = {}
        self._known_groups: dict[str, bool] = {}

    def compose(self, overrides: Sequence[str], number: int) -> Candidate:
        """Compose a candidate as trial `number`, its folder not yet made.

        Raises:
            HydraException, OmegaConfBaseException: As Hydra does for the same overrides.
        """
        base, rest = self._split(overrides)
        try:
            job = self._copy(base, rest)
        except OmegaConfBaseException:  # Hydra's own way, for its own message
            base, rest = tuple(overrides), []
            job = self._copy(base, rest)
        with open_dict(job.hydra):
            job.hydra.overrides.task = list(overrides)
            job.hydra.job.id = str(number)
            job.hydra.job.num = number
        return Candidate(tuple(overrides), job, partial(self._copy, base, rest, task=True))

    def is_group(self, override: Override) -> bool:
        """Return whether Hydra takes an override as the choice of a config group."""
        if override.package is not None:
            return True
        if override.is_value_path or isinstance(override.value(), dict):
            return False
        group = override.key_or_group
        if group not in self._known_groups:
            self._known_groups[group] = bool(
                self._loader.get_group_options(
                    group,
                    results_filter=None,
                    config_name=self._master.hydra.job.config_name,
                    overrides=overrides_of_hydra(self._master),
                )
            )
        return self._known_groups[group]

    def _split(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], list[_Read]]:
        """Part what must be composed from the values that can be set afterwards, in order.

        Hydra chooses all groups first and applies everything else in the order given.
        """
        read = [_read(text) for text in overrides]
        grouped = [override.is_hydra_override() or self.is_group(override) for override, _ in read]
        composed = [
            i
            for i, (o, _) in enumerate(read)
            if not grouped[i] and (o.is_delete() or o.is_list_extend())
        ]
        last = max(composed, default=-1)
        base = tuple(t for i, t in enumerate(overrides) if grouped[i] or i <= last)
        return base, [r for i, r in enumerate(read) if not grouped[i] and i > last]

    def _copy(self, base: tuple[str, ...], rest: Sequence[_Read], task: bool = False) -> DictConfig:
        """Set values on a copy of what is composed, as Hydra's own loader does."""
        config: DictConfig = pickle.loads(self._base(base)[task])
        for override, value in rest:
            _set(override, value, config)
        OmegaConf.copy_cache(from_config=self._master, to_config=config)
        return config

    def _base(self, overrides: tuple[str, ...]) -> tuple[bytes, bytes]:
        if overrides not in self._bases:
            if len(self._bases) >= _MAX_BASES:
                self._bases.pop(next(iter(self._bases)))
            whole = self._loader.load_sweep_config(self._master, list(overrides))
            _hide_password(whole)
            # Classes of a script are pickled by value: other processes have another __main__.
            packed = cloudpickle.dumps(whole)
            with flag_override(whole, ["struct", "readonly"], [False, False]):
                del whole["hydra"]
            self._bases[overrides] = (packed, cloudpickle.dumps(whole))
        return self._bases[overrides]


def overrides_of_hydra(config: DictConfig) -> list[str]:
    """Return what was set of Hydra's own settings, interpolations as they are written."""
    return list(OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False))  # type: ignore[arg-type]


def flatten(config: DictConfig) -> dict[str, Any]:
    """Return dotted key to value, interpolations as they are written, all of it fit for JSON."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, node: Any) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(f"{prefix}{getattr(key, 'name', key)}.", value)
        else:
            flat[prefix.removesuffix(".")] = _plain(node)

    walk("", OmegaConf.to_container(config, resolve=False))
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(getattr(key, "name", key)): _plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | None) else str(value)


def _read(text: str) -> _Read:
    """Return an override and its value.

    Hydra's grammar takes a third of a millisecond, so what it makes of a number is not asked twice.
    """
    number = _NUMBER.fullmatch(text)
    if number is None:
        override = _parse(text)
        return override, override.value()
    key, whole, rest = number.groups()
    return _parse(f"{key}=0"), float(whole + rest) if rest else int(whole)


@lru_cache(maxsize=1024)
def _parse(text: str) -> Override:
    return parser().parse_overrides([text])[0]


def _set(override: Override, value: Any, config: DictConfig) -> None:
    key = override.key_or_group
    if override.is_add() and not isinstance(value, dict | list):
        if OmegaConf.select(config, key, throw_on_missing=False) is not None:
            raise ConfigKeyError(f"{key} is there already")
    adds = override.is_add() or override.is_force_add()
    OmegaConf.update(config, key, value, merge=True, force_add=adds)


def _hide_password(whole: DictConfig) -> None:
    """Take the storage's password out of what each trial's folder keeps of Hydra's settings."""
    with read_write(whole.hydra), open_dict(whole.hydra):
        if not OmegaConf.is_interpolation(whole.hydra.sweeper, "storage"):
            storage = whole.hydra.sweeper.storage
            whole.hydra.sweeper.storage = storage and without_password(str(storage))
        whole.hydra.overrides.hydra = list(map(without_password, overrides_of_hydra(whole)))


def _resolved(node: Any, folder: str) -> Any:
    """Return a node's values with their types, in order; what cannot be resolved, as written."""
    if isinstance(node, DictConfig):
        return [(repr(key), _child(node, key, folder)) for key in node]
    if isinstance(node, ListConfig):
        return [_child(node, i, folder) for i in range(len(node))]
    if isinstance(node, str):
        return node.replace(folder, "<folder>")
    return type(node).__name__, repr(node)


def _child(node: Any, key: Any, folder: str) -> Any:
    try:
        return _resolved(node[key], folder)
    except OmegaConfBaseException:
        raw: Any = OmegaConf.to_container(node, resolve=False)
        return "unresolved", repr(raw[key])

"""Which of several overrides of one key count, by Hydra's rule that the last wins."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import ChoiceSweep, Override

from hydra_budget_sweeper.space.axes import Condition


@dataclass(frozen=True)
class Written:
    """One override, as it was written."""

    override: Override
    when: tuple[Condition, ...] = ()
    # With which prefix: an override that replaces one with `+` must add the key as well.
    prefix: str = ""

    @property
    def key(self) -> str:
        return key_of(self.override)

    @property
    def name(self) -> str:
        """The key as it is written in a candidate's overrides."""
        return self.prefix + self.override.get_key_element().lstrip("+")

    @property
    def searched(self) -> bool:
        return self.override.is_sweep_override()

    @property
    def merges(self) -> bool:
        """Whether Hydra adds the value to what is there: a mapping, or more items of a list."""
        return isinstance(self.override.value(), Mapping) or self.override.is_list_extend()


def key_of(override: Override) -> str:
    """Name what Hydra takes for one key; see `plain_key`."""
    return plain_key(override.get_key_element().lstrip("~"))


def plain_key(name: str) -> str:
    """Return a key's one name, however it is added or its list items are written.

    A group's `model/backbone` and the value `model.backbone` are two: Hydra applies both.
    """
    path, at, package = name.lstrip("+").partition("@")
    return re.sub(r"\[([^\]]+)\]", r".\1", path) + at + (package or ("_global_" if at else ""))


def prefix_of(override: Override) -> str:
    """Return what makes Hydra add the key."""
    return "+" if override.is_add() else "++" if override.is_force_add() else ""


def add(written: list[Written], new: Written, loader: ConfigLoader | None, inherit: bool) -> None:
    """Append an override; take out those before it that it makes ineffective.

    Args:
        inherit: What replaces conditional parameters depends on what they depended on.
    """
    gone = [old for old in _same_key(written, new) if _replaces(new, old, loader, inherit)]
    written[:] = [old for old in written if not any(old is g for g in gone)]
    adds = next((old.prefix for old in gone if old.prefix), "")
    if new.override.is_delete():
        # What the sweep alone would have added is not there to be deleted.
        if adds != "+":
            written.append(new)
        return
    when = _united([old.when for old in gone]) if inherit and new.searched else new.when
    written.append(replace(new, prefix=new.prefix or adds, when=when))


def _same_key(written: Sequence[Written], new: Written) -> Iterator[Written]:
    """Return what was written for the key since it was last deleted."""
    for old in reversed(written):
        if old.key == new.key:
            if old.override.is_delete():
                return
            yield old


def _replaces(new: Written, old: Written, loader: ConfigLoader | None, inherit: bool) -> bool:
    if new.override.is_delete():
        return old.searched
    if new.searched and not inherit and new.when != old.when:
        return False  # another condition: both may be needed
    if old.searched:
        # A mapping is merged into what a group's choice gives.
        return not (new.merges and _is_group(loader, old))
    return not new.merges and not old.merges and not _has_mappings(new)


def _has_mappings(new: Written) -> bool:
    value = new.override.value()
    return isinstance(value, ChoiceSweep) and any(isinstance(c, dict) for c in value.list)


def _is_group(loader: ConfigLoader | None, written: Written) -> bool:
    return loader is not None and bool(loader.get_group_options(written.override.key_or_group))


def _united(alternatives: list[tuple[Condition, ...]]) -> tuple[Condition, ...]:
    """Return a condition that holds where one of several does, if one can say so; else none."""
    if len(alternatives) < 2:
        return alternatives[0] if alternatives else ()
    names = {tuple(c.name for c in when) for when in alternatives}
    if len(names) > 1 or len(next(iter(names))) != 1:
        return ()
    texts = dict.fromkeys(
        text for (condition,) in reversed(alternatives) for text in condition.texts
    )
    return (Condition(alternatives[0][0].name, tuple(texts)),)

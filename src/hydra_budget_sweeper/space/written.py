"""Which of several overrides of one key count, by Hydra's rule that the last wins."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override

from hydra_budget_sweeper.space.axes import Condition
from hydra_budget_sweeper.space.grammar import key_of, listed_values


@dataclass(frozen=True)
class Written:
    """One override, as it was written.

    Args:
        override: As Hydra read it.
        key: What it sets; two of one key cannot both have effect, unless values are merged.
        prefix: What makes Hydra add the key; one that replaces another must add it as well.
        when: In which candidates it stands.
    """

    override: Override
    key: str
    prefix: str
    when: tuple[Condition, ...] = ()

    @property
    def name(self) -> str:
        """The key as it stands in a candidate's overrides."""
        if self.override.is_delete():
            return self.override.get_key_element()
        return self.prefix + self.override.get_key_element().lstrip("+")

    @property
    def searched(self) -> bool:
        return self.override.is_sweep_override()

    @property
    def merges(self) -> bool:
        """Whether Hydra adds the value to what is there: a mapping, or more items of a list."""
        return self.override.is_list_extend() or _has_mapping(self.override)


def written_as(
    override: Override, loader: ConfigLoader | None, when: tuple[Condition, ...] = ()
) -> Written:
    """Return an override with what it sets.

    A group's choice and a mapping that is merged into what was chosen are two things.
    """
    key = key_of(override)
    if loader is not None and _has_mapping(override) and loader.get_group_options(key):
        key += "={}"
    prefix = "+" if override.is_add() else "++" if override.is_force_add() else ""
    return Written(override, key, prefix, when)


def add(written: list[Written], new: Written, inherit: bool) -> None:
    """Append an override; take out those before it that it makes ineffective.

    Args:
        written: What was written before it; changed in place.
        new: The override.
        inherit: What replaces conditional parameters depends on what they depended on.
    """
    gone = [old for old in _same_key(written, new) if _replaces(new, old, inherit)]
    written[:] = [old for old in written if not any(old is g for g in gone)]
    prefix = max((w.prefix for w in (new, *gone)), key=len)
    when = _united([old.when for old in gone]) if inherit and new.searched else new.when
    # What the sweep alone would have added is not there to be deleted.
    if not (new.override.is_delete() and prefix == "+"):
        written.append(replace(new, prefix=prefix, when=when))


def _same_key(written: Sequence[Written], new: Written) -> Iterator[Written]:
    """Return what was written for the key since it was last deleted."""
    for old in reversed(written):
        if old.key == new.key:
            if old.override.is_delete():
                return
            yield old


def _replaces(new: Written, old: Written, inherit: bool) -> bool:
    if new.override.is_delete():
        return old.searched
    if new.searched and not inherit and new.when != old.when:
        return False  # another condition: both may be needed
    return old.searched or not (new.merges or old.merges)


def _has_mapping(override: Override) -> bool:
    return any(isinstance(value, Mapping) for value in listed_values(override))


def _united(alternatives: list[tuple[Condition, ...]]) -> tuple[Condition, ...]:
    """Return a condition that holds where one of several does, if one can say so; else none."""
    if len(alternatives) < 2:
        return alternatives[0] if alternatives else ()
    keys = {tuple(c.key for c in when) for when in alternatives}
    if len(keys) > 1 or len(next(iter(keys))) != 1:
        return ()
    texts = dict.fromkeys(
        text for (condition,) in reversed(alternatives) for text in condition.texts
    )
    return (Condition(alternatives[0][0].key, tuple(texts)),)

"""Hydra's override grammar: read with `null` among choices, written so that it reads back."""

import inspect
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, lru_cache
from numbers import Real
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Override,
    Quote,
    QuotedString,
    Transformer,
)
from hydra.errors import HydraException

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.hydra_errors import described


def parse_all(
    lines: list[str], where: str = "the search space", loader: ConfigLoader | None = None
) -> list[Override]:
    """Read overrides; `loader` knows the options of the groups that `glob` searches.

    Raises:
        SweepError: One cannot be read; names `where` it stands.
    """
    try:
        parsed = parser().parse_overrides(lines)
    except HydraException as error:
        raise SweepError(f"Cannot read {where}: {described(error)}") from None
    for override in parsed:
        override.config_loader = loader
    return parsed


def read_value(text: str) -> Any:
    """Return what `text` means on the right-hand side of an override, as plain Python."""
    return parser().parse_override(f"_={text}").value()


def listed_values(override: Override) -> list[Any]:
    """Return the values that a choice lists, or the one of an override that is no sweep."""
    value = override.value()
    return [plain_value(v) for v in (value.list if isinstance(value, ChoiceSweep) else [value])]


def override_text(value: Any) -> str:
    """Write a value so that Hydra's grammar reads the same one back, type and all."""
    if isinstance(value, str):
        return _string_text(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(override_text, value))}]"
    if isinstance(value, Mapping):
        # A key cannot be quoted; Hydra's own text escapes it.
        pairs = (f"{Transformer.str(k)}:{override_text(v)}" for k, v in value.items())
        return f"{{{','.join(pairs)}}}"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def fixed_text(override: Override) -> str:
    """Write the value of an override that is no sweep as Hydra does, where that reads back.

    Hydra escapes `${...}`, which in the name of a folder must not be resolved.
    """
    if override.is_list_extend():
        return override.get_value_string()
    ours, hydras = override_text(override.value()), override.get_value_element_as_str()
    with suppress(HydraException):
        if override_text(read_value(hydras)) == ours:
            return hydras
    return ours


def plain_value(parsed: Any) -> Any:
    """Return what the grammar read as plain Python, quotes gone."""
    if isinstance(parsed, QuotedString):
        return parsed.text
    if isinstance(parsed, list):
        return [plain_value(v) for v in parsed]
    if isinstance(parsed, dict):
        return {plain_value(k): plain_value(v) for k, v in parsed.items()}
    return parsed


def same(one: Any, other: Any) -> bool:
    """Return whether two values of a configuration are one; an integer may stand for a float."""
    if is_number(one) and is_number(other) and one == other:
        return True
    return override_text(one) == override_text(other)


def is_number(value: Any) -> bool:
    """Return whether a value is a real number, which a truth value is not."""
    # The first answer is the quick one.
    return type(value) in (float, int) or (isinstance(value, Real) and not isinstance(value, bool))


def key_of(override: Override) -> str:
    """Name what Hydra takes for one key; see `plain_key`."""
    return plain_key(override.get_key_element().lstrip("~"))


def plain_key(name: str) -> str:
    """Return a key's one name, however it is added or its list items are written.

    A group's `model/backbone` and the value `model.backbone` are two: Hydra applies both.
    """
    path, at, package = name.lstrip("+").partition("@")
    return re.sub(r"\[([^\]]+)\]", r".\1", path) + at + (package or ("_global_" if at else ""))


@lru_cache(maxsize=4096)  # the grammar takes a millisecond
def _string_text(value: str) -> str:
    # Whatever the grammar reads as another type (null, 1, [a]) or not at all must be quoted; so
    # must a backslash, which may escape what comes after the value.
    read = None
    if value and "\\" not in value:
        with suppress(HydraException):
            read = parser().parse_rule(value, "element")
    return value if read == value else QuotedString(value, Quote.single).with_quotes()


@cache
def parser() -> OverridesParser:
    """Return Hydra's parser, whose `choice` takes null as well."""
    functions = create_functions()
    hydras = functions.functions["choice"]

    def choice(
        *args: str | int | float | bool | dict[Any, Any] | list[Any] | ChoiceSweep | None,
    ) -> ChoiceSweep:
        if None in args:
            return ChoiceSweep(list=list(args))  # type: ignore[arg-type]
        return cast(ChoiceSweep, hydras(*args))

    functions.functions["choice"] = choice
    functions.definitions["choice"] = inspect.signature(choice)
    return OverridesParser(functions=functions)

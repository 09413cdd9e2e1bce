"""Hydra's override grammar: read with `null` among choices, written so that it reads back."""

import inspect
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, lru_cache
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
        raise SweepError(f"Cannot read {where}: {error}") from None
    for override in parsed:
        override.config_loader = loader
    return parsed


def read_value(text: str) -> Any:
    """Return what `text` means on the right-hand side of an override, as plain Python."""
    return parser().parse_override(f"_={text}").value()


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


def parsed_text(parsed: Any) -> str:
    """Write what the grammar read: Hydra's own text of a container that reads back alike."""
    ours = override_text(plain_value(parsed))
    if not isinstance(parsed, list | dict):
        return ours
    hydras = Transformer.str(parsed)
    return hydras if _means(hydras, ours) else ours


def fixed_text(override: Override) -> str:
    """Write the value of an override that is no sweep, casts and all, so that it stays the same."""
    if not override.is_list_extend():
        text = override.get_value_element_as_str()
        if _means(text, override_text(override.value())):
            return text
    return override.get_value_string()


def plain_value(parsed: Any) -> Any:
    """Return what the grammar read as plain Python, quotes gone."""
    if isinstance(parsed, QuotedString):
        return parsed.text
    if isinstance(parsed, list):
        return [plain_value(v) for v in parsed]
    if isinstance(parsed, dict):
        return {plain_value(k): plain_value(v) for k, v in parsed.items()}
    return parsed


@lru_cache(maxsize=4096)  # the grammar takes a millisecond
def _string_text(value: str) -> str:
    # Whatever the grammar reads as another type (null, 1, [a]) or not at all must be quoted; so
    # must a backslash, which may escape what comes after the value.
    read = None
    if value and "\\" not in value:
        with suppress(HydraException):
            read = parser().parse_rule(value, "element")
    return value if read == value else QuotedString(value, Quote.single).with_quotes()


def _means(text: str, canonical: str) -> bool:
    try:
        return text == canonical or override_text(read_value(text)) == canonical
    except HydraException:
        return False


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

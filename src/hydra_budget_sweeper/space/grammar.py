"""Hydra's override grammar: read with `null` among choices, written so that it reads back."""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

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


def override_text(value: Any) -> str:
    """Write a scalar so that Hydra's grammar reads the same value back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    try:
        read = parser().parse_rule(value, "element") if value else None
    except HydraException:
        read = None
    # Whatever the grammar reads as another type (null, 1, [a]) or not at all must be quoted.
    return value if read == value else QuotedString(value, Quote.single).with_quotes()


def override_value_text(value: Any) -> str:
    """As `override_text`, for lists and mappings too."""
    if isinstance(value, list | tuple):
        return f"[{','.join(override_value_text(v) for v in value)}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{override_value_text(v)}" for k, v in value.items()) + "}"
    return override_text(value)


def stored_value(value: Any) -> Any:
    """Return what Optuna keeps for a parsed value: scalars as they are, the rest as text."""
    if isinstance(value, QuotedString):
        return value.text
    return Transformer.str(value) if isinstance(value, list | dict) else value


def plain_value(value: Any) -> Any:
    """Return what the grammar read as plain Python, quotes gone."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain_value(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain_value(v) for k, v in value.items()}
    return value


def parse_all(lines: list[str]) -> list[Override]:
    """Read overrides; a `SweepError` says where one cannot be read."""
    try:
        return parser().parse_overrides(lines)
    except HydraException as error:
        raise SweepError(f"Cannot read the search space: {error}") from None


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

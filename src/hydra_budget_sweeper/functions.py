"""Functions that a setting names."""

import importlib
from collections.abc import Callable
from typing import Any

from hydra_budget_sweeper.errors import SweepError


def function_named(name: str, setting: str) -> Callable[..., Any]:
    """Import `package.module.function`.

    Raises:
        SweepError: There is no such function; names `setting` and what is missing.
    """
    module_name, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, ValueError, AttributeError) as error:
        raise SweepError(f"hydra.sweeper.{setting}={name} cannot be imported: {error}") from None
    if not callable(found):
        raise SweepError(f"hydra.sweeper.{setting}={name} is no function.")
    function: Callable[..., Any] = found
    return function

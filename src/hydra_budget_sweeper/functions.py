"""Functions that a setting names, as far as Hydra's policy lets a configuration call them."""

import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from hydra.utils import execution_whitelist, get_method, instantiate

from hydra_budget_sweeper.errors import SweepError


class NamedFunctions:
    """Imports the functions that settings name.

    A configuration may come from a stranger, so only the application's own package and what its
    `@hydra.main(execution_whitelist=...)` adds is imported, and Hydra's blocklist holds.
    """

    def __init__(self, task: TaskFunction, context: HydraContext) -> None:
        self._allowed = [f"{name}.*" for name in _own_modules(task)]
        self._context = context

    def load(self, name: str, setting: str) -> Callable[..., Any]:
        """Import `package.module.function`.

        Raises:
            SweepError: It may not be called, or there is no such function; names `setting`.
        """
        with self._policy(name, setting):
            # Refuses what may not be called; the function itself, unlike a partial, pickles.
            checked = {"_target_": name, "_partial_": True}
            instantiate(checked, _execution_whitelist_=self._allowed)
            function = get_method(name)
        return function

    def partial(self, node: Mapping[str, Any], setting: str, also: Sequence[str]) -> partial[Any]:
        """Resolve a node with `_target_`, and call the target with its arguments some time later.

        Args:
            also: Further names that may be called, as in `@hydra.main(execution_whitelist=...)`.

        Raises:
            SweepError: As `load` does.
        """
        allowed = [*also, *self._allowed]
        with self._policy(str(node["_target_"]), setting):
            made: partial[Any] = instantiate(
                {**node, "_partial_": True}, _execution_whitelist_=allowed, _convert_="all"
            )
        return made

    @contextmanager
    def _policy(self, name: str, setting: str) -> Iterator[None]:
        logging.getLogger("hydra.utils").disabled = True  # it logs what is raised as well
        try:
            with execution_whitelist(self._context.execution_whitelist, reset=True):
                yield
        except (HydraException, ImportError, AttributeError, ValueError, TypeError) as error:
            raise SweepError(f"hydra.sweeper.{setting}={name}: {self._reason(error)}") from None
        finally:
            logging.getLogger("hydra.utils").disabled = False

    def _reason(self, error: Exception) -> str:
        text = " ".join(str(error).split())
        if "not in the Hydra execution whitelist" not in text:
            cause = " ".join(str(error.__cause__ or error.__context__ or "").split())
            return f"{text} ({cause})" if cause and cause not in text else text
        allowed = " or ".join(self._allowed)
        return (
            f"only functions of {allowed} are called by name, since a configuration may come from "
            "a stranger. Allow more in the application, by "
            "@hydra.main(execution_whitelist=[...])."
        )


def _own_modules(task: TaskFunction) -> list[str]:
    """Return the application's top-level modules: where its task is, and the script that runs."""
    main = sys.modules.get("__main__")
    modules = [getattr(inspect.unwrap(task), "__module__", None) or "__main__"]
    if (spec := getattr(main, "__spec__", None)) is not None:
        modules.append(spec.name)
    elif file := getattr(main, "__file__", None):
        modules.append(Path(file).stem)
    names = (module.partition(".")[0] for module in modules)
    return list(dict.fromkeys(name for name in names if name != "__main__"))

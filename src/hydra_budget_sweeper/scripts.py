"""A script's own classes and functions, in a process that did not start with the script."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hydra.types import HydraContext


def restore_main(task: Callable[..., Any]) -> None:
    """Give `__main__` back what a task of the script, pickled by value, brought along.

    Otherwise there are two of a class, or none in `__main__`: an instance that Hydra makes of
    `_target_: __main__.Net` would be none of the task's `Net`, and could not be pickled. A process
    whose `__main__` is another program's gets the classes alone: its own children would look for
    a function there in vain, and a pool would start such children for ever.
    """
    is_script = sys.modules["__main__"].__name__ == "__mp_main__"
    layer: Any = task
    while layer is not None:
        if getattr(layer, "__module__", None) == "__main__":
            own = getattr(layer, "__globals__", {})
            main = vars(sys.modules["__main__"])
            if own is not main:
                names = {k: v for k, v in own.items() if not k.startswith("__")}
                main.update({k: v for k, v in names.items() if is_script or isinstance(v, type)})
        layer = getattr(layer, "__wrapped__", None)


def with_script_allowed(context: HydraContext) -> HydraContext:
    """The context for another process, where what `__main__.Net` names is `__mp_main__.Net`.

    What `@hydra.main(execution_whitelist=...)` allows of the script is allowed by that name, too.
    """
    allowed = context.execution_whitelist
    if not isinstance(allowed, tuple):  # nothing further, or everything
        return context
    own = [name for name in allowed if name.partition(".")[0] == "__main__"]
    there = [f"__mp_main__{name.removeprefix('__main__')}" for name in own]
    return replace(context, execution_whitelist=(*allowed, *there))

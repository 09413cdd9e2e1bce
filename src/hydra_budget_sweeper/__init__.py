"""Sweeps of any Hydra application: asynchronous, within limits, pruned, resumable.

Hydra finds the sweeper as `hydra/sweeper=budget`. Here is what a task may call, `report` and `show`,
and what reads a sweep's folder afterwards: `read_sweep`, and `open_sweep` for Optuna's own tools.
"""

from typing import TYPE_CHECKING, Any

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.reporting import report, show

if TYPE_CHECKING:
    from hydra_budget_sweeper.results.reading import (
        SweepFinalist,
        SweepResults,
        SweepTrial,
        open_sweep,
        read_sweep,
    )

__all__ = [
    "SweepError",
    "SweepFinalist",
    "SweepResults",
    "SweepTrial",
    "open_sweep",
    "read_sweep",
    "report",
    "show",
]


def __getattr__(name: str) -> Any:
    # Optuna is loaded when a sweep is read, not whenever a task is.
    if name in __all__:
        from hydra_budget_sweeper.results import reading

        return getattr(reading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

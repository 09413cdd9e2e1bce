"""Sweeps of any Hydra application: asynchronous, within limits, pruned, resumable.

Hydra finds the sweeper as `hydra/sweeper=budget`; what a task may call is here.
"""

from hydra_budget_sweeper.reporting import report

__all__ = ["report"]

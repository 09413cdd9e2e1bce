"""The trial that a sweep's winner is compared with."""

from __future__ import annotations

import functools

from budgetsweep.report.collect import Sweep, Trial
from budgetsweep.runs.finalists import is_at, reference_config


@functools.lru_cache(maxsize=1)
def reference(sweep: Sweep) -> Trial | None:
    """The trial whose searched settings are what the sweep would train without its search.

    Where that cannot be composed here, the first point that was enqueued.
    """
    tried = sweep.of("complete", "pruned", "running")
    run = next((t.run for t in tried if t.run and t.run.overrides), None)
    searched = {name for t in tried for name in t.told.params}
    config = reference_config(run.overrides, searched) if run else None
    if config is not None:
        if found := next((t for t in tried if is_at(config, t.told.params)), None):
            return found
    return next((t for t in tried if t.told.enqueued), None)

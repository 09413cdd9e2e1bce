"""The commands that train the same again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from budgetsweep.report.collect import Run, Sweep


def of_sweep(sweep: Sweep) -> list[str]:
    """The winner again, and confirmed over seeds."""
    lines = []
    try:
        head = (sweep.folder / "best.yaml").read_text(encoding="utf-8").splitlines()
        told = [line.removeprefix("# Run it: ") for line in head if line.startswith("# Run it: ")]
        lines += ["# the winner again, one run", *told] if told else []
    except (OSError, ValueError):
        pass
    if not lines and sweep.winner and sweep.winner.run:
        lines += ["# the winner again, one run", of_run(sweep.winner.run.overrides)]
    if lines:
        folder = shlex.quote(str(sweep.folder))
        lines += [
            "# the winner against the reference, over fresh seeds",
            f"budgetsweep replicate {folder} --seeds 5",
        ]
    return lines


def of_run(overrides: Sequence[str], command: str = "train") -> str:
    """The command that trains with these overrides."""
    return " ".join(["budgetsweep", command, *map(shlex.quote, overrides)])


def of_seeds(runs: Sequence[Run]) -> str:
    """One network's seeds again."""
    seeds = ",".join(str(r.summary.get("seed")) for r in runs)
    own = [*(o for o in runs[0].overrides if not o.startswith("seed=")), f"seed={seeds}"]
    return of_run(["hydra/sweeper=basic", *own], "sweep") if len(runs) > 1 else of_run(own)

"""A look at a space before anything is trained: which share fits, how near one can get."""

import math
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.hydra_errors import described
from hydra_budget_sweeper.limits import Violations, excess
from hydra_budget_sweeper.space.space import Params, Space

# From a candidate's overrides to its violations.
Judge = Callable[[Sequence[str]], Violations]

_MAX_SECONDS = 10.0


@dataclass
class NearestCandidate:
    """The candidate with the smallest violation that single steps lead to.

    Args:
        params: Its values, as the configuration holds them.
        violations: None where not a single candidate could be judged.
        costliest: The parameter on which the violation depends most.
        problem: What was last said of one that could not be judged.
    """

    params: Params
    violations: Violations | None
    costliest: str | None = None
    problem: str | None = None

    @property
    def fits(self) -> bool:
        return self.violations is not None and excess(self.violations) <= 0

    def __str__(self) -> str:
        if self.violations is None:
            return f"none of those tried can be judged, the last for {self.problem}".rstrip(".")
        over = ", ".join(f"{n} by {v:.1%}" for n, v in self.violations.items() if v > 0)
        chosen = " ".join(f"{name}={value}" for name, value in self.params.items())
        axis = f"; {self.costliest} costs most" if self.costliest else ""
        return f"the smallest reachable candidate ({chosen}) is still over {over}{axis}"


class Feasibility:
    """Looks at a space before anything is trained.

    Args:
        space: What is searched.
        judge: Returns a candidate's violations; whatever it raises counts as not fitting.

    Attributes:
        problem: What was last said of a candidate that cannot be judged.
    """

    def __init__(self, space: Space, judge: Judge) -> None:
        self._space = space
        self._judge = judge
        self._judged: dict[Hashable, Violations | None] = {}
        self._smallest: tuple[float, Params] | None = None
        self.problem: str | None = None

    @property
    def n_unjudged(self) -> int:
        return sum(violations is None for violations in self._judged.values())

    def share(self, n_samples: int) -> tuple[float, int]:
        """Return the share of random candidates that fit, and how many were looked at."""
        rng = random.Random(0)
        fitting = looked_at = 0
        until = math.inf
        while looked_at < n_samples and monotonic() < until:
            looked_at += 1
            fitting += self._excess(self._draw(rng)) <= 0
            # The first look may import what the function needs; that says nothing of the others.
            until = monotonic() + _MAX_SECONDS if looked_at == 1 else until
        return fitting / max(looked_at, 1), looked_at

    def nearest(self, points: Iterable[Params] = ()) -> NearestCandidate:
        """Walk downhill, one parameter at a time, until none helps or the time is over.

        Args:
            points: Known points, judged first; what they leave out is drawn.
        """
        rng = random.Random(0)
        known = (*points, {}, *([self._smallest[1]] if self._smallest else []))
        starts = [{**self._draw(rng), **point} for point in known]
        values = min(starts, key=self._excess)
        costs = self._descend(values)
        params = self._space.without_inactive(values)
        costliest = max(costs, key=lambda name: costs[name]) if any(costs.values()) else None
        return NearestCandidate(
            self._space.decode(params), self._violations(params), costliest, self.problem
        )

    def _violations(self, params: Params) -> Violations | None:
        """Judge a candidate once; None where its violations cannot be told.

        Raises:
            SweepError: The judge raised one.
        """
        point = self._space.point(params)
        if point not in self._judged:
            try:
                self._judged[point] = self._judge(self._space.overrides(params))
            except SweepError:
                raise
            except Exception as error:
                self._judged[point] = None
                self.problem = described(error) or type(error).__name__
        return self._judged[point]

    def _excess(self, drawn: Params) -> float:
        """Return by how much a candidate is over its limits; infinite where nobody can tell."""
        params = self._space.without_inactive(drawn)
        violations = self._violations(params)
        over = math.inf if violations is None else excess(violations)
        if self._smallest is None or over < self._smallest[0]:
            self._smallest = (over, params)
        return over

    def _descend(self, values: Params) -> dict[str, float]:
        """Improve `values` in place; return how much the violation differs along each axis."""
        costs: dict[str, float] = {}
        best = self._excess(values)
        until = monotonic() + _MAX_SECONDS
        improved = best > 0
        while improved:
            improved = False
            for axis in self._space.axes:
                tried = [
                    (self._excess({**values, axis.name: v}), i)
                    for i, v in enumerate(axis.probes())
                    if monotonic() < until
                ]
                finite = [cost for cost, _ in tried if math.isfinite(cost)]
                costs[axis.name] = max(finite) - min(finite) if finite else 0.0
                if tried and min(tried)[0] < best:
                    best, index = min(tried)
                    values[axis.name] = axis.probes()[index]
                    improved = True
        return costs

    def _draw(self, rng: random.Random) -> Params:
        return {axis.name: axis.draw(rng) for axis in self._space.axes}

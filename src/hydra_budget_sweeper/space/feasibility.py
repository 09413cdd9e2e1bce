"""A look at a space before anything is trained: which share fits, how near one can get."""

import math
import random
from dataclasses import dataclass
from time import monotonic
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hydra_budget_sweeper.compose import Composer
from hydra_budget_sweeper.space.axes import Axis
from hydra_budget_sweeper.space.limits import Limits, Violations, excess
from hydra_budget_sweeper.space.space import Params, Space

_MAX_SECONDS = 10.0


@dataclass
class NearestCandidate:
    """The candidate with the smallest violation that single steps lead to."""

    params: Params
    violations: Violations
    costliest: str | None

    @property
    def fits(self) -> bool:
        return excess(self.violations) <= 0

    def __str__(self) -> str:
        over = ", ".join(f"{n} by {v:.1%}" for n, v in self.violations.items() if v > 0)
        chosen = " ".join(f"{name}={value}" for name, value in self.params.items())
        axis = f"; {self.costliest} costs most" if self.costliest else ""
        return f"the smallest reachable candidate ({chosen}) is still over {over}{axis}"


class Feasibility:
    """Looks at a space before anything is trained."""

    def __init__(self, space: Space, composer: Composer, limits: Limits) -> None:
        self._space = space
        self._composer = composer
        self._limits = limits

    def violations(self, params: Params) -> Violations:
        candidate = self._composer.compose(self._space.overrides(params), 0)
        with candidate.as_current_job():
            return self._limits.violations(candidate.task)

    def share(self, n_samples: int) -> tuple[float, int]:
        """Return the share of random candidates that fit, and how many were looked at."""
        rng = random.Random(0)
        fitting = looked_at = 0
        until = math.inf
        while looked_at < n_samples and monotonic() < until:
            looked_at += 1
            fitting += excess(self.violations(self.draw(rng))) <= 0
            # The first look may import what the function needs; that says nothing of the others.
            until = monotonic() + _MAX_SECONDS if looked_at == 1 else until
        return fitting / max(looked_at, 1), looked_at

    def draw(self, rng: random.Random) -> Params:
        return self._space.without_inactive({a.name: _draw(a, rng) for a in self._space.axes})

    def nearest(self) -> NearestCandidate:
        """Walk downhill from a random candidate, one parameter at a time, until none helps."""
        rng = random.Random(0)
        drawn = {axis.name: _draw(axis, rng) for axis in self._space.axes}
        costs: dict[str, float] = {}
        best = excess(self.violations(self._space.without_inactive(drawn)))
        improved = True
        while improved:
            improved = False
            for axis in self._space.axes:
                tried = [
                    (self._excess_with(drawn, axis, v), i) for i, v in enumerate(axis.probes())
                ]
                costs[axis.name] = max(tried)[0] - min(tried)[0]
                if min(tried)[0] < best:
                    best, index = min(tried)
                    drawn[axis.name] = axis.probes()[index]
                    improved = True
        params = self._space.without_inactive(drawn)
        costliest = max(costs, key=lambda name: costs[name]) if any(costs.values()) else None
        return NearestCandidate(self._space.decode(params), self.violations(params), costliest)

    def _excess_with(self, drawn: Params, axis: Axis, value: Any) -> float:
        return excess(self.violations(self._space.without_inactive({**drawn, axis.name: value})))


def _draw(axis: Axis, rng: random.Random) -> Any:
    d = axis.distribution
    if isinstance(d, CategoricalDistribution):
        return rng.choice(d.choices)
    assert isinstance(d, IntDistribution | FloatDistribution)
    if isinstance(d, IntDistribution) and not d.log:
        return rng.randrange(d.low, d.high + 1, d.step)
    if isinstance(d, FloatDistribution) and d.step is not None:
        return d.low + rng.randrange(round((d.high - d.low) / d.step) + 1) * d.step
    if d.log:
        drawn = float(d.low * (d.high / d.low) ** rng.random())
        return round(drawn) if isinstance(d, IntDistribution) else drawn
    return rng.uniform(d.low, d.high)

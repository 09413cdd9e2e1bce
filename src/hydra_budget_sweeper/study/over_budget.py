"""What the study is told of a candidate over the limits, whose value nobody knows."""

import math
from collections.abc import Iterable, Sequence

from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import CmaEsSampler, GPSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.study.sampler import Recipe

# Worse than any objective, and still finite: CMA-ES ranks what is over the limits by its excess.
_PENALTY = 1e30


def told_over_budget(
    recipe: Recipe,
    directions: Sequence[StudyDirection],
    candidate: FrozenTrial,
    excess: float,
    trained: Iterable[FrozenTrial],
) -> tuple[TrialState, list[float] | None]:
    """Return the state and the values by which the sampler learns most; see docs/sweeper.md.

    The trial is told as complete, with its constraints: what Optuna's samplers expect of one that
    breaks them. GP, NSGA and CMA-ES look at no others; TPE, which looks at pruned ones too, learns
    the same from both. Optuna's `best_trial` and plots pass over it by its constraints.

    - CMA-ES knows no constraints, only values: a penalty that grows with the excess.
    - GP models the objective beside the constraints. A bad value would be a cliff at the limit,
      where the best candidates are often found, the best one so far a plateau behind it: it is
      told the value of the nearest candidate, or pruned, which it does not see, while there is none.
    - For the others the constraints decide: infinite, which no plot takes for a result.

    Args:
        recipe: The sampler's.
        directions: The study's.
        candidate: Its parameters.
        excess: How far over its limits the candidate is, above zero.
        trained: Trials within the limits; those that are complete count.
    """
    signs = [-1.0 if d is StudyDirection.MAXIMIZE else 1.0 for d in directions]
    functions = set(recipe.functions())
    if CmaEsSampler in functions:
        return TrialState.COMPLETE, [sign * _PENALTY * (1 + excess) for sign in signs]
    if GPSampler in functions:
        known = [t for t in trained if t.state is TrialState.COMPLETE]
        if not known:
            return TrialState.PRUNED, None
        return TrialState.COMPLETE, min(known, key=lambda t: _distance(candidate, t)).values
    return TrialState.COMPLETE, [sign * math.inf for sign in signs]


def _distance(one: FrozenTrial, other: FrozenTrial) -> float:
    """Return how far apart two candidates are, the whole range of each parameter being 1."""
    return math.hypot(*(_apart(one, other, name) for name in one.params))


def _apart(one: FrozenTrial, other: FrozenTrial, name: str) -> float:
    d, value = one.distributions[name], one.params[name]
    there = other.params.get(name)
    if there is None or not isinstance(d, IntDistribution | FloatDistribution):
        return float(value != there)
    a, b, low, high = (math.log(v) if d.log else v for v in (value, there, d.low, d.high))
    return abs(a - b) / (high - low) if high > low else 0.0

"""What the study is told of a candidate over the limits, whose value nobody knows."""

import math
from collections.abc import Iterable, Sequence

from optuna.samplers import CmaEsSampler, GPSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.study.sampler import Recipe

# Worse than any objective, and still finite: CMA-ES ranks what is over the limits by its excess.
_PENALTY = 1e30


def told_over_budget(
    recipe: Recipe,
    directions: Sequence[StudyDirection],
    excess: float,
    trained: Iterable[FrozenTrial],
) -> tuple[TrialState, list[float] | None]:
    """Return the state and the values by which the sampler learns most; see docs/sweeper.md.

    The trial is told as complete, with its constraints: what Optuna's samplers expect of one that
    breaks them. GP, NSGA and CMA-ES look at no others; TPE, which looks at pruned ones too, learns
    the same from both. Optuna's `best_trial` and plots pass over it by its constraints.

    - CMA-ES knows no constraints, only values: a penalty that grows with the excess.
    - GP models the objective beside the constraints. A bad value would be a cliff at the limit,
      where the best candidates are often found: the best one so far (the "constant liar" of
      Ginsbourger, Le Riche and Carraro, 2010), or pruned, which it does not see, while none is known.
    - For the others the constraints decide: infinite, which no plot takes for a result.

    Args:
        recipe: The sampler's.
        directions: The study's.
        excess: How far over its limits the candidate is, above zero.
        trained: Trials within the limits; those that are complete count.
    """
    signs = [-1.0 if d is StudyDirection.MAXIMIZE else 1.0 for d in directions]
    functions = set(recipe.functions())
    if CmaEsSampler in functions:
        return TrialState.COMPLETE, [sign * _PENALTY * (1 + excess) for sign in signs]
    if GPSampler in functions:
        known = [t.values for t in trained if t.state is TrialState.COMPLETE]
        if not known:
            return TrialState.PRUNED, None
        of_each = zip(signs, zip(*known, strict=True), strict=True)
        return TrialState.COMPLETE, [min(v) if sign > 0 else max(v) for sign, v in of_each]
    return TrialState.COMPLETE, [sign * math.inf for sign in signs]

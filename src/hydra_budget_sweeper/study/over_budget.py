"""What the study is told of a candidate over the limits, whose value nobody knows."""

import math
from collections.abc import Iterable, Sequence

from optuna.samplers import CmaEsSampler, GPSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.study.sampler import Recipe

# Worse than any objective, and still finite: CMA-ES ranks what is over the limits by its excess.
_PENALTY = 1e30


def values_over_budget(
    recipe: Recipe,
    directions: Sequence[StudyDirection],
    excess: float,
    trained: Iterable[FrozenTrial],
) -> list[float]:
    """Return the values, one an objective, by which the sampler learns most; see docs/sweeper.md.

    The trial is told as complete, with its constraints: what Optuna's samplers expect of one that
    breaks them. GP, NSGA and CMA-ES look at no others; TPE, which looks at pruned ones too, learns
    the same from both. Optuna's `best_trial` and plots pass over it by its constraints.

    - CMA-ES knows no constraints, only values: a penalty that grows with the excess.
    - GP models the objective beside the constraints. A bad value would be a cliff at the limit,
      where the best candidates are often found, and push it away from there: the best one so far.
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
        return [sign * _PENALTY * (1 + excess) for sign in signs]
    losses = [_losses(t, signs) for t in trained if t.state is TrialState.COMPLETE]
    if GPSampler in functions and losses:
        return [
            sign * min(of_one)
            for sign, of_one in zip(signs, zip(*losses, strict=True), strict=True)
        ]
    return [sign * math.inf for sign in signs]


def _losses(trial: FrozenTrial, signs: Sequence[float]) -> list[float]:
    return [sign * value for sign, value in zip(signs, trial.values, strict=True)]

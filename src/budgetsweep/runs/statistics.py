"""What a handful of seeds shows: means with their 95 % intervals, and differences."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """Mean, standard deviation and 95 % confidence interval of the mean (Student's t)."""

    n: int
    mean: float
    sd: float
    low: float
    high: float

    @property
    def of_share(self) -> str:
        """The interval of an accuracy in words; a mean of accuracies lies within 0 and 100 %."""
        if self.n < 2 or self.low < 0 or self.high > 1:
            return "too few seeds"
        return f"{self.low:.3%} to {self.high:.3%}"


def interval(values: Sequence[float]) -> Interval:
    """The 95 % t-interval of the mean; infinitely wide for a single value."""
    n, mean = len(values), statistics.fmean(values)
    if n < 2:
        return Interval(n, mean, math.nan, -math.inf, math.inf)
    from scipy.stats import t

    sd = statistics.stdev(values)
    half = float(t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return Interval(n, mean, sd, mean - half, mean + half)


def differences(
    groups: Sequence[Sequence[float]], control: Sequence[float]
) -> list[tuple[float, float]] | None:
    """95 % intervals of each group's mean minus the control's; None where seeds are too few.

    One group: Welch's t-test, which does not take the spreads to be equal. Several: Dunnett's test,
    whose intervals hold all at once; it pools the spreads.
    """
    if min(len(control), *map(len, groups)) < 2:
        return None
    if sum(statistics.variance(g) for g in [control, *groups]) < 1e-18:
        return None  # the same figure from every seed says nothing of the spread
    from scipy.stats import dunnett, ttest_ind

    if len(groups) == 1:
        with warnings.catch_warnings():  # that one network had the same figure from every seed
            warnings.simplefilter("ignore", RuntimeWarning)
            found = ttest_ind(groups[0], control, equal_var=False).confidence_interval(0.95)
        return [(float(found.low), float(found.high))]
    # Its integrals are random points: with a seed, the same table each time.
    test = dunnett(*groups, control=control, random_state=0)
    both = test.confidence_interval(0.95)
    return [(float(low), float(high)) for low, high in zip(both.low, both.high, strict=True)]


def verdict(low: float, high: float) -> str:
    """What the interval of a difference says: on one side of zero, or not."""
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no difference shown"

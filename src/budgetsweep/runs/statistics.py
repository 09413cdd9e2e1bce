"""What a handful of seeds shows: means with their 95 % intervals, and differences."""

from __future__ import annotations

import math
import statistics
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


def interval(values: Sequence[float]) -> Interval:
    """The 95 % t-interval of the mean; infinitely wide for a single value."""
    n, mean = len(values), statistics.fmean(values)
    if n < 2:
        return Interval(n, mean, math.nan, -math.inf, math.inf)
    from scipy.stats import t

    sd = statistics.stdev(values)
    half = float(t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return Interval(n, mean, sd, mean - half, mean + half)


def verdict(low: float, high: float) -> str:
    """What the interval of a difference says: on one side of zero, or not."""
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no difference shown"

"""Numbers as a person reads them."""

from __future__ import annotations

import math
from typing import Any


def number(value: Any) -> str:
    """Integers with thousands, fractions to four figures, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, float) and value.is_integer() and 1e3 <= abs(value) < 1e12:
        value = int(value)  # a count that was kept as a float
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def percent(value: float | None) -> str:
    """`99.53 %`."""
    return "" if value is None else f"{100 * value:.2f} %"


def duration(seconds: float | None) -> str:
    """`3.2 s`, `4 min 05 s`, `2 h 07 min`."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def count(n: int, one: str, many: str = "") -> str:
    """`1 trial`, `2 trials`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"

"""What a user can get wrong: the key, its value, what is allowed, what to do next."""

from __future__ import annotations

from typing import Any


class UserError(ValueError):
    """A mistake that a person can mend, told in one line without a traceback."""


class SettingError(UserError):
    """A setting whose value cannot be used."""

    def __init__(self, key: str, value: Any, allowed: str, hint: str = "") -> None:
        self.key = key
        told = "null" if value is None else value
        super().__init__(f"{key}={told}: {allowed}" + (f" {hint}" if hint else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes send errors back pickled, as what they are; the default would call __init__ anew.
        return _again, (str(self), self.key)


def _again(told: str, key: str) -> SettingError:
    error = SettingError.__new__(SettingError, told)
    error.key = key
    return error


class BudgetError(UserError):
    """A network that exceeds its budget."""


class DataError(UserError):
    """A dataset that is missing, altered or unreadable."""


class DivergedError(UserError):
    """A training run whose loss became NaN or infinite."""

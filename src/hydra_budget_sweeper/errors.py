"""What a user can get wrong in a sweep."""


class SweepError(ValueError):
    """A sweep that cannot start or go on; the message says what is wrong and what to do."""


class FunctionError(Exception):
    """A function that a setting names failed for one candidate; the message names both."""

"""A finite space walked through, for samplers that would only repeat themselves."""

import random
from collections.abc import Container, Hashable

from hydra_budget_sweeper.space.space import Params, Space

# Candidates of a space that is small enough to be walked through.
_MAX_CANDIDATES = 100_000


class Walk:
    """Every candidate of a space once, in an order that `seed` alone decides.

    A resumed sweep therefore takes the next one where it would have, had it not been interrupted.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed
        self._left: list[Params] | None = None
        size = space.size()
        self.size = size if size is not None and size <= _MAX_CANDIDATES else None

    def next(self, *tried: Container[Hashable]) -> Params | None:
        """Return the next candidate that is in none of `tried`; None at the end."""
        if self._left is None:
            self._left = list(self._space.candidates())
            random.Random(self._seed).shuffle(self._left)
        while self._left:
            where = self._space.point(self._left[-1])
            if not any(where in some for some in tried):
                return self._left[-1]
            self._left.pop()
        return None

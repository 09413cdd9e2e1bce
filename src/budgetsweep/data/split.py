"""Which images are held out: drawn once, each class by its share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def stratified(labels: Tensor, n: int, seed: int) -> Tensor:
    """Sorted indices of `n` images, each class by its share, drawn at random within the class.

    Where `n` allows, no class is left out, and no class with two images is taken whole.
    """
    values = labels.numpy()
    counts = np.bincount(values)
    # numpy keeps this generator's stream the same for ever, so that a split stays a split.
    rng = np.random.RandomState(seed)
    shuffled = [rng.permutation(np.flatnonzero(values == c)) for c in range(len(counts))]
    taken = [s[:k] for s, k in zip(shuffled, _quotas(counts, n), strict=True)]
    return torch.from_numpy(np.sort(np.concatenate(taken)))


def _quotas(counts: np.ndarray, n: int) -> np.ndarray:
    """How many of each class, by largest remainder, so that they sum to `n`."""
    present = np.count_nonzero(counts)
    lowest = np.minimum(counts, 1) if n >= present else np.zeros_like(counts)
    highest = np.maximum(counts - 1, lowest) if n <= counts.sum() - present else counts
    ideal = n * counts / counts.sum()
    quotas = np.clip(np.floor(ideal).astype(int), lowest, highest)
    while quotas.sum() < n:
        quotas[np.argmax(np.where(quotas < highest, ideal - quotas, -np.inf))] += 1
    while quotas.sum() > n:
        quotas[np.argmin(np.where(quotas > lowest, ideal - quotas, np.inf))] -= 1
    return quotas


def complement(indices: Tensor, n: int) -> Tensor:
    """The indices from 0 to n - 1 that are not among the given ones, sorted."""
    rest = torch.ones(n, dtype=torch.bool)
    rest[indices] = False
    return rest.nonzero().squeeze(1)

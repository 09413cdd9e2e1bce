"""Hydra sweeper plugin `hydra/sweeper=budget`: asynchronous, constrained, pruning, resumable."""

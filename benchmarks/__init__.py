"""Ours against what a user would do otherwise, both sides in one run: `python -m benchmarks`."""

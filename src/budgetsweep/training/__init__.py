"""One training run, from a configuration to a folder with its results."""

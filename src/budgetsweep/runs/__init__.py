"""Finished runs: read back, used on images, repeated over seeds and compared."""

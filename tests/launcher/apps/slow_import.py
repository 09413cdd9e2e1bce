"""Stands for a library that takes a minute to import."""

from sleeper import stay

stay("preload")

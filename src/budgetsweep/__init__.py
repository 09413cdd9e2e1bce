"""Find the best small convolutional network under a size budget."""

__version__ = "0.1.0"

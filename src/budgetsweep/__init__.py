"""Find the best small convolutional network under a size budget."""

from budgetsweep.own import register_activation, register_block

__all__ = ["register_activation", "register_block"]
__version__ = "0.1.0"

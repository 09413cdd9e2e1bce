"""Find the best small convolutional network under a size budget."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from budgetsweep.own import register_activation, register_block

__all__ = ["register_activation", "register_block"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Hydra is loaded when a block is registered, not to list the commands.
    if name in __all__:
        from budgetsweep import own

        return getattr(own, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Blocks and activations of one's own, known by name wherever the package's are.

A program registers them before it starts the application:

    from budgetsweep import register_block

    @register_block("split")
    def split(channels: int, row: LayerConfig) -> nn.Module: ...

Nothing is imported by its name in a configuration: what was not registered does not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hydra.core.singleton import Singleton

Factory = TypeVar("Factory", bound=Callable[..., Any])


class Own(metaclass=Singleton):
    """What a program has registered; Hydra's launchers send its singletons to their processes."""

    def __init__(self) -> None:
        self.blocks: dict[str, Callable[..., Any]] = {}
        self.activations: dict[str, Callable[..., Any]] = {}


def register_block(name: str) -> Callable[[Factory], Factory]:
    """Let rows say `block: name`; for a function, or a module's class, to be decorated.

    It is called with the number of incoming channels and the row, a `LayerConfig` with all that the
    defaults give and `width` scaled, and returns an `nn.Module`: maps (N, channels, H, W) → maps
    (N, any, H', W'). The row's squeeze_excite, pool, dropout, residual and repeat apply around it;
    what it costs is counted by its operations, whatever they are.
    """

    def register(factory: Factory) -> Factory:
        Own().blocks[name] = factory
        return factory

    return register


def register_activation(name: str) -> Callable[[Factory], Factory]:
    """Let rows say `activation: name`; for a module's class, or a function that returns a module.

    It is called without arguments, or with `inplace=True` where it takes that and may overwrite.
    """

    def register(factory: Factory) -> Factory:
        Own().activations[name] = factory
        return factory

    return register

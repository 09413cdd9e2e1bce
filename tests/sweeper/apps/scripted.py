"""An application in one file: its schema, enum, resolvers and helpers exist in `__main__` alone."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from omegaconf import MISSING, OmegaConf


class Colour(Enum):
    """Values of this kind are pickled with the configuration."""

    red = 1
    blue = 2


@dataclass
class Part:
    """A node of the schema, one of a config group."""

    size: int = 1


class Net:
    """What `_target_` names is what the task knows by this name."""

    def __init__(self, width: int) -> None:
        self.width = width


@dataclass
class Config:
    """The schema."""

    x: float = 0.0
    width: int = 3
    colour: Colour = Colour.red
    part: Part = MISSING
    parts: list[Part] = field(default_factory=lambda: [Part(4)])
    double: float = "${times:2,${x}}"  # type: ignore[assignment]
    mark: str = "${mark:}"
    net: dict[str, Any] = field(default_factory=lambda: {"_target_": "__main__.Net", "width": 3})
    make_net: bool = True
    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"part": "small"}])


store = ConfigStore.instance()
store.store(name="config", node=Config)
store.store(group="part", name="small", node=Part(1))
store.store(group="part", name="large", node=Part(9))
OmegaConf.register_resolver("times", lambda a, b: a * b)


def scaled(factor: float) -> Callable[[float], float]:
    """Return a closure."""
    return lambda value: factor * value


half = scaled(0.5)


@hydra.main(config_path=None, config_name="config")
def main(cfg: Config) -> float:
    assert isinstance(cfg.colour, Colour)
    assert OmegaConf.get_type(cfg.part) is Part
    assert OmegaConf.get_type(cfg.parts[0]) is Part
    assert cfg.mark == "set when started"
    if cfg.make_net:
        net = instantiate(cfg.net)
        assert isinstance(net, Net) and pickle.loads(pickle.dumps(net)).width == 3
        assert pickle.loads(pickle.dumps(Colour.blue)) is Colour.blue
    with open("done", "a") as file:
        file.write(f"{cfg.x!r} {cfg.colour.name} {cfg.part.size}\n")
    return half(cfg.double) + cfg.part.size


if __name__ == "__main__":
    OmegaConf.register_resolver("mark", lambda: "set when started")
    main()

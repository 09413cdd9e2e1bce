"""The plain loop as a Hydra application, for the stock sweeper and for a single run."""

from __future__ import annotations

import json
import math
import os
import time
from typing import Any

import hydra
import torch
from benchmarks.plain_loop import Settings, make_loaders, make_network, train
from omegaconf import DictConfig


@hydra.main(config_path="conf", config_name="plain")
def main(cfg: DictConfig) -> float:
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    torch.manual_seed(cfg.seed)
    widths = {name: row.width for name, row in cfg.model.layers.items()}
    network = make_network(widths)
    if sum(p.numel() for p in network.parameters()) > cfg.max_parameters:
        trace(cfg, "over_budget")
        return math.inf
    indices = torch.load(cfg.indices) if cfg.indices else torch.arange(60_000).split(55_000)
    settings = Settings(epochs=cfg.epochs, loader_workers=cfg.loader_workers)
    loaders = make_loaders(cfg.root, indices[0].tolist(), indices[1].tolist(), settings)
    loss = train(network, loaders, settings)
    trace(cfg, "trained", value=loss, widths=widths)
    return loss


def trace(cfg: DictConfig, what: str, **more: Any) -> None:
    """Note what became of a trial, and when."""
    if cfg.trace is None:
        return
    line = json.dumps({"what": what, "time": time.time(), **more}) + "\n"
    file = os.open(cfg.trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


if __name__ == "__main__":
    main()

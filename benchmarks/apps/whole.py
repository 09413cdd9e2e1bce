"""Trains a network whole and keeps all that a sweep could have judged it by, on the way and at its end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import hydra
import torch
import torch.nn.functional as F
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import Tensor

from budgetsweep.config import CONF_DIR, Config, register, to_config
from budgetsweep.data import Images, load, normalization, resolve
from budgetsweep.data.augment import Augmentation
from budgetsweep.data.pixels import normalize, to_unit
from budgetsweep.network.budget import enforce
from budgetsweep.network.cost import Cost
from budgetsweep.network.factory import build_model
from budgetsweep.training.device import keep_memory, seed_everything
from budgetsweep.training.early_looks import look, sample
from budgetsweep.training.number_format import Format
from budgetsweep.training.trainer import Trainer

COPIES = 4  # augmented ones of each validation image
COPIED = {"rotation": 10.0, "shift": 0.08, "scale": 0.1, "shear": 0.0}

register()


class Recorder(Trainer):
    """A trainer that keeps the sum of its training losses."""

    total = 0.0

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        loss = super()._loss(images, labels)
        self.total += float(loss.detach())
        return loss


def prepared(config: Config) -> tuple[Recorder, Cost, Images]:
    """A training on one thread before its first step, what its network costs, and the validation images."""
    keep_memory()
    torch.set_num_threads(1)
    config.data = resolve(config.data)
    config.model, cost = enforce(config.model, config.data, config.budget)
    dataset = load(config.data)
    assert dataset.validation is not None
    config.data = normalization(config.data, dataset.train.images)
    seed_everything(config.seed, -1)
    # The same arithmetic for all; which is faster here does not matter to the result.
    fmt = Format(precision=config.trainer.precision, memory_format="channels_last")
    model, cpu = build_model(config.model, config.data), torch.device("cpu")
    return Recorder(model, config, dataset.train, cpu, fmt), cost, dataset.validation


def look_after(step: int, steps_per_epoch: int) -> bool:
    """15, 30, 45, 90, 135, ... steps, and each third of an epoch."""
    powers = {first * 3**n for first in (15, 30) for n in range(9)}
    return step in powers or step % (steps_per_epoch // 3) == 0


def scores_of(network: torch.nn.Module, images: Tensor, config: Config) -> Tensor:
    """Log-probabilities (N, classes) of images (N, C, S, S) in 0–1."""
    network.eval()
    with torch.inference_mode():
        parts = [network(normalize(part, config.data)) for part in images.split(500)]
    return torch.cat(parts)


def measures(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """What could rank networks, by log-probabilities (N, classes) and labels (N,); lower is better."""
    temperatures = torch.logspace(-0.5, 0.5, 101, base=2).tolist()
    fitted = min(float(F.cross_entropy(scores / t, labels)) for t in temperatures)
    chance = scores.exp().gather(1, labels[:, None]).mean()
    return {
        "loss": float(F.nll_loss(scores, labels)),
        "fitted_loss": fitted,
        "soft_error": 1 - float(chance),
        "error": float((scores.argmax(1) != labels).double().mean()),
    }


def halves(n: int) -> tuple[Tensor, ...]:
    """The indices of n validation images in two random halves, the same for all networks."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0)).chunk(2)


def judged(network: torch.nn.Module, validation: Images, config: Config) -> dict[str, Any]:
    """Each measure on the two halves of the validation images, as they are and augmented."""
    images, labels = to_unit(validation.images), validation.labels
    scores, half = scores_of(network, images, config), halves(len(labels))
    found: dict[str, Any] = {"halves": [measures(scores[h], labels[h]) for h in half]}
    found["errors"] = (scores.argmax(1) != labels).nonzero().flatten().tolist()
    augment = Augmentation(type(config.augment)(**COPIED), config.data)
    torch.manual_seed(0)
    copies = []
    for _ in range(COPIES):
        parts = [augment(part, labels[: len(part)], progress=0.0)[0] for part in images.split(500)]
        copies.append(scores_of(network, torch.cat(parts), config))
    for name, pick in zip(("first", "second"), half, strict=True):
        each = [measures(copy[pick], labels[pick]) for copy in copies]
        found[f"augmented_{name}"] = {k: sum(m[k] for m in each) / COPIES for k in each[0]}
    return found


@hydra.main(
    config_path=str(CONF_DIR),
    config_name="config",
    execution_whitelist=["budgetsweep.*"],
)
def main(cfg: DictConfig) -> float:
    """Write whole.json; return the validation loss."""
    config = to_config(cfg)
    trainer, cost, validation = prepared(config)
    images = sample(validation, config.trainer.look_images, config.data.split_seed)
    steps, looks, start = trainer.steps_per_epoch, list[dict[str, float]](), time.perf_counter()

    def after_step(step: int) -> None:
        at = trainer.epoch * steps + step
        if look_after(at, steps):
            seen = look(trainer.network, images, config, trainer.fmt)
            train_loss = round(trainer.total / at, 5)  # mean of all so far
            looks.append(
                {"step": at, "loss": round(seen.loss, 5), "accuracy": round(seen.accuracy, 4),
                 "train_loss": train_loss}
            )  # fmt: skip

    for _ in range(config.trainer.epochs):
        trainer.train_epoch(after_step)
    seconds = time.perf_counter() - start
    found = judged(trainer.result, validation, config)
    content = {
        "overrides": list(HydraConfig.get().overrides.task),
        "seed": config.seed,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "steps_per_epoch": steps,
        "epochs": config.trainer.epochs,
        "seconds": round(seconds, 1),
        "looks": looks,
        **found,
    }
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "whole.json").write_text(json.dumps(content))
    return sum(half["loss"] for half in found["halves"]) / 2


if __name__ == "__main__":
    main()

"""Trains a network whole and, wherever a sweep would look at it, looks in two ways."""

from __future__ import annotations

import json
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from budgetsweep.config import CONF_DIR, register, to_config

register()


@hydra.main(config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> float:
    """Write looks.json, what each look said and the result; return the result."""
    from budgetsweep.data import load
    from budgetsweep.network.factory import build_model
    from budgetsweep.training.device import keep_memory, seed_everything
    from budgetsweep.training.early_looks import look, look_steps, sample
    from budgetsweep.training.evaluation import evaluate
    from budgetsweep.training.number_format import choose_format
    from budgetsweep.training.trainer import Trainer

    config, cpu = to_config(cfg), torch.device("cpu")
    keep_memory()
    torch.set_num_threads(1)
    dataset = load(config.data)
    assert dataset.validation is not None
    images = sample(dataset.validation, config.trainer.look_images, config.data.split_seed)
    seed_everything(config.seed, -1)
    network = build_model(config.model, config.data)
    trainer = Trainer(network, config, dataset.train, cpu, choose_format(network, config, cpu))
    steps = trainer.steps_per_epoch
    looks: list[dict[str, float]] = []

    def after_step(step: int) -> None:
        if step == steps or step in look_steps(config.trainer.first_look, trainer.epoch, steps):
            by_batch = look(trainer.network, images, config, trainer.fmt)
            by_average = evaluate(trainer.network, images, config, trainer.fmt)
            seen = {"batch": by_batch.loss, "average": by_average.loss}
            looks.append({"step": trainer.epoch * steps + step, **seen})

    for _ in range(config.trainer.epochs):
        trainer.train_epoch(after_step)
    result = evaluate(trainer.network, dataset.validation, config, trainer.fmt).loss
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "looks.json").write_text(json.dumps({"looks": looks, "result": result}))
    return result


if __name__ == "__main__":
    main()

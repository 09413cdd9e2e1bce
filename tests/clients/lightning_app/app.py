"""A line fitted by Lightning, with a logger and a checkpoint, as its users write it."""

from pathlib import Path

import hydra
import lightning.pytorch as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig
from torch.utils.data import DataLoader, TensorDataset


class Line(L.LightningModule):
    def __init__(self, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.layer = torch.nn.Linear(1, 1)
        torch.nn.init.zeros_(self.layer.weight)

    def _loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        x, y = batch
        return torch.nn.functional.mse_loss(self.layer(x), y)

    def training_step(self, batch: list[torch.Tensor], _index: int) -> torch.Tensor:
        return self._loss(batch)

    def validation_step(self, batch: list[torch.Tensor], _index: int) -> None:
        self.log("val/loss", self._loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Ended(CSVLogger):
    """Leaves a word about how it was ended."""

    def finalize(self, status: str) -> None:
        super().finalize(status)
        Path(self.save_dir, "logger-ended").write_text(status)


def data() -> DataLoader:
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    return DataLoader(TensorDataset(x, 3 * x + 1), batch_size=16)


@hydra.main(
    config_path=".", config_name="config", execution_whitelist=["hydra_budget_sweeper.lightning.*"]
)
def main(cfg: DictConfig) -> float:
    folder = HydraConfig.get().runtime.output_dir
    trainer = L.Trainer(
        max_epochs=cfg.epochs,
        accelerator="cpu",
        logger=Ended(folder),
        default_root_dir=folder,
        callbacks=[instantiate(callback) for callback in cfg.callbacks.values()],
        enable_progress_bar=False,
        enable_model_summary=False,
        val_check_interval=cfg.val_check_interval,
        log_every_n_steps=1,
    )
    trainer.fit(Line(cfg.lr), data(), data())
    return trainer.callback_metrics["val/loss"].item()


if __name__ == "__main__":
    main()

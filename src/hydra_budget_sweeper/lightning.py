"""A Lightning callback that reports to the sweep; for `lightning` and `pytorch_lightning` alike."""

from typing import TYPE_CHECKING

from hydra_budget_sweeper.reporting import report

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError:
        try:
            from pytorch_lightning import Callback
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "hydra_budget_sweeper.lightning needs Lightning: pip install lightning"
            ) from None


class ReportCallback(Callback):
    """Report a logged metric to the sweep after each validation; a pruned trial ends there.

    The run ends by `optuna.TrialPruned` out of `Trainer.fit`: Lightning ends its loggers as for any
    run that does not come to its end, and the sweeper records the trial as pruned. Outside a sweep,
    and while the sanity check or `Trainer.validate` runs, nothing is reported. Of several processes
    that train one model, the first alone reports.

    Args:
        monitor: Name under which the module logs the quantity that the task returns at its end.
        by_step: Report at optimizer steps instead of epochs, both counted from 1. A pruner's
            `min_resource` and the like are in the same unit. Needed where validation runs several
            times an epoch, since one report a step counts.
    """

    def __init__(self, monitor: str, by_step: bool = False) -> None:
        self.monitor = monitor
        self.by_step = by_step

    def on_validation_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        if (value := trainer.callback_metrics.get(self.monitor)) is None:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ValueError(
                f"ReportCallback(monitor={self.monitor!r}): no such metric is logged up to the end "
                f"of a validation; logged are: {logged}."
            )
        report(float(value), trainer.global_step if self.by_step else trainer.current_epoch + 1)

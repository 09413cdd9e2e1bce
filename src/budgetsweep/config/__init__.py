"""Every setting of a run: what there is (`schema`), what is allowed (`checks`), where Hydra finds it.

Nothing here knows torch, so that `--help` and a mistake in the configuration are answered at once.
"""

from budgetsweep.config.checks import (
    allowed,
    check,
    check_objectives,
    refuse_missing,
    to_config,
    typed,
)
from budgetsweep.config.schema import (
    BLOCKS,
    BYTES,
    MAXIMIZED,
    OBJECTIVES,
    AugmentConfig,
    BudgetConfig,
    Config,
    DataConfig,
    LayerConfig,
    ModelConfig,
    OptimizerConfig,
    SchedulerConfig,
    TeacherConfig,
    TrainerConfig,
)
from budgetsweep.config.store import CONF_DIR, register

__all__ = [
    "BLOCKS",
    "BYTES",
    "CONF_DIR",
    "MAXIMIZED",
    "OBJECTIVES",
    "AugmentConfig",
    "BudgetConfig",
    "Config",
    "DataConfig",
    "LayerConfig",
    "ModelConfig",
    "OptimizerConfig",
    "SchedulerConfig",
    "TeacherConfig",
    "TrainerConfig",
    "allowed",
    "check",
    "check_objectives",
    "refuse_missing",
    "register",
    "to_config",
    "typed",
]

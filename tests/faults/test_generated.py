"""Configurations that nobody wrote: each trains, and is counted rightly, or is refused by its key."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from composing import compose_raw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf, open_dict

from budgetsweep.config import DataConfig, to_config
from budgetsweep.errors import UserError
from budgetsweep.exporting.onnx import to_onnx
from budgetsweep.exporting.program import trace
from budgetsweep.network.budget import enforce
from budgetsweep.network.factory import build_model
from budgetsweep.training.run import run

ROW = st.fixed_dictionaries(
    {"width": st.sampled_from([2, 4, 6, 8, 12, 16]), "kernel": st.sampled_from([1, 3, 3, 5])},
    optional={
        "padding": st.sampled_from(["same", "same", 0, 1]),
        "stride": st.sampled_from([1, 1, 1, 2]),
        "dilation": st.sampled_from([1, 1, 2]),
        "groups": st.sampled_from([1, 1, 1, 2]),
        "conv": st.sampled_from(["standard", "standard", "separable", "separable_linear"]),
        "block": st.sampled_from(["conv", "conv", "basic", "inverted"]),
        "expand": st.sampled_from([1, 2, 3.5]),
        "squeeze_excite": st.sampled_from([0, 0, 0.25, 1]),
        "bias": st.sampled_from([None, True, False]),
        "activation": st.sampled_from(["relu", "relu6", "prelu"]),
        "norm": st.sampled_from(["batch", "group", "none"]),
        "order": st.sampled_from(["conv_act_norm", "conv_norm_act", "norm_act_conv"]),
        "pool": st.sampled_from([1, 1, 1, 2]),
        "pool_type": st.sampled_from(["max", "avg"]),
        "dropout": st.sampled_from([0, 0.1, 0.5]),
        "residual": st.sampled_from([None, None, True, False]),
        "projection_norm": st.sampled_from([None, True, False]),
        "repeat": st.sampled_from([1, 1, 1, 2, 3]),
    },
)
# One such field in a row makes of a configuration one that is refused, or is no mistake elsewhere.
ODD = st.sampled_from(
    [
        ("width", None), ("width", 0), ("width", -3), ("width", 2.5), ("width", "wide"), ("kernel", 16), ("kernel", 0),
        ("padding", -1), ("padding", "all"), ("padding", 7), ("stride", 9), ("dilation", 0),
        ("dilation", 16), ("groups", 3), ("groups", 0), ("conv", "depthwise"), ("conv", "wide"),
        ("block", "dense"), ("expand", 0.5), ("squeeze_excite", 2), ("activation", "tanhh"),
        ("norm", "layer"), ("order", "conv"), ("pool", 8), ("pool", 9), ("pool_type", "sum"),
        ("dropout", 1.0), ("dropout", float("nan")), ("residual", "yes?"), ("repeat", 0),
        ("repeat", 65), ("after", "row0"), ("after", "nothing"), ("colour", "red"), ("expand", float("inf")),
    ]
)  # fmt: skip
MODEL = st.fixed_dictionaries(
    {
        "layers": st.lists(ROW, min_size=1, max_size=4),
        "odd": st.one_of(st.none(), st.none(), ODD),
        "head": st.sampled_from(["conv", "gap", "gap"]),
        "head_hidden": st.sampled_from([None, None, None, 8]),
        "width_multiplier": st.sampled_from([1.0, 1.0, 0.5, 1.7]),
    }
)
BUDGET = st.fixed_dictionaries(
    {
        "max_parameters": st.sampled_from([None, None, None, 20_000, 2_000, 100]),
        "fit": st.booleans(),
    },
    optional={
        "max_macs": st.sampled_from([None, None, 200_000]),
        "max_weight_bytes": st.sampled_from([None, "16kB", "1MiB", "many"]),
        "max_activation_bytes": st.sampled_from([None, "8KiB", 100_000]),
        "min_receptive_field": st.sampled_from([None, None, 5, 300]),
    },
)
OPTIMIZER = st.fixed_dictionaries(
    {"name": st.sampled_from(["sgd", "adamw"]), "lr": st.sampled_from([0.1, 0.01, 0.001, 100.0])}
)
# What a refusal must name: a setting's key.
KEY = re.compile(r"\b(model|budget|optimizer|trainer)\.[a-z_]+")
NUMBER = int(os.environ.get("FAULTS_CONFIGURATIONS", "100"))
FEW = 12
MANY = [FEW, pytest.param(NUMBER, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])]


def configured(model: dict[str, Any], budget: dict[str, Any], optimizer: dict[str, Any]) -> Any:
    """As the command line composes it, but for how long that takes."""
    cfg = compose_raw(
        "data=digits", "data.limit=20", "data.validation=20", "data.size=16", "model=tiny",
        "budget=none", "trainer.epochs=1", "trainer.batch_size=20", "trainer.precision=fp32",
        "trainer.memory_format=contiguous", "trainer.device=cpu", "trainer.test=false",
        "trainer.progress=false",
    ).copy()  # fmt: skip
    rows = {f"row{n}": dict(row) for n, row in enumerate(model["layers"])}
    if model["odd"]:
        key, value = model["odd"]
        rows[f"row{len(rows) - 1}"][key] = value
    OmegaConf.set_readonly(cfg, False)
    with open_dict(cfg):
        cfg.model.layers = rows
        for name in ("head", "head_hidden", "width_multiplier"):
            cfg.model[name] = model[name]
        for part, values in (("budget", budget), ("optimizer", optimizer)):
            for name, value in values.items():
                cfg[part][name] = value
    return cfg


@pytest.mark.parametrize("number", MANY)
def test_a_configuration_trains_or_is_refused(
    number: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    counts = {"trained": 0, "refused": 0, "exported": 0, "most": 3 if number == FEW else 12}

    @settings(
        max_examples=number, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(MODEL, BUDGET, OPTIMIZER)
    def check(model: dict[str, Any], budget: dict[str, Any], optimizer: dict[str, Any]) -> None:
        folder = tmp_path_factory.mktemp("run")
        try:
            cfg = configured(model, budget, optimizer)
        except Exception as error:  # the types of the schema, told by Hydra to a person
            assert "OmegaConf" in str(type(error).__mro__)  # noqa: PT017
            counts["refused"] += 1
            return
        try:
            summary = run(to_config(cfg), folder, threads=1)
        except UserError as error:
            told = str(error)
            assert KEY.search(told) or "loss" in told, told
            counts["refused"] += 1
            return
        counts["trained"] += 1
        check_counts(to_config(cfg), summary, counts)

    check()
    assert counts["trained"] > number / 20, counts
    assert counts["refused"] > number / 20, counts
    print(counts)


def check_counts(config: Any, summary: dict[str, Any], counts: dict[str, int]) -> None:
    fitted, cost = enforce(config.model, config.data, config.budget)
    network = build_model(fitted, config.data).eval()
    total = sum(p.numel() for p in network.parameters())
    assert summary["parameters"] == cost.parameters == total
    if counts["trained"] % 8 == 1 and counts["exported"] < counts["most"]:
        data: DataConfig = config.data
        program = trace(network, data)
        assert sum(p.numel() for p in program.parameters()) == total
        assert to_onnx(program, network, "0123456789")[1] == total
        counts["exported"] += 1

"""What Hydra composes for a candidate is what is judged, compared and trained."""

import json
from pathlib import Path

import pytest
from applications import Application, application

APP = """
import json
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

def limits(cfg):
    plain = OmegaConf.to_container(cfg, resolve=True)
    with open("judged.jsonl", "a") as file:
        file.write(json.dumps(plain) + "\\n")
    cfg.x = 99  # what is judged is a copy
    return {"cost": (cfg.cost - 100) / 100}

@hydra.main(config_path="conf", config_name="config")
def main(cfg):
    with open("trained.jsonl", "a") as file:
        file.write(json.dumps(OmegaConf.to_container(cfg, resolve=True)) + "\\n")
    return cfg.x

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults:
  - model: {model}
  - opt: sgd
  - _self_
  - override hydra/sweeper: budget
x: 0
chosen: ${{hydra:runtime.choices.model}}
folder: ${{hydra:runtime.output_dir}}
hydra:
  sweeper: {{n_trials: 4, constraints: app.limits}}
"""
FILES = {
    "app.py": APP,
    "conf/config.yaml": CONFIG.format(model="small"),
    "conf/huge_first.yaml": CONFIG.format(model="huge"),
    "conf/must_choose.yaml": CONFIG.format(model="???"),
    "conf/model/small.yaml": "# @package _global_\ncost: 5\n",
    "conf/model/huge.yaml": "# @package _global_\ncost: 500\n",
    "conf/opt/sgd.yaml": "lr: 0.1\n",
    "conf/opt/adam.yaml": "lr: 0.01\nbeta: 0.9\n",
}

OF_ITS_JOB = "+number=${hydra:job.num}"
OVERRIDDEN = "+overridden=${hydra:job.override_dirname}"


@pytest.fixture
def app(tmp_path: Path) -> Application:
    return application(tmp_path, FILES)


def lines(app: Application, name: str) -> list[dict]:
    return [json.loads(line) for line in (app.folder / name).read_text().splitlines()]


def rows(app: Application) -> list[dict]:
    return json.loads((app.folder / "out" / "leaderboard.json").read_text())


@pytest.mark.parametrize("config", ["config", "huge_first", "must_choose"])
@pytest.mark.parametrize("launcher", ["basic", "forkserver"])
@pytest.mark.by_default("forkserver-config")
def test_limits_see_the_candidates_own_job(app: Application, config: str, launcher: str) -> None:
    told = app.run("--config-name", config, "-m", "model=small,huge", "x=1,2", "hydra.sweep.dir=out",
                   f"hydra/launcher={launcher}")  # fmt: skip
    assert "All 4 candidates" in told
    trained = lines(app, "trained.jsonl")
    assert sorted(t["x"] for t in trained) == [1, 2]
    assert {t["chosen"] for t in trained} == {"small"}
    judged = {(j["chosen"], j["cost"]) for j in lines(app, "judged.jsonl")}
    assert judged == {("small", 5), ("huge", 500)}


def test_what_is_judged_is_what_is_trained(app: Application) -> None:
    app.run(
        "-m", "model=small", "x=1,2", "hydra.sweep.dir=out", OF_ITS_JOB, OVERRIDDEN,
        "hydra.sweeper.feasibility_samples=0",
    )  # fmt: skip
    judged = lines(app, "judged.jsonl")
    for trained in lines(app, "trained.jsonl"):
        assert trained in judged
        assert Path(trained["folder"]).name == str(trained["number"])
        assert f"x={trained['x']}" in trained["overridden"]


def test_candidates_that_get_the_same_are_trained_once(app: Application) -> None:
    """Two ways of saying one configuration, though it names its job's own folder."""
    (app.folder / "conf" / "opt" / "same.yaml").write_text("lr: 0.1\n")
    told = app.run("-m", "opt=sgd,same,adam", "hydra.sweep.dir=out")
    assert "All 3 candidates" in told
    assert len(lines(app, "trained.jsonl")) == 2
    assert sum(row["duplicate_of"] is not None for row in rows(app)) >= 1


def test_candidates_that_differ_by_their_job_alone_are_not_the_same(app: Application) -> None:
    """A seed taken from the job's number, say: repeats are wanted."""
    (app.folder / "conf" / "opt" / "same.yaml").write_text("lr: 0.1\n")
    app.run("-m", "opt=sgd,same", OF_ITS_JOB, "hydra.sweep.dir=out")
    assert {t["opt"]["lr"] for t in lines(app, "trained.jsonl")} == {0.1}
    assert len(lines(app, "trained.jsonl")) >= 2


GROUPS = """
defaults:
  - opt: sgd
  - _self_
  - override hydra/sweeper: budget
x: 0
cost: 1
hydra:
  sweeper:
    n_trials: 4
    params:
      opt: choice(sgd,adam)
      opt=adam:
        {prefix}{group}: choice({choices})
"""


@pytest.mark.parametrize(
    ("prefix", "group", "got"),
    [
        ("+", "backbone", {"backbone": {"layers": 18}}),
        ("+", "backbone@side.one", {"side": {"one": {"layers": 18}}}),
        ("+", "deep/er", {"deep": {"er": {"layers": 18}}}),
    ],
)
@pytest.mark.parametrize("first", ["sgd", "adam"])
@pytest.mark.by_default("sgd-+-backbone-got0")
def test_a_group_that_exists_under_one_choice_only(
    app: Application, prefix: str, group: str, got: dict, first: str
) -> None:
    config = GROUPS.format(prefix=prefix, group=group, choices="r18,r50")
    if first == "adam":
        config = config.replace("choice(sgd,adam)", "choice(adam,sgd)")
    (app.folder / "conf" / "config.yaml").write_text(config)
    for place in ("backbone", "deep/er"):
        for layers in (18, 50):
            file = app.folder / "conf" / place / f"r{layers}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"layers: {layers}\n")
    app.run("-m", "hydra.sweep.dir=out")
    trained = lines(app, "trained.jsonl")
    with_group = [t for t in trained if t["opt"]["lr"] == 0.01]
    assert any(got.items() <= t.items() for t in with_group)
    assert len(trained) == 3
    best = app.shell(app.best_command("out"))
    assert "Error" not in best
    assert lines(app, "trained.jsonl")[-1] in trained

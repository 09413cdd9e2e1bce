"""What Optuna's own tools, such as its dashboard, find in a study."""

import re
from pathlib import Path

import optuna
import pytest
from sweeping import study, sweep

from hydra_budget_sweeper import read_sweep

SPACE = ("width=range(8,13)", "hydra.sweeper.constraints=bowl.limits", "hydra.sweeper.n_jobs=1")
NAMED = "hydra.sweeper.metric_names=[distance]"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps") / "my widths"
    sweep(folder, *SPACE, "hydra.sweeper.n_trials=null", NAMED, "hydra/sweeper/sampler=grid")
    return folder


def test_the_study_has_the_name_of_its_folder_and_its_metric_one_too(swept: Path) -> None:
    assert study(swept).study_name == "my widths"
    assert study(swept).metric_names == ["distance"]
    assert read_sweep(swept).metric_names == ("distance",)


def test_a_trial_tells_its_folder_or_by_how_much_it_is_over_the_limits(swept: Path) -> None:
    trained = over = 0
    for trial in study(swept).trials:
        told = trial.user_attrs
        if trial.params["width"] > 10:
            over += 1
            assert "folder" not in told
            assert told["excess"] == pytest.approx((trial.params["width"] - 10) / 10)
            assert told["over"] == f"width by {10 * (trial.params['width'] - 10)} %"
        elif trial.state.is_finished():
            trained += 1
            assert (swept / told["folder"]).is_dir() and "excess" not in told
    assert trained == 3 and over == 2


def test_a_renamed_folder_keeps_its_study(swept: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed"
    swept.rename(renamed)
    try:
        sweep(renamed, *SPACE, "hydra.sweeper.n_trials=null", NAMED, "hydra/sweeper/sampler=grid")
        assert study(renamed).study_name == "my widths"
    finally:
        renamed.rename(swept)


@pytest.mark.slow
def test_in_a_database_folders_of_one_name_have_studies_of_their_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        folder = tmp_path / place / "widths"
        stored = [f"hydra.sweeper.storage={url}", "hydra.sweeper.n_trials=1"]
        sweep(folder, "x=interval(-5,5)", *stored)
    names = optuna.get_all_study_names(url)
    assert len(names) == 2 and all(re.fullmatch(r"widths-\w{6}", name) for name in names)


def test_there_is_a_name_for_each_metric(tmp_path: Path) -> None:
    told = sweep(
        tmp_path / "s", "x=interval(-5,5)", "hydra.sweeper.metric_names=[a,b]", expect=1
    ).stderr
    assert (
        "hydra.sweeper.metric_names must be as many names as there are objectives (1), but got ['a', 'b']"
        in told
    )

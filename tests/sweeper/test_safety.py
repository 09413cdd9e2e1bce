"""A configuration from a stranger runs nothing of the stranger's; passwords stay where they are."""

from pathlib import Path

import pytest
from applications import MAIN, Application, application

from hydra_budget_sweeper.storage_url import without_password

CONFIG = "defaults:\n  - _self_\n  - override hydra/sweeper: budget\nx: 0.0\nhydra:\n  sweeper: {n_trials: 2}\n"
APP = "import os\nimport helpers\n" + MAIN.replace("{value}", "cfg.x") + "\n"
OWN = "\ndef limits(cfg):\n    return {'x': cfg.x - 10}\n\ndef done(folder):\n    print('done', folder.name)\n"
FILES = {
    "app.py": APP.replace("\n@hydra.main", OWN + "\n@hydra.main"),
    "helpers.py": "def limits(cfg):\n    return {'x': cfg.x - 10}\n",
    "evil.py": "open('PWNED', 'w').close()\ndef f(*_):\n    return {}\n",
    "conf/config.yaml": CONFIG,
}
SWEEP = ["-m", "x=1,2", "hydra.sweep.dir=out"]


@pytest.fixture
def app(tmp_path: Path) -> Application:
    return application(tmp_path, FILES)


@pytest.mark.parametrize(
    "setting", ["constraints={}", "custom_search_space={}", "on_start=[{}]", "on_end=[{}]"]
)
@pytest.mark.parametrize(
    "name",
    ["os.system", "evil.f", "helpers.limits", "app.os.system", "runpy.run_path", "json.dumps"],
)
def test_only_the_applications_own_functions_are_called(
    app: Application, setting: str, name: str
) -> None:
    told = app.run(*SWEEP, "hydra.sweeper." + setting.format(name), expect=1)
    assert told.count("\n") == 1
    assert f"hydra.sweeper.{setting.split('=')[0]}={name}" in told
    assert not (app.folder / "PWNED").exists()
    assert not (app.folder / "out" / "0").exists()


def test_the_applications_own_functions_are(app: Application) -> None:
    told = app.run(
        *SWEEP, "hydra.sweeper.constraints=app.limits", "hydra.sweeper.on_end=[app.done]"
    )
    assert "2/2 trained" in told
    assert "done out" in told


def test_an_application_allows_more(app: Application) -> None:
    script = app.folder / "app.py"
    allowing = 'config_name="config", execution_whitelist=["helpers.*"])'
    script.write_text(script.read_text().replace('config_name="config")', allowing))
    told = app.run(*SWEEP, "hydra.sweeper.constraints=helpers.limits")
    assert "2/2 trained" in told


@pytest.mark.parametrize(
    ("name", "words"),
    [("app.nothing", "nothing"), ("app.limits.x", "x"), ("limits", "limits"), ("app.x y", "x y")],
)
def test_a_misspelt_name_is_one_sentence(app: Application, name: str, words: str) -> None:
    told = app.run(*SWEEP, f"hydra.sweeper.constraints='{name}'", expect=1)
    assert told.count("\n") == 1
    assert "hydra.sweeper.constraints" in told
    assert words in told


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///s.db", "sqlite:///s.db"),
        ("sqlite:////tmp/a:b@c.db", "sqlite:////tmp/a:b@c.db"),
        ("hydra.searchpath=[file:///a:b@c]", "hydra.searchpath=[file:///a:b@c]"),
        ("postgresql://me:hunter2@host/db", "postgresql://me:***@host/db"),
        (
            "postgresql+psycopg://me:hun@ter:2@host:5432/db",
            "postgresql+psycopg://me:***@host:5432/db",
        ),
        ("mysql://me@host/db?password=hunter2&ssl=1", "mysql://me@host/db?password=***&ssl=1"),
        ("cannot connect to 'redis://:hunter2@host'", "cannot connect to 'redis://:***@host'"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_a_password_is_neither_printed_nor_written(app: Application) -> None:
    # sqlite takes the whole of it for a file's name, so that no server is needed
    storage = "hydra.sweeper.storage='sqlite:///s.db?password=hunter2'"
    told = app.run(*SWEEP, storage)
    assert "2/2 trained" in told
    assert "hunter2" not in told
    written = [p for p in (app.folder / "out").rglob("*") if p.is_file()]
    assert any(p.name == "hydra.yaml" for p in written)
    assert not [p for p in written if b"hunter2" in p.read_bytes()]


def test_an_unreachable_server_is_told_without_the_password(app: Application) -> None:
    told = app.run(*SWEEP, "hydra.sweeper.storage='nosuch://me:hunter2@host/db'", expect=1)
    assert told.count("\n") == 1
    assert "hydra.sweeper.storage" in told
    assert "hunter2" not in told

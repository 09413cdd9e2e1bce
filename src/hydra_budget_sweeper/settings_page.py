"""`python -m hydra_budget_sweeper.settings_page`: every setting, from the comments above the fields."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from hydra_plugins.hydra_budget_sweeper.config import BudgetSweeperConf
from hydra_plugins.hydra_forkserver_launcher.config import ForkserverLauncherConf

HEAD = """# Settings of the sweeper

What each means in use is told in [sweeper.md](sweeper.md); `python app.py --cfg hydra --package hydra.sweeper`
shows what holds in an application. Settings of a class that Optuna brings are its arguments. This page is made by
`python -m hydra_budget_sweeper.settings_page`.
"""


def page() -> str:
    """The page as markdown."""
    parts = [HEAD, "## hydra.sweeper\n", *_table(BudgetSweeperConf)]
    for name, cls in _options("hydra/sweeper/pruner"):
        parts += [f"## hydra/sweeper/pruner={name}\n", f"{_docstring(cls)}\n", *_table(cls)]
    parts += ["## hydra/sweeper/sampler\n", "| option | settings | |", "| --- | --- | --- |"]
    for name, cls in _options("hydra/sweeper/sampler"):
        settings = ", ".join(f"`{key}: {_yaml(value)}`" for key, value in _values(cls))
        if settings:
            parts.append(f"| `{name}` | {settings} | [Optuna]({_docstring(cls)}) |")
    parts += ["\n## hydra/launcher=forkserver\n", *_table(ForkserverLauncherConf)]
    return "\n".join(parts).rstrip() + "\n"


def _options(group: str) -> Iterator[tuple[str, Any]]:
    """The options of a group that Hydra knows, with their classes."""
    store = ConfigStore.instance()
    for file in store.list(group):
        yield file.removesuffix(".yaml"), OmegaConf.get_type(store.load(f"{group}/{file}").node)


def _table(cls: Any) -> Iterator[str]:
    if rows := list(_rows(cls)):
        yield from (
            "| setting | type | default | meaning |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        )


def _rows(cls: Any, prefix: str = "") -> Iterator[str]:
    said = {name: told for base in reversed(cls.__mro__[:-1]) for name, *told in _annotated(base)}
    groups = {k: v for choice in getattr(cls(), "defaults", []) for k, v in choice.items()}
    for name, value in _values(cls):
        kind, comment = said[name]
        if dataclasses.is_dataclass(value):
            yield from _rows(type(value), f"{prefix}{name}.")
            continue
        if name in groups:
            kind, value = "group", groups[name]
        kind = kind.replace("|", "\\|")
        yield f"| `{prefix}{name}` | {kind} | `{_yaml(value)}` | {comment} |"


def _annotated(cls: Any) -> Iterator[tuple[str, str, str]]:
    """Name, type and comment of the fields in a class's source."""
    source = textwrap.dedent(inspect.getsource(cls))
    lines, (node,) = source.splitlines(), ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            above, at = list[str](), field.lineno - 2
            while lines[at].strip().startswith("#"):
                above.insert(0, lines[at].strip().lstrip("# "))
                at -= 1
            yield field.target.id, ast.unparse(field.annotation), " ".join(above)


def _values(cls: Any) -> Iterator[tuple[str, Any]]:
    """The settings with their defaults; what begins with `_` is Hydra's."""
    for field in dataclasses.fields(cls):
        if not field.name.startswith("_") and field.name != "defaults":
            yield field.name, getattr(cls(), field.name)


def _yaml(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}
    is_word = value is None or isinstance(value, bool)
    return words[value] if is_word else str(getattr(value, "name", value))


def _docstring(cls: Any) -> str:
    return inspect.getdoc(cls) or ""


if __name__ == "__main__":
    print(page(), end="")

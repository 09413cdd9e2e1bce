"""Which application a sweep is of: the same name however it is started, and wherever it lies."""

import inspect
from pathlib import Path
from typing import Any


def application_of(task: Any) -> str | None:
    """Name an application by the file that its task is written in, without folders: `app`.

    A script, a module of the same file and a command that imports it have one name, in every checkout.
    None where no such file tells it, as in a notebook or a frozen program.
    """
    code = getattr(inspect.unwrap(task), "__code__", None)
    file = Path(code.co_filename) if code is not None else Path()
    if file.suffix != ".py" or not file.is_file():
        return None
    if file.stem not in ("__main__", "__init__"):
        return file.stem
    # A package has its folder's name; any other folder may have another elsewhere.
    return file.parent.name if file.with_name("__init__.py").exists() else None

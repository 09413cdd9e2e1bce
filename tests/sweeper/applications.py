"""Small Hydra applications, written into a folder and run as their users would."""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sweeping import SOURCE

MAIN = """
import hydra
from omegaconf import OmegaConf

@hydra.main(config_path="conf", config_name="config")
def main(cfg):
    print("got", OmegaConf.to_container(cfg, resolve=True))
    return {value}

if __name__ == "__main__":
    main()
"""


@dataclass
class Application:
    """A folder with `app.py` and what else it needs."""

    folder: Path

    def run(self, *words: str, expect: int = 0) -> str:
        """Run `python app.py WORDS`; what it printed, both streams."""
        return self.shell(shlex.join(["python", "app.py", *words]), expect)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `python app.py WORDS` in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "app.py", *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def shell(self, command: str, expect: int = 0) -> str:
        """Run a line of shell in the folder, with this Python."""
        paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
        ended = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env={**os.environ, "PATH": os.pathsep.join(paths), "PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == expect, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def best_command(self, sweep: str) -> str:
        """The command that the sweep ends with."""
        line = (self.folder / sweep / "best.yaml").read_text().splitlines()[1]
        return line.removeprefix("# Run it: ")


def application(folder: Path, files: dict[str, str], value: str = "cfg.lr") -> Application:
    """Write an application whose task returns `value`; `files` adds to it or replaces parts."""
    for name, text in {"app.py": MAIN.replace("{value}", value), **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Application(folder)

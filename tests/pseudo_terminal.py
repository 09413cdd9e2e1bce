"""A pseudo-terminal for commands, and what a person would see on it."""

import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

HIDE_CURSOR, SHOW_CURSOR, ERASE_LINE = "\x1b[?25l", "\x1b[?25h", "\x1b[2K"


def plain(text: str) -> str:
    """What is left without a terminal's commands."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


def on_screen(text: str) -> list[str]:
    """The lines that a terminal has in the end, up to the cursor's; knows what is used here."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\r":
            column = 0
        elif re.fullmatch(r"\x1b\[\d*A", part):
            row -= int(part[2:-1] or 1)
        elif part == ERASE_LINE:
            lines[row] = ""
        elif part[0] != "\x1b":
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    assert not any(lines[row + 1 :])
    return lines[: row + 1]


class Terminal:
    """A command on a pseudo-terminal of 80 columns and 30 lines; reads what appears there."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path | None = None) -> None:
        self._master, slave = pty.openpty()
        os.set_blocking(self._master, False)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd,
            env=env | {"TERM": "xterm", "COLUMNS": "80", "LINES": "30"},
            start_new_session=True, preexec_fn=_hear_interrupts,
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def read_until(self, pattern: str, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, plain(self.text)):
            assert time.monotonic() < deadline, self.text
            self._read()

    def end(self, expect: int, seconds: float = 90.0) -> str:
        """Wait for the process, and return all that it wrote."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self._read()
        self._read()
        os.close(self._master)
        assert self.process.returncode == expect, self.text
        return self.text

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self.text += data.decode()
        except BlockingIOError:
            time.sleep(0.05)
        except OSError:  # the other end is closed
            time.sleep(0.05)


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

"""What a person sees of a sweep: its log and, on a terminal, below it what goes on just now."""

import logging
import os
import sys
import textwrap
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

# The sweep's own voice. What else this package logs is of workers and their trials.
VOICE = logging.getLogger("hydra_budget_sweeper.sweep")

_STYLES = {logging.WARNING: "yellow", logging.ERROR: "red"}


class Screen:
    """Shows what the sweep says, line by line, and on a terminal what it does, redrawn in place.

    In a `with` block. What is logged to `VOICE` in it goes where Hydra's log of the sweep goes, but
    bare on a terminal and with the time alone elsewhere, and never to the log of a trial that
    happens to run in this process.

    Args:
        console: By default the terminal, if that is where both output and errors go, or else
            standard output as a log.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or _console()
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        self._start = time.monotonic()
        self._phase = "getting ready"
        self._now: RenderableType = ""
        # Drawing takes milliseconds, which the trials might have.
        self._display = Live(
            console=self.console, get_renderable=self._draw, refresh_per_second=1, transient=True
        )

    def __enter__(self) -> "Screen":
        hydras = logging.getLogger().handlers
        VOICE.handlers = [h for h in hydras if not _is_terminals(h)]
        if any(map(_is_terminals, hydras)):
            VOICE.addHandler(_Lines(self))
        VOICE.propagate = False
        VOICE.setLevel(logging.getLogger().getEffectiveLevel())
        if self.live:
            self._display.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was, but for what was said; once is enough."""
        self._display.stop()
        VOICE.handlers, VOICE.propagate = [], True
        VOICE.setLevel(logging.NOTSET)

    def phase(self, name: str) -> None:
        """Say what goes on from now on, in a word or a few, and show nothing else of it yet."""
        self._phase = name
        self.show("")
        if self._display.is_started:
            self._display.refresh()

    def show(self, what: RenderableType) -> None:
        """Show `what` on a terminal, within a second, in the place of what was shown before."""
        self._now = what

    def print(self, what: RenderableType, style: str | None = None) -> None:
        """Let `what` stay; a terminal's lines of text are broken between words alone."""
        if isinstance(what, str):
            what = self._broken(what)
        self.console.print(what, style=style, soft_wrap=True, markup=False, highlight=False)

    def end_with(self, text: str) -> None:
        """Close, and let `text` be the last that is said."""
        self.close()
        print(self._broken(text), file=sys.stderr)

    def _broken(self, text: str) -> str:
        if not self.live:
            return text
        return "\n".join(
            textwrap.fill(
                line, self.console.width, subsequent_indent="    ", break_long_words=False,
                break_on_hyphens=False,
            )
            for line in text.splitlines()
        )  # fmt: skip

    def _draw(self) -> RenderableType:
        phase = f"{self._phase}, {duration(time.monotonic() - self._start)}"
        return Group(Text(phase, style="bold"), self._now)


class _Lines(logging.Handler):
    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen
        time_of_day = "" if screen.live else "%(asctime)s "
        self.setFormatter(logging.Formatter(f"{time_of_day}%(message)s", "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._screen.print(self.format(record), _STYLES.get(record.levelno))
        except Exception:
            self.handleError(record)


def duration(seconds: float) -> str:
    """`1 h 02 min`, `3 min 20 s`, `7 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def _console() -> Console:
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return Console(force_terminal=False)
    # Of its own, since a trial that runs in this process has its output set aside.
    return Console(file=open(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding))


def _is_terminals(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and not isinstance(
        handler, logging.FileHandler
    )

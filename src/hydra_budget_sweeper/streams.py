"""Standard streams that are closed, or whose reader has left, and logs on a full disk."""

import logging
import os
import select
import sys
from typing import TextIO


def secure_streams() -> None:
    """Put nothing in the place of a stream that is closed: the next file would take its number.

    From then on a log that cannot be written is no reason for a traceback.
    """
    logging.raiseExceptions = False
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            os.set_inheritable(number, True)
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(number, mode, closefd=False))


def opened(stream: TextIO, number: int) -> TextIO:
    """Return a stream of the process, opened anew on its descriptor if something has closed it."""
    if not getattr(stream, "closed", False):
        return stream
    again = os.fdopen(number, "w", encoding=stream.encoding, closefd=False)
    for name in ("__stdout__", "__stderr__"):
        if getattr(sys, name) is stream:
            setattr(sys, name, again)
    return again


def reader_left() -> bool:
    """Return whether who read the output, through a pipe, has gone."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def drop_output() -> None:
    """Let what the output has not taken yet not be tried again at the interpreter's end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)

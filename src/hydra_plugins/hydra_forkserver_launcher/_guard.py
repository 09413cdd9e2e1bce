"""Ends the server and the jobs' processes with the process they work for, however that ends.

Importing this module acts, so only the server does, as its first import. The kernel keeps the
promise from then on, also in the middle of an import, which would keep a thread of ours waiting.
"""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h

_server: int | None = os.getpid()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _in_job() -> None:
    """Bind a process that the server has forked; what that one forks is its own affair."""
    global _server
    server, _server = _server, None
    if server is None:
        return
    _end_with_parent()
    if os.getppid() != server:
        os._exit(1)  # it ended before the kernel was told


_end_with_parent()
os.register_at_fork(after_in_child=_in_job)

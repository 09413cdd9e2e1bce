"""`budgetsweep dashboard`: optuna-dashboard on one sweep, while it runs and afterwards."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from budgetsweep.arguments import place
from budgetsweep.errors import UserError

_HOST = "127.0.0.1"  # whoever reaches the page can delete the study


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        "budgetsweep dashboard",
        description="Show a sweep in a browser, at an address of this machine alone, until Ctrl-C.",
        epilog="It needs the dashboard extra: pip install 'budgetsweep[dashboard]'",
    )
    p.add_argument("folder", metavar="DIR", type=place, help="a sweep's folder")
    p.add_argument("--port", type=int, default=8080, metavar="N", help="8080; 0: any that is free")
    p.add_argument(
        "--storage", metavar="URL",
        help="the study's, where it has a password: the folder does not keep that",
    )  # fmt: skip
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until Ctrl-C."""
    args = parser().parse_args(argv)
    try:
        server = _server(args.folder, args.storage, args.port)
    except UserError as error:
        sys.exit(str(error))
    print(f"http://{_HOST}:{server.server_port}/ shows {args.folder}; Ctrl-C ends it", flush=True)
    with suppress(KeyboardInterrupt):
        server.serve_forever()


class _Server(ThreadingMixIn, WSGIServer):
    """Answers several requests at a time, and waits for none when it ends."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests that went well, or ill: the page does."""


def _server(folder: Path, storage: str | None, port: int) -> WSGIServer:
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise UserError(
            "This needs optuna-dashboard: pip install 'budgetsweep[dashboard]'"
        ) from None
    from hydra_budget_sweeper import SweepError, open_sweep

    try:
        application = wsgi(open_sweep(folder, storage))
    except SweepError as error:
        raise UserError(str(error)) from None
    try:
        return make_server(_HOST, port, application, _Server, _Quiet)
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}. Name another, or 0 for any.") from None
    except OverflowError:
        raise UserError(f"--port {port}: must be 0, for any free one, to 65535.") from None

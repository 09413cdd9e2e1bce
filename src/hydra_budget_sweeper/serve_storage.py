"""Serve a database's studies to many workers: python -m hydra_budget_sweeper.serve_storage URL.

They name it by `hydra.sweeper.storage=grpc://HOST:PORT` and need neither the database's driver nor a
connection of its own each.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from optuna.exceptions import ExperimentalWarning
from optuna.storages import run_grpc_proxy_server

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.storage_url import PROXY, PROXY_PORT, dialect, on_server, without_password
from hydra_budget_sweeper.study.place import open_url

_PROG = "python -m hydra_budget_sweeper.serve_storage"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog=_PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("storage", metavar="URL", help="postgresql://user@host/name, mysql://...")
    parser.add_argument(
        "--host", default="localhost", help="to listen on; 0.0.0.0: all (localhost)"
    )
    parser.add_argument("--port", type=int, default=PROXY_PORT, help=f"({PROXY_PORT})")
    parser.add_argument("--threads", type=int, default=10, help="that answer (10); ≥ 1")
    options = parser.parse_args(arguments)
    try:
        _serve(options)
    except SweepError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _serve(options: argparse.Namespace) -> None:
    url, shown = options.storage, without_password(options.storage)
    if not on_server(url) or dialect(url) == PROXY:
        raise SweepError(f"{shown} is no server's database (postgresql://..., mysql://...).")
    storage = open_url(url)
    where = f"grpc://{options.host}:{options.port}"
    print(f"{shown} as hydra.sweeper.storage={where}, until Ctrl-C", flush=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            run_grpc_proxy_server(
                storage,
                host=options.host,
                port=options.port,
                thread_pool=ThreadPoolExecutor(options.threads),
            )
    except RuntimeError as error:
        raise SweepError(f"Cannot listen at {options.host}:{options.port}: {error}") from None


if __name__ == "__main__":
    sys.exit(main())

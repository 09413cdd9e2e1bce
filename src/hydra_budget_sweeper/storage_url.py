"""Storage URLs: what kind of place they name, and as people may see them."""

import re
from urllib.parse import unquote

# What follows the user's name in a URL, and what a driver may take as one of its own settings. A
# colon or a slash too few is a mistake that still shows no password; three slashes begin a path.
_PASSWORDS = (
    re.compile(r"(?<!/)(?:://?|//)[^:/@\s]*:(.+)@"),
    re.compile(r"[?&](?:password|passwd|pwd)=([^&\s'\"]+)", re.IGNORECASE),
)

# The part before `+` names the database, what follows the driver.
_SERVERS = ("postgresql", "mysql", "mariadb")
PROXY = "grpc"  # Optuna's, before a server's database
PROXY_PORT = 13000  # Optuna's


def dialect(url: str) -> str:
    """Return the kind of database that a URL names, such as postgresql; of a path what it begins with."""
    return url.partition(":")[0].partition("+")[0]


def on_server(url: str | None) -> bool:
    """Return whether a storage is a server's, which needs no folder that its clients share."""
    return dialect(url or "") in (*_SERVERS, PROXY)


def is_database(url: str) -> bool:
    """Return whether a storage is a database's, a server's or SQLite's file."""
    return dialect(url) in (*_SERVERS, "sqlite")


def without_password(text: str, url: str | None = None) -> str:
    """Return `text` with three stars for the passwords of the URLs in it.

    Args:
        text: What is to be shown.
        url: Whose passwords are hidden wherever `text` has them, decoded as well.
    """
    for pattern in _PASSWORDS:
        text = pattern.sub(lambda found: found[0].replace(found[1], "***"), text)
    secrets = [found[1] for pattern in _PASSWORDS for found in pattern.finditer(url or "")]
    for secret in sorted({*secrets, *map(unquote, secrets)}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text

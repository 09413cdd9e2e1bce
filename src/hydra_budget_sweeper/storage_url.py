"""Storage URLs as people may see them."""

import re

_BEFORE_HOST = re.compile(r"(://[^:/@\s]*:)\S*@")
_IN_QUERY = re.compile(r"([?&]password=)[^&\s'\"]*")


def without_password(text: str) -> str:
    """Replace the passwords of URLs in `text` by three stars."""
    return _IN_QUERY.sub(r"\1***", _BEFORE_HOST.sub(r"\1***@", text))

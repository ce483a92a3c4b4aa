"""A peer's text, made fit for a log or an error: one line, printable, cut, without passwords."""

import re

__all__ = ["LONGEST", "quoted"]

LONGEST = 120
"""Characters that are shown of a peer's text, at most."""

# What stands behind the key, in JSON or in JSON inside a JSON string; up to the cut where its end is not there.
_PASSWORD = re.compile(r"""(password[\\"'\s]*:[\\"'\s]*)[^\\"',}]+""", re.IGNORECASE)


def quoted(text: object) -> str:
    """What a peer wrote, in quotes.

    :param text: bytes (UTF-8 as far as it is), or anything with a text.
    :return: printable ASCII, ``LONGEST`` characters and an ellipsis at most.
    """
    shown = text[:LONGEST].decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text)[: LONGEST + 1]
    shown = ascii(_PASSWORD.sub(r"\1***", shown))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."

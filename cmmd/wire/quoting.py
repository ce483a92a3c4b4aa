"""Quote a peer's text for people: one line, printable; for a log or an error also cut, without passwords."""

import re

__all__ = ["LONGEST", "printable", "quoted"]

LONGEST = 120
"""Characters that are shown of a peer's text, at most."""

# From the key on nothing is shown: where its value ends is not certain in text that is not even JSON.
_PASSWORD = re.compile(r"(pass|\\u00).*", re.IGNORECASE | re.DOTALL)


def printable(text: str) -> str:
    """Put a text on one line that logs, terminals and databases accept; for what is shown or kept without quotes.

    :return: as long as it was; what is not printable is a blank, and so is every line's end.
    """
    if text.isprintable():  # nearly always
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def quoted(text: object) -> str:
    """Quote a peer's text.

    :param text: bytes (UTF-8 as far as it is), or anything with a text.
    :return: printable ASCII, ``LONGEST`` characters and an ellipsis at most.
    """
    shown = text[:LONGEST].decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text)[: LONGEST + 1]
    shown = ascii(_PASSWORD.sub(r"\1***", shown))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."

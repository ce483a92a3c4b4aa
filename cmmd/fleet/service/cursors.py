"""Where a page of a long list ends, as a text that whoever reads on hands back."""

import re

from cmmd.fleet.errors import BadArgument
from cmmd.store.records import Cursor

__all__ = ["cursor_from", "cursor_text"]

_CURSOR = re.compile(r"(-?[0-9]{1,19})\.([0-9]{1,19})", re.ASCII)


def cursor_text(cursor: Cursor) -> str:
    """A place in the order of time, as programs hand it back."""
    return f"{cursor.at}.{cursor.number}"


def cursor_from(text: str | None) -> Cursor | None:
    """Read it again.

    :raises BadArgument: nobody was given this one.
    """
    if text is None:
        return None
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise BadArgument("after: not a place that a page before has named")
    return Cursor(int(found[1]), int(found[2]))

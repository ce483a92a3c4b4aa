"""Long lists in pages: as many records as fit into one value of an AMP box, and where the next page begins."""

import re
from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct

from cmmd.control.errors import BadArgument
from cmmd.store.records import Cursor

__all__ = ["PAGE_BYTES", "Filled", "cursor_from", "cursor_text", "fill"]

PAGE_BYTES = 60_000
"""JSON of one page. A value of an AMP box has at most 65,535 bytes."""

_CURSOR = re.compile(r"(-?[0-9]{1,19})\.([0-9]{1,19})", re.ASCII)


class Filled(Struct, frozen=True):
    """A page.

    :ivar text: JSON, a list of records.
    :ivar count: how many.
    :ivar full: there are records that did not fit.
    """

    text: Raw
    count: int
    full: bool


def fill(records: Iterable[Struct], budget: int = PAGE_BYTES) -> Filled:
    """Fill a page. The first record is taken whatever its length, so that pages that are turned come to an end."""
    texts: list[bytes] = []
    length, full = 2, False
    for record in records:
        text = msgspec.json.encode(record)
        length += len(text) + 1
        if texts and length > budget:
            full = True
            break
        texts.append(text)
    return Filled(Raw(b"[" + b",".join(texts) + b"]"), len(texts), full)


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

"""Long lists in pages: as many records as fit into one value of an AMP box, and where the next page begins."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from cmmd.fleet.service.operations import Found
from cmmd.fleet.service.records import cursor_text

__all__ = ["PAGE_BYTES", "Filled", "Page", "fill", "page_of"]

PAGE_BYTES = 60_000
"""JSON of one page. A value of an AMP box has at most 65,535 bytes."""

_Record = TypeVar("_Record", bound=Struct)


class Filled(Struct, frozen=True):
    """A page, filled as far as it fits.

    :ivar text: JSON, a list of records.
    :ivar count: how many.
    :ivar full: there are records that did not fit.
    """

    text: Raw
    count: int
    full: bool


class Page(Struct, frozen=True):
    """Records as a JSON list, and what to ask for the next ones with; None: there are no more now."""

    text: Raw
    next: str | None


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


def page_of(found: Found[_Record]) -> Page:
    """A page of what was found, or of as many as fit. What does not is not even made."""
    records: list[_Record] = []

    def taken() -> Iterator[_Record]:
        for record in found.records:
            records.append(record)
            yield record

    filled = fill(taken())
    more = filled.count > 0 and (filled.full or filled.count == found.limit)
    return Page(filled.text, cursor_text(found.place(records[filled.count - 1])) if more else None)

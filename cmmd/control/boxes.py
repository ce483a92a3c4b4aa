"""Values of AMP boxes that AMP's 65,535 bytes do not hold: JSON in several parts, and long lists in pages."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Raw, Struct
from twisted.protocols import amp

from cmmd.fleet.service.records import cursor_text

if TYPE_CHECKING:  # cmmctl, which never makes a page, would load the whole fleet
    from cmmd.fleet.service.operations import Found

__all__ = ["JSON", "PAGE_BYTES", "Filled", "Page", "fill", "page_of"]


class JSON(amp.Argument):
    """A value as JSON. What is longer than AMP's 65,535 bytes continues in ``<name>2``, ``<name>3`` and so on.

    :param kind: what it is decoded to.
    """

    def __init__(self, kind: Any, optional: bool = False) -> None:
        super().__init__(optional)
        self._decoder = msgspec.json.Decoder(kind)

    def toBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, Any], _: object) -> None:
        """Encode the value into the box."""
        value = objects.get(name.decode())
        if value is None and self.optional:
            return
        text = msgspec.json.encode(value)
        for part, start in enumerate(range(0, len(text), amp.MAX_VALUE_LENGTH), 1):
            strings[_part_name(name, part)] = text[start : start + amp.MAX_VALUE_LENGTH]

    def fromBox(self, name: bytes, strings: Mapping[bytes, bytes], objects: dict[str, Any], _: object) -> None:
        """Decode the value from the box.

        :raises msgspec.MsgspecError: it is something else. :raises KeyError: it is missing.
        """
        if self.optional and name not in strings:
            objects[name.decode()] = None
            return
        parts, number = [strings[name]], 2
        while (further := strings.get(_part_name(name, number))) is not None:
            parts.append(further)
            number += 1
        objects[name.decode()] = self._decoder.decode(b"".join(parts))


def _part_name(name: bytes, part: int) -> bytes:
    return name if part == 1 else b"%s%d" % (name, part)


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


def page_of(found: "Found[_Record]") -> Page:
    """A page of what was found, or of as many as fit. What does not is not even made."""
    records: list[_Record] = []

    def taken() -> Iterator[_Record]:
        for record in found.records:
            records.append(record)
            yield record

    filled = fill(taken())
    more = filled.count > 0 and (filled.full or filled.count == found.limit)
    return Page(filled.text, cursor_text(found.place(records[filled.count - 1])) if more else None)

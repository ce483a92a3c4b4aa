"""Statistics of a store without opening it as a daemon does: read-only, beside a daemon that uses it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from cmmd.store.tools.copying import source_of

__all__ = ["FEWEST", "Check", "Counts", "Inspector", "Partition", "StoreStats", "first_and_more", "whole"]

FEWEST = 1000
"""Readings, below which their room on the disk says nothing about one of them."""


class Counts(Struct, frozen=True, kw_only=True):
    """The number of records of each kind."""

    devices: int = 0
    profiles: int = 0
    uploads: int = 0
    readings: int = 0
    alarms: int = 0
    events: int = 0
    commands: int = 0


class Partition(Struct, frozen=True, kw_only=True):
    """A part of the readings. ``rows``: about so many; ``size``: in bytes, with its indexes."""

    name: str
    rows: int
    size: int


class StoreStats(Struct, frozen=True, kw_only=True):
    """The properties and the content of a store, in numbers.

    :ivar store: its URL, without a password.
    :ivar server: the database's own version.
    :ivar schema: version; 0: there is nothing yet. :ivar newest_schema: the newest one that this cmmd knows.
    :ivar identity: see Kept; None: its schema has none. :ivar writer: the same.
    :ivar approximate: the counts that are estimates, because to count takes too long.
    :ivar oldest_reading_at: milliseconds UTC; None: there is no reading. :ivar newest_reading_at: the same.
    :ivar size: bytes on disk of everything.
    :ivar reading_size: bytes on disk of one reading, indexes included; None: too few to tell.
    :ivar partitions: of the readings, oldest first.
    """

    store: str
    server: str
    schema: int
    newest_schema: int
    identity: str | None = None
    writer: str | None = None
    counts: Counts = Counts()
    approximate: list[str] = []
    oldest_reading_at: int | None = None
    newest_reading_at: int | None = None
    size: int = 0
    reading_size: float | None = None
    partitions: list[Partition] = []


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at. ``text``: what was found, or what is wrong and what to do about it."""

    name: str
    ok: bool
    text: str


def first_and_more(name: str, wrong: Iterable[str]) -> Check:
    """A check of which this is wrong: the first, and how many more."""
    first, *more = [*wrong, ""]
    text = f"{first}, and {len(more) - 1} more" if len(more) > 1 else first
    return Check(name=name, ok=not first, text=text or "ok")


def whole(writers: Sequence[str]) -> Check:
    """Tell whether a store is no unfinished copy.

    :param writers: those noted in it; there is one.
    """
    if len(writers) != 1:
        return Check(name="whole", ok=False, text=f"{len(writers)} rows in table store, which has one")
    begun = source_of(writers[0])
    if begun is not None:
        text = f"an unfinished copy of {begun}: do the same `cmmctl store copy` again"
        return Check(name="whole", ok=False, text=text)
    return Check(name="whole", ok=True, text="no unfinished copy")


class Inspector(Protocol):
    """Looks at one store, in the calling thread. It changes nothing, but for :meth:`migrate`.

    :ivar shown: its URL, without a password.
    :ivar folder: of an embedded store: where its file is; None: a server has it.
    """

    shown: str
    folder: Path | None

    def reach(self) -> None:
        """Look whether it is there.

        :raises SchemaTooNew: a newer cmmd has written to the store.
        :raises StoreUnavailable: it cannot be reached, or is no store.
        """

    def is_empty(self) -> bool:
        """Tell whether there is nothing yet where a store could be.

        :raises StoreUnavailable: it cannot be reached, or something else is there.
        """

    def facts(self) -> StoreStats:
        """Collect the properties and the content of the store.

        :raises SchemaTooNew: a newer cmmd has written to the store.
        :raises StoreUnavailable: it cannot be reached, or is no store.
        """

    def damage(self) -> list[str]:
        """List the rows that an opening leaves out: no cmmd wrote them. The schema must be up to date.

        :raises StoreUnavailable: the store cannot work now.
        """

    def checks(self) -> Iterator[Check]:
        """Check the store step by step, as far as problems can be found."""

    def migrate(self) -> tuple[int, int]:
        """Bring its schema up to date.

        :return: its version before and after.
        :raises SchemaTooNew: a newer cmmd has written to the store.
        :raises StoreUnavailable: the store cannot work now.
        """

    def holder(self, patience_s: float = 0.0) -> str | None:
        """Name the other process that uses the store; None: none can be seen.

        :param patience_s: how long one may still be there that is ending.
        """

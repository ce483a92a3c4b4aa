"""The store for a fleet: a database in PostgreSQL."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from cmmd.store.interface import IStore, Snapshot, StoreUnavailable
from cmmd.store.postgres.address import Address
from cmmd.store.postgres.batches import redecoding
from cmmd.store.postgres.connection import Link
from cmmd.store.postgres.opening import Opened, open_database
from cmmd.store.postgres.reader import Links, Reader
from cmmd.store.postgres.retention import Retention
from cmmd.store.postgres.sessions import WriterLease, greet_reader
from cmmd.store.postgres.tables import ALARMS, COMMANDS, EVENTS, READINGS, TimedTable, text
from cmmd.store.postgres.writer import Writer
from cmmd.store.records import Alarm, Command, Device, Event, Query, Reading, Redecoded, Row

__all__ = ["PostgresStore"]

READERS = 2


class _Links(NamedTuple):
    link: Link
    writer: Writer
    links: Links
    reader: Reader
    forgetting: Retention

    def end(self) -> None:
        self.link.end()
        self.links.end()


@implementer(IStore)
class PostgresStore:
    """Keeps records in PostgreSQL.

    Numbers are given by the daemon, so one process writes at a time: it has an advisory lock there. Where the
    connection is lost it is made anew with pauses in between; meanwhile every call fails with StoreUnavailable. Whether
    a call was carried out whose answer was lost is unknown; to make it again does no harm.

    Opening blocks, in the calling thread as long as the reactor does not run, else in another one. A damaged row costs
    no more than what it says, see SQLiteStore.

    :param url: ``postgresql://...``, see Address.
    :param reactor: what it runs on.
    :param password_file: has the password, unless it comes in one of the ways of libpq.
    :raises ValueError: the URL is none; one line without any part of it.
    """

    def __init__(self, url: str, reactor: Any, password_file: Path | None = None) -> None:
        self._address = Address(url, password_file)
        self._reactor = reactor
        self._links: _Links | None = None

    def open(self) -> Deferred[Snapshot]:
        """Open the database, and read the snapshot.

        :raises StoreError: another cmmd writes to it, or it is no database for us.
        """
        opened = self._opened_in_a_thread() if self._reactor.running else execute(open_database, self._address)
        return opened.addCallback(self._is_open)

    def _opened_in_a_thread(self) -> Deferred[Opened]:
        """In one that no caller waits for at the end: it can last."""
        opened: Deferred[Opened] = Deferred()

        def work() -> None:
            try:
                outcome: Opened | Failure = open_database(self._address)
            except BaseException:
                outcome = Failure()
            self._reactor.callFromThread(opened.callback, outcome)  # a Failure becomes an errback

        Thread(target=work, daemon=True, name="store-opening").start()
        return opened

    def _is_open(self, opened: Opened) -> Snapshot:
        seat = WriterLease(self._address.name, opened.openings)
        link = Link(self._address, seat.greet, self._reactor)
        links = Links(READERS, lambda: Link(self._address, greet_reader, self._reactor), self._reactor)
        reader = Reader(links, self._address.name, self._reactor)
        self._links = _Links(link, Writer(link, seat.has_taken), links, reader, Retention(links, self._reactor))
        return opened.kept

    def add_device(self, device: Device) -> Deferred[Device]:
        return self._links.writer.add(device) if self._links else self._not_open()

    def remove_device(self, device: Device) -> Deferred[None]:
        """Delete a device and its last upload."""
        return self._links.writer.run(partial(_remove, device=device)) if self._links else self._not_open()

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        return self._links.writer.write(rows) if self._links else self._not_open()

    def redecode(self, readings: Sequence[Redecoded]) -> Deferred[None]:
        return self._links.writer.run(partial(_redecode, readings=list(readings))) if self._links else self._not_open()

    def readings(self, query: Query) -> Deferred[list[Reading]]:
        """Find readings. A damaged one among the rows raises StoreError, in every query."""
        return self._page(READINGS, query)

    def alarms(self, query: Query) -> Deferred[list[Alarm]]:
        return self._page(ALARMS, query)

    def events(self, query: Query) -> Deferred[list[Event]]:
        return self._page(EVENTS, query)

    def commands(self, query: Query) -> Deferred[list[Command]]:
        return self._page(COMMANDS, query)

    def forget(self, before: int, limit: int) -> Deferred[int]:
        """Delete old records; a partition with only older ones is dropped as a whole."""
        if self._links is None:
            return self._not_open()
        forgotten: Deferred[int] = Deferred()  # to cancel it must not reach what is under way
        Deferred.fromCoroutine(self._forget(self._links, before, limit)).addBoth(forgotten.callback)
        return forgotten

    async def _forget(self, links: _Links, before: int, limit: int) -> int:
        old = await links.forgetting.look(before)  # what may last does not hold up the one that writes
        return await links.writer.run(partial(links.forgetting.forget, old=old, before=before, limit=limit))

    def claim(self, writer: str) -> Deferred[None]:
        return self._links.writer.run(partial(_claim, writer=writer)) if self._links else self._not_open()

    def close(self) -> Deferred[None]:
        """Close the store. Queries fail that are not answered within some seconds; writes have limits of their own."""
        links = self._links
        if links is None:
            return succeed(None)
        drained = links.reader.drain().addCallback(lambda _: links.writer.drain())
        return drained.addCallback(self._closed, links)

    def _closed(self, _: object, links: _Links) -> None:
        links.end()
        if self._links is links:
            self._links = None

    def _page(self, table: TimedTable[Any], query: Query) -> Deferred[list[Any]]:
        return self._links.reader.page(table, query) if self._links else self._not_open()

    def _not_open(self) -> Deferred[Any]:
        return fail(StoreUnavailable(f"{self._address.name}: not open"))


async def _redecode(link: Link, readings: Sequence[Redecoded]) -> None:
    await link.runQuery(redecoding(readings).decode())


async def _remove(link: Link, device: Device) -> None:
    # One message is one transaction.
    await link.runQuery(
        f"DELETE FROM device WHERE number = {device.number};"  # noqa: S608 - a number and a literal
        f"DELETE FROM last_upload WHERE hostid = {text(device.hostid)}"
    )


async def _claim(link: Link, writer: str) -> None:
    await link.runQuery(f"UPDATE store SET writer = {text(writer)}")  # noqa: S608 - a literal

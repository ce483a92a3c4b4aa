"""Prepare a session with PostgreSQL before its use, and hold the lock of the only writer."""

from collections.abc import Mapping
from secrets import token_hex
from typing import Any

from txpostgres.txpostgres import Cursor

from cmmd.store.postgres.batches import PREPARE
from cmmd.store.postgres.errors import OWN_SESSION, NotOwner, Unavailable
from cmmd.store.postgres.schema import LOCKS, newest_schema

__all__ = ["SETTINGS", "TAKE_LOCK", "WHO_HOLDS_IT", "WriterLease", "greet_reader", "held"]

STATEMENT_TIMEOUT_S = 10

SETTINGS = f"""
SET TimeZone = 'UTC';
SET extra_float_digits = 1;
SET bytea_output = 'hex';
SET standard_conforming_strings = on;
SET default_transaction_isolation = 'read committed';
SET statement_timeout = '{STATEMENT_TIMEOUT_S}s';
SET idle_in_transaction_session_timeout = '60s';
SET jit = off;
SET tcp_keepalives_idle = 20;
SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 3;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
"""
"""For every session, whatever server, database and role say: what our statements rely on; that a commit is one;
that the server notices within a minute when we are gone, and lets go of our lock."""

_KEY = f"{LOCKS}, hashtext(current_schema())"

TAKE_LOCK = f"SELECT pg_try_advisory_lock({_KEY})"
"""Of all who would write to these tables one has this lock, as long as its session is open."""

WHO_HOLDS_IT = f"""
SELECT pid, coalesce(host(client_addr), 'a Unix socket'),
    to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
FROM pg_locks LEFT JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = {LOCKS} AND objid::bigint = hashtext(current_schema())::bigint & 4294967295
    AND objsubid = 2 AND granted
    AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 - our own number


def held(holders: list[tuple[Any, ...]]) -> str:
    """Describe the holder of the lock."""
    if not holders:
        return "another cmmd has just written to it"
    pid, where, since = holders[0]
    return f"another cmmd writes to it: server process {pid}, connected from {where} since {since or 'unknown'} UTC"


_OF_READERS = f"""
SELECT set_config('transaction_read_only', 'on', true), set_config('TimeZone', 'UTC', true),
    set_config('extra_float_digits', '1', true), set_config('bytea_output', 'hex', true),
    set_config('jit', 'off', true),
    set_config('statement_timeout', '{STATEMENT_TIMEOUT_S}s', true)
"""
"""For each transaction that reads: nothing of it stays in the session, which may be another client's next."""


async def _prepare_own(cursor: Cursor, statement: str) -> str:
    """Prepare a statement that no other session has.

    :return: the statement that begins each transaction: it fails in any other session, and the transaction with it.
    """
    name = f"{OWN_SESSION}{token_hex(8)}"
    await cursor.execute(f"PREPARE {name} AS {statement}")
    return f"EXECUTE {name}"


async def greet_reader(cursor: Cursor) -> str:
    """Prepare a session that reads.

    :return: the statement that begins each of its transactions.
    """
    own = await _prepare_own(cursor, _OF_READERS)
    return f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; {own}"


class WriterLease:
    """The place of the one that writes, to which the same one comes back.

    The first statement under it notes that in ``store.openings``: all that opened the store before, and come
    later, know then that their numbers may be taken.

    :param name: of the database.
    :param openings: what ``store.openings`` was when the store was opened.
    """

    def __init__(self, name: str, openings: int) -> None:
        self._name = name
        self._pid = 0
        self._openings = openings
        self._is_new = True
        self._highest: dict[str, int] = {}

    async def greet(self, cursor: Cursor) -> str:
        """Make it the session that writes.

        :raises Away: another one does. :raises Taken: another one has since, or it is not as it was left.
        """
        own = await _prepare_own(cursor, "SELECT 1")
        await cursor.execute(f"{own}; {SETTINGS} {PREPARE}")
        await self._check_openings(cursor)  # first: where another one is to have the lock, it is not tried for
        await cursor.execute(f"{TAKE_LOCK}, pg_backend_pid()")
        ((taken, pid),) = cursor.fetchall()
        if not taken:
            await self._refused(cursor)
        await self._check_openings(cursor)
        await self._check_what_is_there(cursor)
        if self._is_new:
            await cursor.execute("UPDATE store SET openings = openings + 1")
            self._is_new = False
            self._openings += 1
        self._pid = pid
        return own

    def has_taken(self, highest: Mapping[str, int]) -> None:
        """Numbers have been confirmed; by what ``counter`` calls their kind."""
        for kind, number in highest.items():
            self._highest[kind] = max(number, self._highest.get(kind, 0))

    async def _check_what_is_there(self, cursor: Cursor) -> None:
        """A server that has lost something, as a standby may have, would give numbers again."""
        await cursor.execute("SELECT kind, highest FROM counter")
        there = dict(cursor.fetchall())
        if any(there.get(kind, 0) < number for kind, number in self._highest.items()):
            raise NotOwner(f"{self._name}: it lacks rows that it had confirmed; start cmmd again to go on")
        await cursor.execute("SELECT max(number) FROM schema_version")
        ((version,),) = cursor.fetchall()
        if version > newest_schema():
            raise NotOwner(f"{self._name}: its schema has become version {version}; use a newer cmmd")

    async def _check_openings(self, cursor: Cursor) -> None:
        await cursor.execute("SELECT openings FROM store")
        if cursor.fetchall() != [(self._openings,)]:
            raise NotOwner(f"{self._name}: another cmmd has written to it since; start cmmd again")

    async def _refused(self, cursor: Cursor) -> None:
        await cursor.execute(WHO_HOLDS_IT)
        holders = cursor.fetchall()
        if [pid for pid, *_ in holders] == [self._pid]:  # ours, which was cut off, and does not know it yet
            await cursor.execute(f"SELECT pg_terminate_backend({self._pid})")
            raise Unavailable(f"{self._name}: the last connection is still open there")
        raise Unavailable(f"{self._name}: {held(holders)}")

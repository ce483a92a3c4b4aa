"""Opening a database in PostgreSQL. All of this blocks: it happens before anything is served, or in a thread."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Timer
from typing import Any, NamedTuple

import psycopg2
from msgspec import convert
from twisted.logger import Logger

from cmmd.store.corruption import CorruptRow, undamaged
from cmmd.store.interface import Snapshot, StoreError
from cmmd.store.postgres.address import Address
from cmmd.store.postgres.errors import SHARED, Unavailable, as_store_error, one_line
from cmmd.store.postgres.schema import migrate, missing_schemas, partitions_ahead
from cmmd.store.postgres.sessions import SETTINGS, TAKE_LOCK, WHO_HOLDS_IT, held
from cmmd.store.postgres.tables import ALARMS, COMMANDS, DEVICES, LAST_UPLOADS, Table
from cmmd.store.records import Numbers, ProfileVersion

__all__ = ["Opened", "check_server", "connect", "open_database"]

log = Logger()

OLDEST_SERVER = 130_000
CONNECT_S = 5
READ_S = 60.0
MIGRATE_S = 3600.0

LOCK_PATIENCE_S = 10.0
"""How long another one may still be there: the server needs a moment to notice that a process was killed."""
_LOOK_AGAIN_S = 0.25
_PID = "SELECT pg_backend_pid()"


class Opened(NamedTuple):
    """The content of a database, and how often a writer had claimed it before."""

    kept: Snapshot
    openings: int


def connect(address: Address) -> Any:
    """A connection of psycopg2 in autocommit mode, ready for whatever is done here.

    :raises StoreError: the file with the password cannot be read.
    :raises StoreUnavailable: there is no way to connect.
    """
    try:
        settings = {"connect_timeout": CONNECT_S, **address.settings()}
    except OSError as error:
        raise StoreError(one_line(error)) from None
    try:
        connection = psycopg2.connect(**settings)
        connection.autocommit = True
        with _bounded(connection, address.name, CONNECT_S):
            _check_own_session(connection, settings, address.name)  # before anything is set in it
        with connection.cursor() as cursor:
            cursor.execute(f"{SETTINGS} SET statement_timeout = 0")
    except psycopg2.Error as error:
        raise as_store_error(error, address.name) from None
    return connection


def open_database(address: Address) -> Opened:
    """Bring the schema up to date, make partitions, and read what is needed to go on.

    :raises SchemaTooNew: a newer cmmd has written to the store.
    :raises StoreUnavailable: the store cannot work now.
    :raises StoreError: it cannot be used as it is: another cmmd writes to it, or it is none for us.
    """
    connection = connect(address)
    try:
        with _bounded(connection, address.name, READ_S):
            check_server(connection, address.name)
            _take_lock(connection, address.name)
            missing = missing_schemas(connection, address.name)
        if missing:
            with _bounded(connection, address.name, MIGRATE_S):
                migrate(connection, address.name)
        with _bounded(connection, address.name, READ_S):
            opened = _take_in(connection, address.name)
            _ask(connection, "SELECT pg_advisory_unlock_all()")  # the server may take its time to see that we are gone
            return opened
    except psycopg2.Error as error:
        raise as_store_error(error, address.name) from None
    finally:
        connection.close()


def _check_own_session(connection: Any, settings: dict[str, Any], name: str) -> None:
    """Look whether a session stays with its connection while another connection has a transaction open.

    :raises Unavailable: it does not: there is a pooler.
    """
    try:
        other = psycopg2.connect(**settings)
    except psycopg2.Error:  # no more than one is allowed: a shared session is noticed at its first transaction then
        return
    try:
        other.autocommit = True
        with _bounded(other, name, CONNECT_S):
            ((mine,),) = _ask(connection, _PID)
            try:
                with other.cursor() as cursor:
                    cursor.execute("BEGIN")
            except psycopg2.Error:  # in statement mode PgBouncer ends a client that begins a transaction
                _ask(connection, _PID)  # fails where it is the server that has ended
                raise Unavailable(f"{name}: {SHARED}") from None
            ((theirs,),) = _ask(other, _PID)
            if theirs == mine or _ask(connection, _PID) != [(mine,)]:
                raise Unavailable(f"{name}: {SHARED}")
    finally:
        other.close()


@contextmanager
def _bounded(connection: Any, name: str, seconds: float) -> Iterator[None]:
    """Cut the connection where the server takes longer than this.

    :raises Away: that was so.
    """
    line = socket.socket(fileno=os.dup(connection.fileno()))
    is_cut = Event()

    def cut() -> None:
        is_cut.set()
        line.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except psycopg2.Error:
        if is_cut.is_set():
            raise Unavailable(f"{name}: no answer within {seconds:g} s") from None
        raise
    finally:
        timer.cancel()
        timer.join()
        line.close()


def _ask(connection: Any, query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def check_server(connection: Any, name: str) -> None:
    """Look whether a database can be ours at all.

    :raises StoreError: it cannot.
    """
    if connection.server_version < OLDEST_SERVER:
        raise StoreError(f"{name}: PostgreSQL {OLDEST_SERVER // 10_000} or later is needed")
    ((encoding, schema),) = _ask(connection, "SELECT current_setting('server_encoding'), current_schema()")
    if encoding != "UTF8":
        raise StoreError(f"{name}: its encoding is {encoding}, not UTF8; make the database anew")
    if schema is None:
        raise StoreError(f"{name}: search_path names no schema that exists")


def _take_lock(connection: Any, name: str) -> None:
    give_up = time.monotonic() + LOCK_PATIENCE_S
    while not _ask(connection, TAKE_LOCK)[0][0]:
        if time.monotonic() > give_up:
            raise StoreError(f"{name}: {held(_ask(connection, WHO_HOLDS_IT))}")
        time.sleep(_LOOK_AGAIN_S)


def _take_in(connection: Any, name: str) -> Opened:
    with connection.cursor() as cursor:
        for (statement,) in _ask(connection, partitions_ahead()):
            try:
                cursor.execute(statement)
            except psycopg2.Error as error:
                log.error("{name}: a partition cannot be made: {error}", name=name, error=one_line(error))
    ((identity, writer, openings),) = _ask(connection, "SELECT identity, writer, openings FROM store")

    def read(table: Table[Any], rest: str = "") -> list[Any]:
        return undamaged(table.records(_ask(connection, table.select(rest))), name, log)

    numbers = dict(_ask(connection, "SELECT kind, highest FROM counter WHERE kind <> 'device'"))
    kept = Snapshot(
        devices=read(DEVICES, "ORDER BY device.number"),
        profiles=undamaged(_profiles(connection), name, log),
        uploads=read(LAST_UPLOADS),
        alarms=read(ALARMS, "WHERE cleared_at IS NULL ORDER BY alarm.number"),
        unfinished=read(COMMANDS, "WHERE outcome IS NULL ORDER BY command.number"),
        numbers=convert(numbers, Numbers),
        identity=identity,
        writer=writer,
    )
    return Opened(kept, openings)


_PROFILES = """
SELECT json_build_object(
    'number', number, 'name', profile.name, 'fingerprint', fingerprint,
    'points', coalesce(
        json_agg(
            json_build_object('name', point.name, 'title', title, 'unit', unit, 'decimals', decimals) ORDER BY place
        ) FILTER (WHERE place IS NOT NULL),
        '[]'
    )
)
FROM profile LEFT JOIN point ON profile = number GROUP BY number ORDER BY number
"""


def _profiles(connection: Any) -> Iterator[ProfileVersion | CorruptRow]:
    """Every profile version, by number. Its columns and their types leave no room for damage."""
    for (profile,) in _ask(connection, _PROFILES):
        yield convert(profile, ProfileVersion)

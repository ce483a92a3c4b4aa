"""Writes tests/schemas: a dump of each released schema with rows of each kind, which tests bring up to date.

``python -m tests.dump_schemas`` writes what is missing there. A dump that is there stays as it was released.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from cmmd.store.packing import pack_details, pack_points
from cmmd.store.postgres import schema as postgres_schema
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import Event, Reading
from cmmd.store.sqlite import schema as sqlite_schema
from tests.postgres import PostgresServer
from tests.test_store_contract import (
    ALARM,
    COMMAND,
    EVENT,
    FULL,
    FULL_COMMAND,
    FULL_EVENT,
    FULL_READING,
    PLAIN,
    PROFILE,
    READING,
    UPLOAD,
)

FOLDER = Path(__file__).with_name("schemas")

SQLITE_ROWS: tuple[tuple[str, Struct], ...] = (
    *(("device", replace(FULL, number=1)), ("device", replace(PLAIN, number=2))),
    *(("reading", READING), ("reading", replace(FULL_READING, image=FULL_READING.image[:300]))),
    *(("last_upload", UPLOAD), ("alarm", ALARM), ("event", EVENT), ("event", FULL_EVENT)),
    *(("command", COMMAND), ("command", FULL_COMMAND)),
)


def sqlite_dump(version: int) -> str:
    """A database as that version of the schema had it."""
    with closing(sqlite3.connect(":memory:")) as database:
        for number, script in sqlite_schema.schemas().items():
            if number <= version:
                database.executescript(script)
        for table, record in SQLITE_ROWS:
            columns = [name for (name,) in database.execute(f"SELECT name FROM pragma_table_info('{table}')")]
            if columns:
                places = ", ".join(f":{column}" for column in columns)
                database.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", _values(record))
        if version > 1:
            database.execute("INSERT INTO profile VALUES (1, ?, ?)", [PROFILE.name, PROFILE.fingerprint])
            for place, point in enumerate(PROFILE.points):
                database.execute("INSERT INTO point VALUES (1, ?, ?, ?, ?, ?)", [place, *asdict(point).values()])
        return "\n".join([*database.iterdump(), f"PRAGMA user_version = {version};", ""])


def _values(record: Struct) -> dict[str, Any]:
    values = asdict(record)
    if isinstance(record, Reading):
        values["points"] = pack_points(record.points)
    if isinstance(record, Event):
        values["details"] = pack_details(record.details)
    return values


async def postgres_dump(reactor: Any) -> str:
    """A database with the newest schema, as plain SQL that any program can carry out."""
    server = PostgresServer().start()
    url = server.new_database()
    store = PostgresStore(url, reactor)
    await store.open()
    for device in (FULL, PLAIN):
        await store.add_device(device)
    await store.claim("spool")
    await store.write([PROFILE, READING, FULL_READING, UPLOAD, ALARM, EVENT, FULL_EVENT, COMMAND, FULL_COMMAND])
    await store.close()
    for (partition,) in server.execute(
        "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'reading'::regclass", url
    ):
        if not server.execute(f"SELECT 1 FROM {partition} LIMIT 1", url):
            server.execute(f"DROP TABLE {partition}", url)
    lines = server.run("pg_dump", "--inserts", "--no-owner", "--no-privileges", "--dbname", url).splitlines()
    kept = [line for line in lines if line and not line.startswith(("--", "SET ", "\\"))]
    return "\n".join(["SET check_function_bodies = false;", *kept, ""])


async def main(reactor: Any) -> None:
    FOLDER.mkdir(exist_ok=True)
    for version in sqlite_schema.schemas():
        file = FOLDER / f"sqlite-{version:04}.sql"
        if not file.exists():
            file.write_text(sqlite_dump(version), encoding="utf-8")
    file = FOLDER / f"postgres-{max(postgres_schema.schemas()):04}.sql"
    if not file.exists():
        file.write_text(await postgres_dump(reactor), encoding="utf-8")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))

"""The embedded store: its file, its schema, its failures."""

import sqlite3
from pathlib import Path
from typing import cast

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from cmmd.store import sqlite
from cmmd.store.interface import SchemaTooNew, StoreUnavailable
from cmmd.store.sqlite import SQLiteStore
from tests.test_store_contract import PLAIN

THREADS = cast("IReactorFromThreads", reactor)


class SQLiteTests(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.store = SQLiteStore(self.path, THREADS)

    async def test_file_is_for_its_owner_only(self) -> None:
        await self.store.open()
        await self.store.close()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    async def test_confirmed_writes_are_in_the_file(self) -> None:
        await self.store.open()
        await self.store.add_device(PLAIN)
        with sqlite3.connect(self.path) as other:
            self.assertEqual(other.execute("SELECT hostid FROM device").fetchall(), [("A",)])
            self.assertEqual(other.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        other.close()
        await self.store.close()

    async def test_writes_share_transactions(self) -> None:
        await self.store.open()
        transactions: list[int] = []
        transact = self.store._transact

        def counted(works: list[sqlite.Work]) -> list[object]:
            transactions.append(len(works))
            return transact(works)

        self.store._transact = counted  # type: ignore[method-assign]
        await gatherResults([self.store.add_device(replace(PLAIN, hostid=f"{n}")) for n in range(100)])
        self.assertEqual(transactions, [1, 99])
        await self.store.close()

    async def test_newer_schema_is_left_alone(self) -> None:
        await self.store.open()
        await self.store.close()
        with sqlite3.connect(self.path) as other:
            other.execute("PRAGMA journal_mode = DELETE")
            other.execute("PRAGMA user_version = 999")
        other.close()
        before = self.path.read_bytes()
        failure = await self.assertFailure(self.store.open(), SchemaTooNew)
        self.assertIn("version 999", str(failure))
        self.assertEqual(self.path.read_bytes(), before)

    async def test_schema_is_applied_once(self) -> None:
        for _ in range(2):
            await self.store.open()
            await self.store.close()
        with sqlite3.connect(self.path) as other:
            self.assertEqual(other.execute("PRAGMA user_version").fetchone(), (max(sqlite._schemas()),))
        other.close()

    async def test_migration_that_fails_leaves_nothing_half_done(self) -> None:
        newest = max(sqlite._schemas())
        self.patch(sqlite, "_schemas", lambda: {newest: "CREATE TABLE half (a); CREATE TABLE half (a)"})
        with sqlite3.connect(self.path) as other:
            other.execute(f"PRAGMA user_version = {newest - 1}")
        failure = await self.assertFailure(self.store.open(), StoreUnavailable)
        self.assertIn("half", str(failure))
        self.assertEqual(other.execute("SELECT name FROM sqlite_master").fetchall(), [])
        other.close()

    async def test_not_a_database(self) -> None:
        self.path.write_bytes(b"something else" * 100)
        failure = await self.assertFailure(self.store.open(), StoreUnavailable)
        self.assertIn("not a database", str(failure))

    async def test_folder_that_is_not_there(self) -> None:
        store = SQLiteStore(self.path / "no" / "such", THREADS)
        await self.assertFailure(store.open(), StoreUnavailable)
        await store.close()

    async def test_record_that_cannot_be_written_spoils_nothing_else(self) -> None:
        await self.store.open()
        first, odd, last = (
            self.store.add_device(replace(PLAIN, hostid="first")),
            self.store.add_device(replace(PLAIN, hostid="odd", hostname="\ud800")),
            self.store.add_device(replace(PLAIN, hostid="last")),
        )
        await first
        await self.assertFailure(odd, UnicodeEncodeError)
        await last
        await self.store.add_device(replace(PLAIN, hostid="later"))
        await self.store.close()
        self.assertEqual([device.hostid for device in await self.store.open()], ["first", "last", "later"])
        await self.store.close()

    async def test_locked_by_somebody_else(self) -> None:
        await self.store.open()
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        failure = await self.assertFailure(self.store.add_device(PLAIN), StoreUnavailable)
        self.assertIn("locked", str(failure))
        other.execute("ROLLBACK")
        other.close()
        await self.store.add_device(PLAIN)
        await self.store.close()

    async def test_write_that_is_impossible(self) -> None:
        await self.store.open()
        with sqlite3.connect(self.path) as other:
            other.execute("DROP TABLE device")
        other.close()
        failure = await self.assertFailure(self.store.add_device(PLAIN), StoreUnavailable)
        self.assertIn("no such table", str(failure))
        await self.store.close()

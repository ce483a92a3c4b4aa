"""cmmctl store backup and restore: beside a store that is used, and in its place."""

import os
import shutil
import sqlite3
from contextlib import closing
from typing import Any

from msgspec import json
from msgspec.structs import replace

from cmmd.process import lock_state
from cmmd.store.records import Query, Row
from cmmd.store.served import FILE
from cmmd.store.sqlite import backup
from tests.test_cli_store_commands import StoreTestCase
from tests.test_store_contract import EVENT, PLAIN, READING


class BackupTestCase(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.backup = self.state / "backup"

    async def json(self, *arguments: str) -> Any:
        called = await self.call("--json", "store", *arguments)
        self.assertEqual((called.status, called.err), (0, ""))
        return json.decode(called.out)

    async def kept(self) -> tuple[list[str], list[int], Any]:
        """The hostids, the numbers of the events, and what the next start is given."""
        store = self.open_store(self.path)
        kept = await store.open()
        events = [event.number for event in await store.events(Query(limit=1000))]
        await store.close()
        return [device.hostid for device in kept.devices], events, kept


class BackupTests(BackupTestCase):
    async def test_beside_a_daemon_that_writes(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        store = self.open_store(self.path)
        await store.open()
        await store.write([replace(PLAIN, number=1), READING, EVENT])
        found = await self.json("backup", str(self.backup))
        self.assertEqual((found["devices"], found["readings"], found["waiting"]), (1, 1, 0))
        await store.write([replace(EVENT, number=2)])  # it is not taken for another file
        await store.close()
        self.assertEqual({path.name for path in self.state.glob("backup*")}, {"backup"})
        with closing(sqlite3.connect(self.backup)) as copy:
            self.assertEqual(copy.execute("SELECT count(*) FROM event").fetchone(), (1,))
            self.assertEqual(copy.execute("PRAGMA journal_mode").fetchone(), ("delete",))

    async def test_what_a_killed_one_left_is_overwritten(self) -> None:
        await self.fill([EVENT])
        for name in ("backup.part", "backup.part-journal"):
            (self.state / name).write_bytes(b"half" * 5000)
        await self.json("backup", str(self.backup))
        await self.json("backup", str(self.backup))
        self.assertEqual({path.name for path in self.state.glob("backup*")}, {"backup"})

    async def test_two_at_once(self) -> None:
        """The second is refused, and leaves alone what the first one writes."""
        await self.fill([EVENT])
        part = self.state / "backup.part"
        descriptor = backup._locked(part)
        line = await self.fails(1, "store_error", "store", "backup", str(self.backup))
        self.assertIn("another backup is being written there", line)
        self.assertTrue(part.exists())
        part.rename(self.backup)  # finished, as the next one has opened it and waits
        before = self.backup.stat().st_ino
        os.close(descriptor)
        second = backup._locked(part)
        self.assertNotEqual(os.fstat(second).st_ino, before)
        os.close(second)

    async def test_to_a_link(self) -> None:
        await self.fill([EVENT])
        (self.state / "disk").mkdir()
        self.backup.symlink_to(self.state / "disk" / "real")
        for _ in range(2):
            await self.json("backup", str(self.backup))
        self.assertTrue(self.backup.is_symlink())
        self.assertEqual([file.name for file in (self.state / "disk").iterdir()], ["real"])

    async def test_beside_what_belongs_to_another_file(self) -> None:
        """SQLite would change the new backup by it."""
        await self.fill([EVENT])
        for ending in ("-wal", "-journal"):
            beside = self.state / f"backup{ending}"
            beside.write_bytes(b"of the former backup")
            self.assertIn(beside.name, await self.fails(1, "store_error", "store", "backup", str(self.backup)))
            beside.unlink()

    async def test_refused(self) -> None:
        await self.fill([EVENT])
        (self.state / "link").symlink_to(self.path)
        for file in (self.path, self.state / "link"):
            self.assertIn("the store itself", await self.fails(1, "store_error", "store", "backup", str(file)))
        pipe = self.state / "pipe"
        os.mkfifo(pipe)
        self.assertIn("name a file", await self.fails(1, "store_error", "store", "backup", str(pipe)))
        self.assertTrue(pipe.is_fifo())
        await self.fails(4, "store_unavailable", "store", "backup", str(self.state / "none" / "backup"))
        called = await self.call("store", "backup", str(self.backup), "postgresql://cmmd@db.example/cmmd")
        self.assertEqual(called.status, 2)
        self.assertIn("pg_dump", called.err)


class RestoreTests(BackupTestCase):
    async def test_in_the_place_of_an_older_file(self) -> None:
        await self.fill([replace(PLAIN, number=1), EVENT])
        await self.json("backup", str(self.backup))
        await self.fill([replace(EVENT, number=2), replace(READING, number=5)])
        called = await self.call("store", "restore", str(self.backup))
        self.assertEqual((called.status, called.err), (0, ""))
        self.assertIn("the backup is older", called.out)
        hostids, events, kept = await self.kept()
        self.assertEqual((hostids, events, kept.numbers.event, kept.numbers.reading), (["A"], [1], 2, 5))
        (former,) = self.state.glob("cmmd.sqlite.before-*")
        with closing(sqlite3.connect(former)) as copy:
            self.assertEqual(copy.execute("SELECT count(*) FROM event").fetchone(), (2,))
        self.assertIn(kept.identity, (self.state / FILE).read_text())

    async def test_in_the_place_of_nothing_and_of_rubbish(self) -> None:
        await self.fill([EVENT])
        await self.json("backup", str(self.backup))
        for broken in (self.path.unlink, lambda: self.path.write_bytes(os.urandom(9000))):
            broken()
            (self.state / "cmmd.sqlite-wal").write_bytes(b"of another file")
            (self.state / "cmmd.sqlite.restoring").write_bytes(b"half")
            await self.json("restore", str(self.backup))
            self.assertEqual((await self.kept())[1], [1])

    async def test_behind_a_link(self) -> None:
        (self.state / "disk").mkdir()
        self.path.symlink_to(self.state / "disk" / "real")
        await self.fill([EVENT])
        await self.json("backup", str(self.backup))
        await self.fill([replace(EVENT, number=2)])
        await self.json("restore", str(self.backup))
        self.assertTrue(self.path.is_symlink())
        self.assertEqual((await self.kept())[1], [1])

    async def test_rows_that_wait_still_belong_to_it(self) -> None:
        await self.fill([EVENT])
        await self.json("backup", str(self.backup))
        _, _, kept = await self.kept()
        await self.spooled(kept.identity, replace(EVENT, number=9))
        await self.json("restore", str(self.backup))
        spool = await self.writer_of_spool()
        self.assertEqual((await self.kept())[2].writer, spool)

    async def test_rows_that_wait_for_another_store(self) -> None:
        await self.fill([EVENT])
        await self.json("backup", str(self.backup))
        await self.spooled("another", EVENT)
        line = await self.fails(1, "store_error", "store", "restore", str(self.backup))
        self.assertIn("1 rows wait in the spool for another store", line)
        self.assertEqual((await self.kept())[1], [1])

    async def spooled(self, owner: str, *some: Row) -> None:
        path = self.state / "spool.sqlite"
        await self.fill(some, path)
        self.in_the_file(f"UPDATE store SET writer = '{owner}'", path)

    async def writer_of_spool(self) -> str:
        with closing(sqlite3.connect(self.state / "spool.sqlite")) as spool:
            (identity,) = spool.execute("SELECT identity FROM store").fetchone()
        return str(identity)

    async def test_refused(self) -> None:
        await self.fill([replace(EVENT, number=number) for number in range(1, 400)])
        await self.json("backup", str(self.backup))
        with closing(lock_state(self.state)):
            await self.fails(1, "store_in_use", "store", "restore", str(self.backup))
        holder = self.held(self.path)
        self.assertIn(str(holder), await self.fails(1, "store_in_use", "store", "restore", str(self.backup)))
        damaged = self.state / "damaged"
        whole = bytearray(self.backup.read_bytes())
        whole[4096 * 9 :] = os.urandom(len(whole) - 4096 * 9)
        damaged.write_bytes(whole)
        shutil.copy(self.backup, self.state / "unfinished")
        self.in_the_file("UPDATE store SET writer = 'copy of x'", self.state / "unfinished")
        self.in_the_file("PRAGMA user_version = 999", self.backup)
        (self.state / "text").write_text("no backup\n" * 100)
        before = self.path.read_bytes()
        other = f"sqlite:{self.state / 'elsewhere.sqlite'}"
        for name in ("damaged", "unfinished", "backup", "text", "missing"):
            called = await self.call("store", "restore", str(self.state / name), other)
            self.assertIn(called.status, (1, 4), name)
            self.assertEqual(len(called.err.splitlines()), 1)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertFalse((self.state / "elsewhere.sqlite").exists())

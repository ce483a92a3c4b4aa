"""The file of an embedded store: who uses it, and whether it is still the same one."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from msgspec import json
from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from cmmd.store.interface import StoreError
from cmmd.store.records import Query
from cmmd.store.sqlite import store_file
from cmmd.store.sqlite.store import SQLiteStore
from tests.test_store_contract import EVENT

THREADS = cast("IReactorFromThreads", reactor)


class _Files(TestCase):
    timeout = 60.0

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "cmmd.sqlite"

    def store(self, path: Path | None = None) -> SQLiteStore:
        store = SQLiteStore(path or self.path, THREADS)
        self.addCleanup(store.close)
        return store

    async def failing(self, asked: Deferred[Any]) -> str:
        """What is said by a call that the store does not carry out."""
        try:
            await asked
        except StoreError as error:
            return str(error)
        raise AssertionError("it is carried out")

    async def copied(self, *numbers: int) -> Path:
        """A whole file with these events, made by another store."""
        path = self.folder / "other.sqlite"
        store = self.store(path)
        await store.open()
        await store.write([replace(EVENT, number=number) for number in numbers])
        await store.close()
        return path

    async def events(self, store: SQLiteStore) -> list[int]:
        return [event.number for event in await store.events(Query(limit=1000))]

    def killed(self, store: SQLiteStore) -> None:
        """What a killed process leaves: its files as they are, and nothing locked."""
        for name in ("cmmd.sqlite", "cmmd.sqlite-wal", "cmmd.sqlite-mark"):
            shutil.copy2(self.folder / name, self.folder / f"{name}.left")
        self.left = store

    async def as_left(self) -> None:
        """Have the files as they were, with the same inode for the WAL, which belongs to what is known of it."""
        await self.left.close()
        for name in ("cmmd.sqlite", "cmmd.sqlite-wal", "cmmd.sqlite-mark"):
            shutil.move(self.folder / f"{name}.left", self.folder / name)
        wal = (self.folder / "cmmd.sqlite-wal").stat().st_ino
        mark = self.folder / "cmmd.sqlite-mark"
        known = json.decode(mark.read_bytes(), type=store_file._Known)
        mark.write_bytes(json.encode(replace(known, wal=wal)))


class LockTests(_Files):
    async def test_one_store_by_any_name(self) -> None:
        await self.store().open()
        (self.folder / "soft").symlink_to("cmmd.sqlite")
        os.link(self.path, self.folder / "hard")
        for name in ("cmmd.sqlite", "soft", "hard", "../" + self.folder.name + "/cmmd.sqlite"):
            error = await self.failing(self.store(self.folder / name).open())
            self.assertIn(f"another cmmd uses this file, process {os.getpid()}", error)

    async def test_free_afterwards(self) -> None:
        first = self.store()
        await first.open()
        await first.close()
        await self.store().open()

    async def test_behind_a_link(self) -> None:
        elsewhere = self.folder / "disk"
        elsewhere.mkdir()
        self.path.symlink_to(elsewhere / "real.sqlite")
        store = self.store()
        await store.open()
        await store.write([EVENT])
        await store.close()
        self.assertEqual([file.name for file in elsewhere.iterdir()], ["real.sqlite"])
        self.assertEqual([file.name for file in self.folder.iterdir() if file.is_file()], ["cmmd.sqlite"])


class ReplacedTests(_Files):
    async def test_many_writes_and_checkpoints_are_our_own(self) -> None:
        self.patch(store_file, "RENEWAL_S", 0.0)
        store = self.store()
        await store.open()
        assert store._threads is not None
        for number in range(1, 60):
            await store.write([replace(EVENT, number=number)])
            store._threads.checkpoints._checkpoint()
        self.assertEqual(len(await self.events(store)), 59)
        self.assertLess(len(store._threads.file._marks), 4)

    async def test_other_programs_may_read_and_write(self) -> None:
        store = self.store()
        await store.open()
        await store.write([EVENT])
        with closing(sqlite3.connect(self.folder / "copy")) as copy, closing(sqlite3.connect(self.path)) as other:
            other.backup(copy)
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            other.execute("CREATE TABLE mine (x)")
            other.commit()
        await store.write([replace(EVENT, number=2)])

    async def test_copied_over_while_it_is_open(self) -> None:
        other = await self.copied(7, 8)
        store = self.store()
        await store.open()
        await store.write([EVENT])
        shutil.copyfile(other, self.path)
        for asked in (store.write([replace(EVENT, number=2)]), store.events(Query(limit=9))):
            error = await self.failing(asked)
            self.assertIn("another file was copied over it", error)
            self.assertIn("cmmctl store restore FILE", error)
        assert store._threads is not None
        store._threads.checkpoints._checkpoint()
        await store.close()
        self.assertEqual(self.path.read_bytes(), other.read_bytes())
        (aside,) = self.folder.glob("cmmd.sqlite.before-*-wal")
        self.assertGreater(aside.stat().st_size, 0)
        store = self.store()
        await store.open()
        self.assertEqual(await self.events(store), [7, 8])

    async def test_an_older_copy_of_itself(self) -> None:
        self.patch(store_file, "RENEWAL_S", 0.0)
        store = self.store()
        await store.open()
        await store.write([EVENT])
        assert store._threads is not None
        store._threads.checkpoints._checkpoint()
        shutil.copyfile(self.path, self.folder / "older")
        await store.write([replace(EVENT, number=2)])
        store._threads.checkpoints._checkpoint()
        shutil.copyfile(self.folder / "older", self.path)
        error = await self.failing(store.write([replace(EVENT, number=3)]))
        self.assertIn("copied over", error)

    async def test_the_mark_is_read_while_a_checkpoint_replaces_it(self) -> None:
        """The mark and those it is looked for among are of one moment, however long a thread waits in between."""
        self.patch(store_file, "RENEWAL_S", 0.0)
        store = self.store()
        await store.open()
        assert store._threads is not None
        file, checkpoints = store._threads.file, store._threads.checkpoints
        read = file._mark

        def held_up() -> int:
            mark = read()
            if not file._changing.locked():  # else a checkpoint waits with what it has moved
                self.patch(file, "_mark", read)
                checkpoints._checkpoint()
            return mark

        await store.write([EVENT])
        self.patch(file, "_mark", held_up)
        self.assertFalse(file.is_overwritten)

    async def test_a_backup_comes_by_the_means_of_sqlite(self) -> None:
        """As ``.restore`` of its shell does it, beside the daemon: nothing is numbered on in there."""
        other = await self.copied(7, 8)
        store = self.store()
        await store.open()
        await store.write([EVENT])
        with closing(sqlite3.connect(other)) as source, closing(sqlite3.connect(self.path)) as target:
            source.execute("PRAGMA journal_mode = WAL")
            source.backup(target)
        error = await self.failing(store.write([replace(EVENT, number=2)]))
        self.assertIn("another file was copied over it", error)
        await store.close()
        store = self.store()
        await store.open()
        self.assertEqual(await self.events(store), [7, 8])

    async def test_renamed_over_it(self) -> None:
        other = await self.copied(7)
        store = self.store()
        await store.open()
        await store.write([EVENT])
        other.rename(self.path)
        error = await self.failing(store.write([replace(EVENT, number=2)]))
        self.assertIn("another file than was opened", error)
        await store.close()
        store = self.store()
        await store.open()
        self.assertEqual(await self.events(store), [7])

    async def test_wal_is_removed(self) -> None:
        store = self.store()
        await store.open()
        await store.write([EVENT])
        (self.folder / "cmmd.sqlite-wal").unlink()
        error = await self.failing(store.write([replace(EVENT, number=2)]))
        self.assertIn("cmmd.sqlite-wal: No such file", error)
        await store.close()
        store = self.store()
        await store.open()
        self.assertEqual(await self.events(store), [1])


class WALTests(_Files):
    async def test_of_this_file(self) -> None:
        store = self.store()
        await store.open()
        await store.write([EVENT])
        self.killed(store)
        await self.as_left()
        store = self.store()
        await store.open()
        self.assertEqual(await self.events(store), [1])

    async def test_marks_in_the_wal_are_its_own(self) -> None:
        """A checkpoint that a reader holds up brings an older mark of the WAL to the file, and so it is found."""
        self.patch(store_file, "RENEWAL_S", 0.0)
        store = self.store()
        await store.open()
        await store.write([EVENT])
        with closing(sqlite3.connect(self.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM event").fetchone()
            await store.write([replace(EVENT, number=2)])
            self.killed(store)
            reader.execute("ROLLBACK")
        await self.as_left()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as reader:
            store = self.store()
            await store.open()
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM event").fetchone()
            await store.write([replace(EVENT, number=3)])
            assert store._threads is not None
            store._threads.checkpoints._checkpoint()
            self.assertEqual(await self.events(store), [1, 2, 3])
            reader.execute("ROLLBACK")
        await store.close()
        self.assertEqual(list(self.folder.glob("*.before-*")), [])

    async def test_every_mark_in_a_wal_is_found(self) -> None:
        self.patch(store_file, "RENEWAL_S", 0.0)
        store = self.store()
        await store.open()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")  # keeps the WAL from beginning anew
            reader.execute("SELECT count(*) FROM event").fetchone()
            for number in range(1, 6):
                await store.write([replace(EVENT, number=number)])
            reader.execute("ROLLBACK")
        assert store._threads is not None
        found = store_file._marks_in(self.folder / "cmmd.sqlite-wal")
        self.assertLessEqual(set(store._threads.file._marks) - {store._threads.file._mark()}, set(found))
        self.assertGreaterEqual(len(set(found)), 5)
        for rubbish in (b"", b"short", b"\0" * 5000):
            (self.folder / "rubbish").write_bytes(rubbish)
            self.assertEqual(store_file._marks_in(self.folder / "rubbish"), [])

    async def test_of_a_file_that_was_here_before(self) -> None:
        other = await self.copied(7, 8)
        store = self.store()
        await store.open()
        await store.write([EVENT])
        self.killed(store)
        await self.as_left()
        shutil.copyfile(other, self.path)
        store = self.store()
        await store.open()
        self.assertEqual(await self.events(store), [7, 8])
        (aside,) = self.folder.glob("cmmd.sqlite.before-*-wal")
        self.assertGreater(aside.stat().st_size, 0)

    async def test_it_may_be_of_another_but_that_is_not_certain(self) -> None:
        """Without its mark a WAL is replayed, and the pages are looked at."""
        store = self.store()
        await store.open()
        await store.write([EVENT])
        self.killed(store)
        await self.as_left()
        (self.folder / "cmmd.sqlite-mark").unlink()
        store = self.store()
        await store.open()
        self.assertEqual(await self.events(store), [1])

    async def test_without_its_file(self) -> None:
        for empty in (False, True):
            store = self.store()
            await store.open()
            await store.write([EVENT])
            self.killed(store)
            await self.as_left()
            self.path.rename(self.folder / "away")
            if empty:
                self.path.touch()
            error = await self.failing(self.store().open())
            self.assertRegex(error, "missing or empty, but .*cmmd.sqlite-wal has rows of it")
            (self.folder / "away").rename(self.path)
            store = self.store()
            await store.open()
            self.assertEqual(await self.events(store), [1])
            await store.close()

    async def test_damaged_pages_after_an_exchange(self) -> None:
        store = self.store()
        await store.open()
        await store.write([replace(EVENT, number=number) for number in range(1, 500)])
        self.killed(store)
        await self.as_left()
        other = await self.copied(*range(1, 900))
        whole = bytearray(other.read_bytes())
        whole[4096 * 8 :] = os.urandom(len(whole) - 4096 * 8)
        self.path.write_bytes(whole)
        error = await self.failing(self.store().open())
        self.assertRegex(error, r"damaged \(.*\); bring a backup back with `cmmctl store restore FILE`")
        error = await self.failing(self.store().open())
        self.assertIn("damaged", error)

    async def test_locked_by_another_program_at_the_start(self) -> None:
        store = self.store()
        await store.open()
        await store.close()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            store = self.store()
            await store.open()
            other.execute("ROLLBACK")
        await store.write([EVENT])
        assert store._threads is not None
        self.assertGreater(store._threads.file.newest, 0)
        store._threads.file.check()

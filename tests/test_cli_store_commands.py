"""cmmctl store: check, info, migrate and copy, through the command line; nothing is harmed that a daemon uses."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.cli import output
from cmmd.cli.formatting import size_text
from cmmd.cli.main import cli
from cmmd.cli.output import CopyProgress, Output
from cmmd.process import lock_state
from cmmd.store.records import Event, Row
from cmmd.store.sqlite.inspector import SQLiteInspector, named
from cmmd.store.sqlite.schema import schemas
from cmmd.store.sqlite.store import SQLiteStore
from cmmd.store.tools.copying import Step, source_of
from tests.cli_world import CallingTestCase, reactor
from tests.control_world import folder, until
from tests.daemon import environment
from tests.support import REPOSITORY
from tests.test_store_contract import ALARM, COMMAND, EVENT, FULL, PLAIN, PROFILE, READING, UPLOAD
from tests.test_store_tools_copying import rows

HERE = "sqlite:cmmd.sqlite"
THERE = "sqlite:there.sqlite"
NEWEST = max(schemas())

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("SELECT * FROM device").fetchall()
print("held", flush=True)
sys.stdin.read()
"""


class StoreTestCase(CallingTestCase):
    """There is a state directory, and no store yet."""

    def setUp(self) -> None:
        self.state = folder(self)
        self.path = self.state / "cmmd.sqlite"
        self.there = self.state / "there.sqlite"

    def open_store(self, path: Path) -> SQLiteStore:
        return SQLiteStore(path, reactor)

    async def fill(self, some: Sequence[Row], path: Path | None = None) -> None:
        store = self.open_store(path or self.path)
        await store.open()
        await store.write(some)
        await store.close()

    async def writer(self, path: Path) -> str:
        store = self.open_store(path)
        kept = await store.open()
        await store.close()
        return kept.writer

    def in_the_file(self, script: str, path: Path | None = None) -> None:
        with closing(sqlite3.connect(path or self.path)) as connection:
            connection.executescript(script)

    def old_store(self, version: int = 1, path: Path | None = None) -> None:
        """A store as it was at this version of its schema."""
        for number, script in schemas().items():
            if number <= version:
                self.in_the_file(f"{script}; PRAGMA user_version = {number};", path)

    def held(self, path: Path) -> int:
        """Have another process use a file; which one."""
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
        )
        assert holder.stdin is not None and holder.stdout is not None
        self.addCleanup(holder.wait)
        self.addCleanup(holder.stdin.close)
        self.addCleanup(holder.stdout.close)
        self.assertEqual(holder.stdout.readline(), b"held\n")
        return holder.pid

    async def fails(self, status: int, code: str, *arguments: str) -> str:
        """A call that says in one line why nothing was done; that line."""
        called = await self.call(*arguments)
        self.assertEqual((called.status, called.out), (status, ""), called.err)
        (line,) = called.err.splitlines()
        self.assertTrue(line.endswith(f" [{code}]"), line)
        return line

    def files(self) -> set[str]:
        return {path.name for path in self.state.iterdir()}


class WhichTests(StoreTestCase):
    """Whatever is asked, the right store is meant, or it is said why there is none."""

    async def test_none_is_made(self) -> None:
        for command in ("info", "migrate"):
            line = await self.fails(4, "store_unavailable", "store", command)
            self.assertIn(f"{self.path}: not there", line)
        called = await self.call("store", "check")
        self.assertEqual((called.status, called.err), (1, ""))
        self.assertEqual(called.out, f"WRONG reached: {self.path}: not there\n")
        await self.fails(4, "store_unavailable", "store", "copy", HERE, THERE)
        self.assertEqual(self.files(), set())

    async def test_what_is_no_store(self) -> None:
        self.path.write_text("something else\n" * 100)
        self.there.touch()
        self.in_the_file("CREATE TABLE other (a); PRAGMA user_version = 3", self.state / "foreign")
        for file in ("cmmd.sqlite", "there.sqlite", "foreign"):
            before = (self.state / file).read_bytes()
            for command in ("info", "migrate"):
                await self.fails(4, "store_unavailable", "store", command, f"sqlite:{file}")
            self.assertEqual((await self.call("store", "check", f"sqlite:{file}")).status, 1)
            self.assertEqual((self.state / file).read_bytes(), before)

    async def test_usage(self) -> None:
        config = self.state / "cmmd.toml"
        config.write_text("[store]\nurl = 3\n")
        for arguments in (
            ("store",),
            ("store", "nonsense"),
            ("store", "info", "sqlite:"),
            ("store", "info", "memory:"),
            ("store", "info", "oracle://scott:tiger@db/x"),
            ("store", "--config", str(config), "info"),
            ("store", "--config", str(self.state / "missing.toml"), "check"),
            ("store", "copy", HERE),
            ("store", "copy", HERE, "memory:"),
        ):
            called = await self.call(*arguments)
            self.assertEqual((called.status, called.out, len(called.err.splitlines())), (2, "", 1), called.err)
            self.assertNotIn("tiger", called.err)

    async def test_not_over_a_connection(self) -> None:
        called = await self.process("--connect", "unix:/nowhere", "store", "info")
        self.assertEqual((called.status, called.out, len(called.err.splitlines())), (2, "", 1))
        self.assertIn("--state", called.err)
        await self.fill([])
        env = {"CMMCTL_CONNECT": "unix:/nowhere", "CMMCTL_STATE": str(self.state)}
        called = await self.process("store", "info", env=env)
        self.assertEqual((called.status, called.err), (0, ""))

    async def test_the_daemons(self) -> None:
        await self.fill([EVENT], self.state / "its own.sqlite")
        config = self.state / "cmmd.toml"
        config.write_text('[store]\nurl = "sqlite:its own.sqlite"\n')
        called = await self.done("--json", "store", "--config", str(config), "info")
        self.assertEqual(called.json["counts"]["events"], 1)
        self.assertEqual(called.json["store"], f"sqlite:{self.state}/its own.sqlite")
        elsewhere = self.state / "elsewhere.sqlite"
        await self.fill([EVENT, replace(EVENT, number=2)], elsewhere)
        called = await self.done("--json", "store", "--config", str(config), "info", f"sqlite:{elsewhere}")
        self.assertEqual(called.json["counts"]["events"], 2)


class InfoTests(StoreTestCase):
    async def test_json(self) -> None:
        readings = [replace(READING, number=n, at=n) for n in range(1, 2001)]
        await self.fill([replace(PLAIN, number=4), PROFILE, UPLOAD, ALARM, EVENT, COMMAND, *readings])
        before = self.files()
        called = await self.done("--json", "store", "info")
        size = called.json.pop("size")
        self.assertEqual(size, self.path.stat().st_size)
        self.assertAlmostEqual(called.json["reading_size"], size / 2000, delta=1)
        expected = {
            "store": f"sqlite:{self.path}",
            "server": f"SQLite {sqlite3.sqlite_version}",
            "schema": NEWEST,
            "newest_schema": NEWEST,
            "identity": called.json["identity"],
            "writer": "",
            "counts": {
                "devices": 1,
                "profiles": 1,
                "uploads": 1,
                "readings": 2000,
                "alarms": 1,
                "events": 1,
                "commands": 1,
            },
            "approximate": [],
            "oldest_reading_at": 1,
            "newest_reading_at": 2000,
            "reading_size": called.json["reading_size"],
            "partitions": [],
        }
        self.assertEqual({name: value for name, value in called.json.items() if name != "size"}, expected)
        self.assertEqual(self.files(), before)

    async def test_for_people(self) -> None:
        await self.fill([replace(READING, at=0)])
        out = (await self.done("store", "info")).out
        for line in (f"store *sqlite:{self.path}", f"schema *version {NEWEST}", "readings *1", "a reading *-"):
            self.assertRegex(out, rf"(?m)^{line} *$")

    async def test_old_schema(self) -> None:
        for version in range(1, NEWEST):
            path = self.state / f"{version}.sqlite"
            self.old_store(version, path)
            before = path.read_bytes()
            called = await self.done("--json", "store", "info", f"sqlite:{path}")
            self.assertEqual((called.json["schema"], called.json["counts"]["devices"]), (version, 0))
            self.assertEqual(called.json["identity"] is None, version < 4, "a store has its identity since the fourth")
            self.assertIn("cmmctl store migrate", (await self.done("store", "info", f"sqlite:{path}")).out)
            self.assertEqual(path.read_bytes(), before)

    async def test_newer_schema(self) -> None:
        await self.fill([])
        self.in_the_file(f"PRAGMA user_version = {NEWEST + 1}")
        await self.fails(1, "schema_too_new", "store", "info")

    async def test_while_it_is_used(self) -> None:
        store = self.open_store(self.path)
        await store.open()
        self.addCleanup(store.close)
        await store.write([EVENT])
        called = await self.process("--state", str(self.state), "--json", "store", "info")
        self.assertEqual((called.status, called.json["counts"]["events"]), (0, 1))
        await store.write([replace(EVENT, number=2)])

    async def test_in_a_folder_that_cannot_be_written_to(self) -> None:
        await self.fill([EVENT])
        opened = SQLiteInspector._opened

        def only_as_it_is(inspector: SQLiteInspector, mode: str) -> sqlite3.Connection:
            if "immutable" not in mode:
                raise sqlite3.OperationalError("unable to open database file")
            return opened(inspector, mode)

        self.patch(SQLiteInspector, "_opened", only_as_it_is)
        await self.fails(4, "store_unavailable", "store", "info")
        self.patch(os, "access", lambda path, mode: mode != os.W_OK)
        called = await self.done("--json", "store", "info")
        self.assertEqual(called.json["counts"]["events"], 1)

    def test_sizes(self) -> None:
        sizes = {0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 5_300_000_000: "5.3 GB", 10**16: "10000.0 TB"}
        for size, text in sizes.items():
            self.assertEqual(size_text(size), text)


class CheckTests(StoreTestCase):
    async def checked(self) -> dict[str, str]:
        """What is wrong."""
        before = self.files()
        called = await self.call("--json", "store", "check")
        wrong = {one["name"]: one["text"] for one in called.json if not one["ok"]}
        self.assertEqual((called.status, called.err), (1 if wrong else 0, ""))
        self.assertEqual(self.files(), before)
        people = await self.call("store", "check")
        self.assertEqual(people.status, called.status)
        self.assertEqual(people.out.count("WRONG"), len(wrong))
        self.assertEqual(len(people.out.splitlines()), len(called.json))
        return wrong

    async def test_all_is_well(self) -> None:
        await self.fill(rows(20))
        self.assertEqual(await self.checked(), {})
        called = await self.done("--json", "store", "check")
        names = ["reached", "schema", "rights", "in use", "file", "records", "profiles", "numbers", "whole"]
        self.assertEqual([one["name"] for one in called.json], names)

    async def test_schema(self) -> None:
        self.old_store(NEWEST - 1)
        wrong = await self.checked()
        self.assertEqual(list(wrong), ["schema"])
        self.assertIn("cmmctl store migrate", wrong["schema"])
        self.in_the_file(f"PRAGMA user_version = {NEWEST + 1}")
        self.assertIn("use a newer cmmd", (await self.checked())["schema"])

    async def test_who_uses_it(self) -> None:
        await self.fill([])
        process = self.held(self.path)
        out = (await self.done("store", "check")).out
        self.assertIn(f"ok    in use: by process {process} (", out)

    async def test_names_of_who_uses_it(self) -> None:
        self.assertRegex(named(os.getpid()), rf"^by process {os.getpid()} \(.+\)$")
        self.assertEqual([named(2**30), named(0)], [f"by process {2**30}", "by another process"])

    async def test_rights(self) -> None:
        await self.fill([])
        self.patch(os, "access", lambda path, mode: path != self.path)
        self.assertEqual(await self.checked(), {"rights": f"not allowed to write to {self.path}"})

    async def test_damaged_file(self) -> None:
        await self.fill(rows(3000))
        with self.path.open("r+b") as file:
            for page in range(20, self.path.stat().st_size // 4096):
                file.seek(4096 * page)
                file.write(b"\xff" * 100)
        wrong = await self.checked()
        self.assertTrue("file" in wrong or "reached" in wrong, wrong)

    async def test_damaged_records(self) -> None:
        await self.fill(rows(20))
        self.in_the_file("UPDATE device SET enabled = 7 WHERE number = 3; UPDATE point SET decimals = 'x'")
        wrong = await self.checked()
        self.assertEqual(list(wrong), ["records"])
        self.assertIn("device 3 is damaged", wrong["records"])
        self.assertTrue(wrong["records"].endswith("and 3 more"), wrong)

    async def test_profiles(self) -> None:
        await self.fill([PROFILE, READING, replace(READING, number=2, profile=9)])
        self.assertEqual(await self.checked(), {"profiles": "readings have profile 9, which is not there"})

    async def test_numbers(self) -> None:
        await self.fill(rows(20))
        self.in_the_file("UPDATE sqlite_sequence SET seq = 5 WHERE name = 'event'")
        wrong = {"numbers": "event has number 20, and 5 is noted as the highest one"}
        self.assertEqual(await self.checked(), wrong)

    async def test_whole(self) -> None:
        await self.fill([])
        self.in_the_file("UPDATE store SET writer = 'copy of abc'")
        wrong = await self.checked()
        self.assertIn("an unfinished copy of abc", wrong["whole"])
        self.assertIn("an unfinished copy of abc", (await self.done("store", "info")).out)
        self.in_the_file("DELETE FROM store")
        self.assertEqual(list(await self.checked()), ["whole"])
        self.assertIsNone((await self.done("--json", "store", "info")).json["identity"])


class MigrateTests(StoreTestCase):
    async def test_from_every_version(self) -> None:
        for version in range(1, NEWEST):
            self.path.unlink(missing_ok=True)
            self.old_store(version)
            out = (await self.done("store", "migrate")).out
            self.assertEqual(out, f"sqlite:{self.path}: schema version {version}, now {NEWEST}\n")
            called = await self.done("--json", "store", "migrate")
            self.assertEqual(called.json, {"store": f"sqlite:{self.path}", "before": NEWEST, "after": NEWEST})
            self.assertIn("nothing to do", (await self.done("store", "migrate")).out)
            await self.done("store", "check")

    async def test_newer(self) -> None:
        await self.fill([])
        self.in_the_file(f"PRAGMA user_version = {NEWEST + 1}")
        await self.fails(1, "schema_too_new", "store", "migrate")

    async def test_in_use(self) -> None:
        self.old_store()
        with closing(lock_state(self.state)):
            line = await self.fails(1, "store_in_use", "store", "migrate")
        self.assertIn(f"{self.state} is in use by process {os.getpid()}: stop that first", line)
        self.assertEqual((await self.done("--json", "store", "info")).json["schema"], 1)

    async def test_in_use_from_elsewhere(self) -> None:
        self.old_store(NEWEST - 1)
        self.in_the_file("PRAGMA journal_mode = WAL")  # as whoever has ever opened it left it
        process = self.held(self.path)
        line = await self.fails(1, "store_in_use", "store", "migrate")
        self.assertIn(f"sqlite:{self.path} is in use: by process {process}", line)

    async def test_file_of_another_state_directory(self) -> None:
        """Its daemon is that of the folder where the file is."""
        other = self.state / "other"
        other.mkdir()
        self.old_store(1, other / "cmmd.sqlite")
        with closing(lock_state(other)):
            await self.fails(1, "store_in_use", "store", "migrate", "sqlite:other/cmmd.sqlite")
        await self.done("store", "migrate", "sqlite:other/cmmd.sqlite")

    async def test_lock_that_cannot_be_had(self) -> None:
        self.old_store()
        (self.state / "cmmd.lock").mkdir()
        await self.fails(4, "store_unavailable", "store", "migrate")

    async def test_what_somebody_else_does_in_between(self) -> None:
        self.old_store()
        first, second = SQLiteInspector(self.path), SQLiteInspector(self.path)
        connection = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(connection.close)
        from cmmd.store.sqlite import schema

        missing = schema.missing_schemas(connection, self.path)
        self.assertEqual(first.migrate(), (1, NEWEST))
        schema.migrate(connection, missing)
        self.assertEqual(second.migrate(), (NEWEST, NEWEST))


class MigrationsAtOnceTests(StoreTestCase):
    at_once = 2

    async def test_several_at_once(self) -> None:
        """Whichever comes too late finds it done, or is told that it has to wait."""
        self.old_store()
        migrate = ("--state", str(self.state), "store", "migrate")
        called = [Deferred.fromCoroutine(self.process(*migrate)) for _ in range(self.at_once)]
        ended = [await one for one in called]
        for one in ended:
            self.assertIn((one.status, "store_in_use" in one.err), ((0, False), (1, True)), one.err)
        self.assertIn(0, [one.status for one in ended])
        await self.done("store", "check")


class CopyingTestCase(StoreTestCase):
    async def assert_copied(self) -> None:
        called = await self.done("--json", "store", "info", THERE)
        original = await self.done("--json", "store", "info", HERE)
        self.assertEqual(called.json["counts"], original.json["counts"])
        self.assertEqual(called.json["writer"], "")
        await self.done("store", "check", THERE)


class CopyTests(CopyingTestCase):
    async def prepare(self) -> None:
        await self.fill(rows(50))

    async def test_json(self) -> None:
        await self.prepare()
        called = await self.done("--json", "store", "copy", HERE, THERE)
        result = called.json
        self.assertEqual((result["source"], result["target"]), (f"sqlite:{self.path}", f"sqlite:{self.there}"))
        self.assertEqual((result["same"], result["continued"]), (True, False))
        counts = {one["kind"]: one["target"] for one in result["kinds"]}
        timed = {"alarms": 49, "commands": 49, "events": 50, "readings": 50}
        self.assertEqual(counts, {"numbers": 1, "profiles": 3, "devices": 3, "uploads": 2, **timed})
        for one in result["kinds"]:
            self.assertEqual((one["source_hash"], one["difference"]), (one["target_hash"], None))
        await self.assert_copied()

    async def test_for_people(self) -> None:
        await self.prepare()
        out = (await self.done("store", "copy", HERE, THERE)).out
        self.assertRegex(out, r"(?m)^readings +50 +[0-9a-f]{32} +the same *$")
        self.assertRegex(out, rf"(?m)^sqlite:{self.path} is in sqlite:{self.there}, compared, in \d s$")

    async def test_difference(self) -> None:
        await self.prepare()
        write = SQLiteStore.write

        def changed(row: Row) -> Row:
            return replace(row, kind="other") if isinstance(row, Event) and row.number == 7 else row

        self.patch(SQLiteStore, "write", lambda store, some: write(store, [changed(row) for row in some]))
        called = await self.call("store", "copy", HERE, THERE)
        self.assertEqual((called.status, called.err), (1, ""))
        self.assertRegex(called.out, r"(?m)^events +50 +[0-9a-f]{32} +DIFFERENT: number 7 differs in kind *$")
        self.assertIn("is not the same", called.out)
        called = await self.call("--json", "store", "copy", HERE, THERE)
        self.assertEqual((called.status, called.json["same"], called.json["continued"]), (1, False, True))

    # --- what is refused ---------------------------------------------------------------------------------------------

    async def refused(self, code: str, said: str, *urls: str) -> None:
        line = await self.fails(1, code, "store", "copy", *(urls or (HERE, THERE)))
        self.assertIn(said, line)

    async def test_same(self) -> None:
        await self.prepare()
        await self.refused("copy_refused", "the same store", HERE, HERE)
        (self.state / "link").symlink_to(self.path)
        await self.refused("copy_refused", "the same store", HERE, "sqlite:link")

    async def test_not_empty(self) -> None:
        await self.prepare()
        await self.fill([EVENT], self.there)
        await self.refused("copy_refused", "not empty")

    async def test_source_that_is_old(self) -> None:
        self.old_store()
        await self.refused("copy_refused", "`cmmctl store migrate` it first")
        self.assertFalse(self.there.exists())

    async def test_target_that_is_newer(self) -> None:
        await self.prepare()
        await self.fill([], self.there)
        self.in_the_file(f"PRAGMA user_version = {NEWEST + 1}", self.there)
        await self.refused("schema_too_new", "use a newer cmmd")

    async def test_target_that_is_something_else(self) -> None:
        await self.prepare()
        self.there.write_text("something else\n" * 100)
        await self.fails(4, "store_unavailable", "store", "copy", HERE, THERE)
        await self.fails(4, "store_unavailable", "store", "copy", HERE, "sqlite:no/such/folder/cmmd.sqlite")

    async def test_target_that_is_another_database(self) -> None:
        await self.prepare()
        self.in_the_file("CREATE TABLE other (a)", self.there)
        before = self.there.read_bytes()
        await self.fails(4, "store_unavailable", "store", "copy", HERE, THERE)
        self.assertEqual(self.there.read_bytes(), before)

    async def test_damaged_source(self) -> None:
        await self.prepare()
        self.in_the_file("UPDATE device SET enabled = 7 WHERE number = 3")
        await self.refused("copy_refused", "device 3 is damaged")
        self.assertFalse(self.there.exists())

    async def test_in_use(self) -> None:
        await self.prepare()
        with closing(lock_state(self.state)):
            await self.refused("store_in_use", "is in use by process")
        process = self.held(self.path)
        await self.refused("store_in_use", f"sqlite:{self.path} is in use: by process {process}")
        self.assertFalse(self.there.exists())

    async def test_configured_one_is_in_use(self) -> None:
        """Its file is somewhere else than its daemon's lock."""
        await self.prepare()
        other = self.state / "other"
        other.mkdir()
        config = self.state / "cmmd.toml"
        config.write_text(f'[store]\nurl = "sqlite:{self.path}"\n')
        arguments = ("--state", str(other), "store", "--config", str(config), "copy", f"sqlite:{self.path}", THERE)
        with closing(lock_state(other)):
            await self.fails(1, "store_in_use", *arguments)
        await self.done(*arguments)

    async def test_rows_that_wait(self) -> None:
        await self.prepare()
        spool = self.state / "spool.sqlite"
        await self.fill([READING], spool)
        await self.refused("rows_wait", f"1 rows wait in {spool}")
        self.in_the_file("DELETE FROM reading", spool)
        await self.done("store", "copy", HERE, THERE)

    async def test_spool_that_is_elsewhere(self) -> None:
        await self.prepare()
        store = self.open_store(self.path)
        await store.open()
        await store.claim("somebody")
        await store.close()
        called = await self.call("store", "copy", HERE, THERE)
        self.assertEqual((called.status, len(called.err.splitlines())), (0, 1))
        self.assertIn("the spool of", called.err)
        spool = self.open_store(self.state / "spool.sqlite")
        identity = (await spool.open()).identity
        await spool.close()
        self.in_the_file(f"UPDATE store SET writer = '{identity}'")
        await self.done("store", "copy", HERE, "sqlite:other.sqlite")

    # --- how far it is -----------------------------------------------------------------------------------------------

    async def test_bars_at_a_terminal(self) -> None:
        await self.prepare()
        process = self.spawn("--state", str(self.state), "store", "copy", HERE, THERE, terminal=True)
        self.assertEqual(await process.ended, 0, process.out)
        for text in ("copying readings", "comparing readings", "50 of 50", "a second", "the same"):
            self.assertIn(text, process.out)

    async def test_lines_elsewhere(self) -> None:
        await self.prepare()
        self.patch(output, "BETWEEN_LINES_S", 0.0)
        called = await self.call("store", "copy", HERE, THERE)
        self.assertEqual(called.status, 0)
        self.assertRegex(called.err, r"(?m)^cmmctl: copying readings: 50 of 50, [0-9,]+ a second, 0 s left$")
        self.there.unlink()
        called = await self.call("--json", "store", "copy", HERE, THERE)
        self.assertEqual(called.err, "")


def many_readings(many: int) -> list[Row]:
    """As large as those of a genset."""
    return [replace(READING, number=n, at=n, image=bytes(150), points=(0.1,) * 50) for n in range(1, many + 1)]


class InterruptedCopyTests(CopyingTestCase):
    """Copies that end in the midst.

    :cvar readings: how many there are. :cvar kill_at: bytes of the target between two kills.
    """

    readings = 4000
    kill_at = 700_000
    most_kills = 1

    async def many(self) -> None:
        await self.fill([PROFILE, replace(FULL, number=1)])
        await self.fill(many_readings(self.readings))

    async def test_interrupt(self) -> None:
        await self.many()
        process = self.spawn("--state", str(self.state), "store", "copy", HERE, THERE)
        await until(lambda: self.grown() > self.kill_at)
        process.transport.signalProcess("INT")
        self.assertEqual(await process.ended, 130, process.err)
        self.assertEqual(process.err, "cmmctl: interrupted: the same command continues where it was [interrupted]\n")
        self.assertEqual(process.out, "")
        self.assertIsNotNone(source_of(await self.writer(self.there)))
        called = await self.done("--json", "store", "copy", HERE, THERE)
        self.assertEqual((called.json["same"], called.json["continued"]), (True, True))
        await self.assert_copied()

    async def test_killed_again_and_again(self) -> None:
        await self.many()
        for kills in count(1):
            process = self.spawn("--state", str(self.state), "store", "copy", HERE, THERE)

            def far_enough(kills: int = kills, process: Any = process) -> bool:
                return process.ended.called or self.grown() > self.kill_at * kills

            await until(far_enough)
            if process.ended.called or kills > self.most_kills:
                break
            process.transport.signalProcess("KILL")
            await process.ended
        self.assertGreater(kills, min(self.most_kills, 2))
        self.assertEqual(await process.ended, 0, process.err)
        await self.assert_copied()

    def grown(self) -> int:
        """Bytes of the target."""
        paths = (self.there, self.there.with_name("there.sqlite-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())


class ProgressTests(SynchronousTestCase):
    """With a clock of ours."""

    def lines(self, begun: dict[str, int], steps: Sequence[tuple[float, Step]]) -> list[str]:
        import io

        err = io.StringIO()
        now = [0.0]
        shown = CopyProgress(Output(io.StringIO(), err), {"readings": 10_000, "events": 0}, begun, lambda: now[0])
        with shown.shown():
            for seconds, step in steps:
                now[0] += seconds
                shown.tell(step)
        return err.getvalue().splitlines()

    def test_pace(self) -> None:
        def copying(records: int) -> Step:
            return Step("copying", "readings", records)

        lines = self.lines({}, [(5, copying(1000)), (5, copying(1000)), (5, copying(1000)), (5, copying(1000))])
        self.assertEqual(
            lines,
            [
                "cmmctl: copying readings: 2,000 of 10,000, 200 a second, 40 s left",
                "cmmctl: copying readings: 4,000 of 10,000, 200 a second, 30 s left",
            ],
        )

    def test_what_was_copied_before_is_not_fast(self) -> None:
        lines = self.lines({"readings": 8000}, [(10, Step("copying", "readings", 1000))])
        self.assertEqual(lines, ["cmmctl: copying readings: 9,000 of 10,000, 100 a second, 10 s left"])

    def test_each_part_begins_by_itself(self) -> None:
        steps = [(9.0, Step("copying", "readings", 10_000)), (2.0, Step("comparing", "readings", 1000))]
        self.assertEqual(
            self.lines({}, steps), ["cmmctl: comparing readings: 1,000 of 10,000, 500 a second, 18 s left"]
        )

    def test_nothing_to_do(self) -> None:
        self.assertEqual(self.lines({}, [(20, Step("copying", "events", 0)), (20, Step("copying", "other", 9))]), [])


class DocumentTests(SynchronousTestCase):
    """docs/cmmctl.md names what there is, and what it says can be typed."""

    def test_examples(self) -> None:
        text = (REPOSITORY / "docs" / "cmmctl.md").read_text(encoding="utf-8")
        examples = re.findall(r"^ {4}cmmctl (?:--\S+ \S+ )?store (.*?)(?:  .*)?$", text, re.MULTILINE)
        group: Any = cli.commands["store"]
        named = set()
        for example in examples:
            words = example.split()
            if words[0] == "--config":
                words = words[2:]
            named.add(words[0])
            group.commands[words[0]].make_context(words[0], words[1:], resilient_parsing=False)
        self.assertEqual(named, set(group.commands))

    def test_codes(self) -> None:
        text = (REPOSITORY / "docs" / "cmmctl.md").read_text(encoding="utf-8")
        codes = ("store_unavailable", "store_in_use", "schema_too_new", "copy_refused", "rows_wait", "store_error")
        for code in codes:
            self.assertIn(f"`{code}`", text)

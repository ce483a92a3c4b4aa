"""The embedded store: its file, its schema, its threads, its failures."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event as Flag
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import asdict, fields, replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import provider

from cmmd.store.interface import SchemaTooNew, StoreError, StoreUnavailable
from cmmd.store.records import Cursor, Numbers, Query, Row
from cmmd.store.sqlite import schema, threads
from cmmd.store.sqlite.store import SQLiteStore
from cmmd.store.sqlite.tables import ALARMS, COMMANDS, EVENTS, READINGS, TimedTable
from cmmd.store.sqlite.threads import Reader, Work, Writer
from tests.test_store_contract import (
    ALARM,
    COMMAND,
    EVENT,
    FULL,
    FULL_ALARM,
    FULL_BEFORE,
    FULL_BEFORE_EVIDENCE,
    FULL_COMMAND,
    FULL_COMMAND_BEFORE,
    FULL_EVENT,
    FULL_READING,
    FULL_UPLOAD,
    PLAIN,
    PROFILE,
    READING,
    UPLOAD,
    readings,
)

THREADS = cast("IReactorFromThreads", reactor)
DEADLINE_S = 120.0


class _Stores(TestCase):
    """A store that is not open yet."""

    timeout = DEADLINE_S

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.store = SQLiteStore(self.path, THREADS)
        self.addCleanup(self.store.close)

    @property
    def writer(self) -> Writer:
        assert self.store._threads is not None
        return self.store._threads.writer

    @property
    def reader(self) -> Reader:
        assert self.store._threads is not None
        return self.store._threads.reader

    def in_the_file(self, *statements: str) -> list[tuple[Any, ...]]:
        """What the last statement finds when another program carries them out."""
        found: list[tuple[Any, ...]] = []
        with closing(sqlite3.connect(self.path)) as other, other:
            for statement in statements:
                found = other.execute(statement).fetchall()
        return found


class FileTests(_Stores):
    async def test_file_is_for_its_owner_only(self) -> None:
        await self.store.open()
        await self.store.write([READING])
        files = list(self.path.parent.glob(f"{self.path.name}*"))
        self.assertEqual(len(files), 4)  # with its WAL, the index of that, and its mark
        for file in files:
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)

    async def test_confirmed_writes_are_in_the_file(self) -> None:
        await self.store.open()
        await self.store.add_device(PLAIN)
        await self.store.write([READING])
        self.assertEqual(self.in_the_file("SELECT hostid FROM device"), [("A",)])
        self.assertEqual(self.in_the_file("SELECT hostid FROM reading"), [("A",)])
        self.assertEqual(self.in_the_file("PRAGMA journal_mode"), [("wal",)])

    async def test_points_stand_there_as_little_endian_floats(self) -> None:
        await self.store.open()
        await self.store.write([replace(READING, points=(1.0, -2.0))])
        self.assertEqual(self.in_the_file("SELECT points FROM reading"), [(b"\0\0\x80\x3f\0\0\0\xc0",)])

    async def test_only_one_file_is_left(self) -> None:
        await self.store.open()
        await self.store.write([READING])
        await self.store.close()
        self.assertEqual([file.name for file in self.path.parent.glob(f"{self.path.name}*")], [self.path.name])

    async def test_not_a_database(self) -> None:
        self.path.write_bytes(b"something else" * 100)
        failure = await self.assertFailure(self.store.open(), StoreUnavailable)
        self.assertIn("not a database", str(failure))

    async def test_folder_that_is_not_there(self) -> None:
        store = SQLiteStore(self.path / "no" / "such", THREADS)
        await self.assertFailure(store.open(), StoreUnavailable)
        await store.close()

    async def test_end_without_a_reactor_that_runs(self) -> None:
        """A daemon that cannot start closes before the reactor runs."""
        self.successResultOf(self.store.open())
        self.successResultOf(self.store.close())

    async def test_not_open(self) -> None:
        for call in (self.store.add_device(PLAIN), self.store.write([READING]), self.store.readings(Query())):
            failure = await self.assertFailure(cast("Deferred[Any]", call), StoreUnavailable)
            self.assertIn("not open", str(failure))


class SchemaTests(_Stores):
    def make(self, version: int, *statements: str) -> None:
        """A database as an earlier version of cmmd made it."""
        with closing(sqlite3.connect(self.path)) as other, other:
            for number, script in schema.schemas().items():
                if number <= version:
                    other.executescript(script)
            other.execute(f"PRAGMA user_version = {version}")
            for statement in statements:
                other.execute(statement)

    async def test_newer_schema_is_left_alone(self) -> None:
        await self.store.open()
        await self.store.close()
        self.in_the_file("PRAGMA journal_mode = DELETE", "PRAGMA user_version = 999")
        before = self.path.read_bytes()
        failure = await self.assertFailure(self.store.open(), SchemaTooNew)
        self.assertIn("version 999", str(failure))
        self.assertEqual(self.path.read_bytes(), before)

    async def test_schema_is_applied_once(self) -> None:
        for _ in range(2):
            await self.store.open()
            await self.store.close()
        self.assertEqual(self.in_the_file("PRAGMA user_version"), [(max(schema.schemas()),)])

    def insert(self, table: str, record: Struct, **packed: object) -> None:
        """A row as an earlier version of cmmd wrote it: what has no column is left out."""
        columns = [name for (name,) in self.in_the_file(f"SELECT name FROM pragma_table_info('{table}')")]
        values = {**asdict(record), **packed}
        with closing(sqlite3.connect(self.path)) as other, other:
            places = ", ".join(f":{column}" for column in columns)
            other.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", values)

    async def test_devices_of_earlier_schemas(self) -> None:
        first = ("wgs84_longitude", "wgs84_latitude", "para_command", "byte_order")
        overrides = ("history_interval", "data_mode", "online_rate", "offline_rate", "set_port", "set_baud", "profile")
        people = ("last_login_address", "lock_reason", "locked_by", "locked_at", "input_reports")
        evidence = ("evidence", "read_as", "oldest_undecided_at", "history")
        for version, news in (
            (1, first + overrides + people + evidence),
            (2, overrides + people + evidence),
            (4, people + evidence),
        ):
            self.path.unlink(missing_ok=True)
            self.make(version)
            self.insert("device", replace(FULL, number=7))
            kept = await self.store.open()
            self.assertEqual(kept.devices, [replace(FULL, number=7, **{name: getattr(PLAIN, name) for name in news})])
            changed = replace(FULL, number=7)
            await self.store.write([changed])
            self.assertEqual((await self.store.add_device(PLAIN)).number, 8)
            await self.store.write([READING, UPLOAD, COMMAND])
            await self.store.close()
            kept = await self.store.open()
            self.assertEqual((kept.devices, kept.uploads), ([changed, replace(PLAIN, number=8)], [UPLOAD]))
            self.assertEqual((kept.unfinished, kept.numbers.command), ([COMMAND], 1))
            await self.store.close()

    async def test_each_released_schema(self) -> None:
        """A dump of each, with rows of every kind that it knew, is brought up to date and read."""
        for number in schema.schemas():
            self.path.unlink(missing_ok=True)
            script = Path(__file__).with_name("schemas").joinpath(f"sqlite-{number:04}.sql").read_text(encoding="utf-8")
            with closing(sqlite3.connect(self.path)) as other:
                other.executescript(script)
            kept = await self.store.open()
            self.assertEqual([(one.number, one.hostid) for one in kept.devices], [(1, FULL.hostid), (2, "A")])
            if number > 1:
                self.assertEqual((kept.profiles, kept.uploads, kept.alarms), ([PROFILE], [UPLOAD], [ALARM]))
                self.assertEqual(len(await self.store.readings(Query())), 2)
                self.assertEqual(await self.store.events(Query()), [EVENT, FULL_EVENT])
            if number > 2:
                command = FULL_COMMAND if number > 4 else FULL_COMMAND_BEFORE
                full = FULL_BEFORE if number < 5 else FULL_BEFORE_EVIDENCE if number < 6 else FULL
                full = full if number > 6 else replace(full, history=False)
                self.assertEqual(kept.devices, [replace(full, number=1), replace(PLAIN, number=2)])
                self.assertEqual(await self.store.commands(Query()), [COMMAND, command])
            self.assertEqual(len(kept.identity), 32)
            await self.store.write([replace(FULL_READING, number=7), replace(ALARM, number=8)])
            await self.store.close()

    async def test_history_of_the_second_schema(self) -> None:
        self.make(2, "INSERT INTO profile VALUES (1, 'hgm6120n', 'f1')")
        self.insert("reading", READING, points=b"")
        self.insert("last_upload", UPLOAD)
        self.insert("alarm", ALARM)
        self.insert("event", EVENT, details="{}")
        kept = await self.store.open()
        self.assertEqual((kept.uploads, kept.alarms), ([UPLOAD], [ALARM]))
        self.assertEqual(kept.profiles, [replace(PROFILE, points=())])
        self.assertEqual(kept.numbers, Numbers(reading=1, alarm=1, event=1))
        self.assertEqual(await self.store.readings(Query()), [READING])
        self.assertEqual(await self.store.events(Query()), [EVENT])
        self.assertEqual((kept.unfinished, await self.store.commands(Query())), ([], []))

    async def test_migration_that_fails_leaves_nothing_half_done(self) -> None:
        newest = max(schema.schemas())
        self.patch(schema, "schemas", lambda: {newest: "CREATE TABLE half (a); CREATE TABLE half (a)"})
        self.in_the_file(f"PRAGMA user_version = {newest - 1}")
        failure = await self.assertFailure(self.store.open(), StoreUnavailable)
        self.assertIn("half", str(failure))
        self.assertEqual(self.in_the_file("SELECT name FROM sqlite_master"), [])


class PlanTests(_Stores):
    """No query looks at more rows than it has to."""

    async def assert_plan(self, statement: str, values: list[Any], *expected: str) -> None:
        explain = f"EXPLAIN QUERY PLAN {statement}"
        plan = [row[3] for row in await self.reader.ask(lambda connection: connection.execute(explain, values))]
        for step in expected:
            self.assertIn(step, plan, statement)
        for step in plan:
            self.assertNotRegex(step, "SCAN|TEMP B-TREE", statement)

    async def test_pages(self) -> None:
        await self.store.open()
        time_range = Query(since=1, until=9)
        continued = replace(time_range, after=Cursor(5, 5))
        for table, at in ((READINGS, "at"), (ALARMS, "raised_at"), (EVENTS, "at"), (COMMANDS, "accepted_at")):
            for query in (Query(), time_range, continued, replace(continued, newest_first=True)):
                await self.assert_page(
                    table, query, f"SEARCH {table.name} USING INDEX {table.name}_by_time ({at}>? AND {at}<?)"
                )
                await self.assert_page(
                    table,
                    replace(query, hostid="A"),
                    f"SEARCH {table.name} USING INDEX {table.name}_of_device (hostid=? AND {at}>? AND {at}<?)",
                )

    async def assert_page(self, table: TimedTable[Any], query: Query, expected: str) -> None:
        rest, values = table.page_statement(query)
        await self.assert_plan(f"{table.select} {rest}", values, expected)

    async def test_forgetting(self) -> None:
        await self.store.open()
        for table, index in (
            (READINGS, "COVERING INDEX reading_by_time (at<?)"),
            (ALARMS, "COVERING INDEX alarm_by_end (cleared_at<?)"),
            (EVENTS, "COVERING INDEX event_by_time (at<?)"),
            (COMMANDS, "INDEX command_by_end (ended_at<?)"),
        ):
            await self.assert_plan(
                table.forget_statement,
                [1, 1],
                f"SEARCH {table.name} USING INTEGER PRIMARY KEY (rowid=?)",
                f"SEARCH {table.name} USING {index}",
            )

    async def test_unfinished_commands(self) -> None:
        await self.store.open()
        await self.assert_plan(
            f"{COMMANDS.select} WHERE outcome IS NULL ORDER BY number",
            [],
            "SEARCH command USING INDEX command_unfinished (outcome=?)",
        )

    async def test_open_alarms(self) -> None:
        await self.store.open()
        await self.assert_plan(
            f"{ALARMS.select} WHERE cleared_at IS NULL ORDER BY number",
            [],
            "SEARCH alarm USING INDEX alarm_by_end (cleared_at=?)",
        )


class RemovedTests(TestCase):
    async def test_a_file_that_is_removed_or_another_takes_no_more(self) -> None:
        path = Path(self.mktemp())
        store = SQLiteStore(path, THREADS)
        await store.open()
        await store.add_device(PLAIN)
        path.unlink()
        with self.assertRaisesRegex(StoreUnavailable, "No such file"):
            await store.write([replace(PLAIN, number=1)])
        path.touch()
        with self.assertRaisesRegex(StoreUnavailable, "another file"):
            await store.write([])
        await store.close()


class WriterTests(_Stores):
    async def test_writes_share_transactions(self) -> None:
        await self.store.open()
        transactions: list[int] = []
        transact = self.writer._transact

        def counted(works: list[Work]) -> list[Any]:
            transactions.append(len(works))
            return transact(works)

        self.writer._transact = counted  # type: ignore[method-assign]
        adding = [self.store.add_device(replace(PLAIN, hostid=f"{n}")) for n in range(50)]
        await gatherResults([self.store.write([row]) for row in readings(50)])
        await gatherResults(adding)
        self.assertEqual(transactions, [1, 99])

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
        self.assertEqual([device.hostid for device in (await self.store.open()).devices], ["first", "last", "later"])

    async def test_values_that_cannot_be_written(self) -> None:
        await self.store.open()
        many = readings(200)
        cases: list[tuple[Row, type[Exception]]] = [
            (replace(READING, number=999, hostid="\ud800"), UnicodeEncodeError),
            (replace(READING, number=2**63), OverflowError),
            (replace(READING, number=999, image=None), StoreError),
            (replace(READING, number=999, image=object()), StoreError),
            (replace(EVENT, kind=None), StoreError),
            (replace(COMMAND, requester=None), StoreError),
        ]
        for odd, error in cases:
            before = self.store.write(many[:1])
            wrong: Deferred[Any] = self.store.write([*many[1:], odd])
            after = self.store.write([EVENT])
            await before
            failure = await self.assertFailure(wrong, error)
            self.assertNotIsInstance(failure, StoreUnavailable)
            await after
            self.assertEqual(await self.store.readings(Query()), many[:1])
            self.assertEqual(await self.store.events(Query()), [EVENT])

    async def test_disk_full(self) -> None:
        await self.store.open()
        await self.store.write([READING])
        ((pages,),) = await self.writer.submit(lambda c: c.execute("PRAGMA page_count").fetchall())
        self.writer._connection.execute(f"PRAGMA max_page_count = {pages + 5}")
        large = [replace(row, image=bytes(1000)) for row in readings(50, first=2)]

        def asked() -> list[Deferred[Any]]:
            return [
                *(self.store.write([EVENT]), self.store.add_device(PLAIN)),
                *(self.store.write(large), self.store.write([ALARM])),
            ]

        for one in asked():
            failure = await self.assertFailure(one, StoreUnavailable)
            self.assertIn("full", str(failure))
        self.assertEqual(await self.store.readings(Query()), [READING])
        self.assertEqual(await self.store.events(Query()), [])
        await self.store.write([FULL_EVENT])  # what there is room for
        self.writer._connection.execute("PRAGMA max_page_count = 1000000")
        await gatherResults(asked())
        self.assertEqual(await self.store.readings(Query(limit=100)), [*large, READING])
        self.assertEqual(await self.store.alarms(Query()), [ALARM])
        await self.store.close()
        self.assertEqual((await self.store.open()).devices, [replace(PLAIN, number=1)])

    async def test_memory_that_runs_out_in_the_middle(self) -> None:
        """SQLite may take the whole transaction back by itself; then nobody may hear that his part is kept."""
        await self.store.open()

        def rolled_back(connection: sqlite3.Connection) -> None:
            connection.execute("ROLLBACK")
            raise MemoryError

        shared: list[Deferred[Any]] = [
            *(self.store.write([READING]), self.store.write([EVENT])),
            *(self.writer.submit(rolled_back), self.store.write([ALARM])),
        ]
        await shared.pop(0)  # this one has a transaction of its own
        for one in shared:
            await self.assertFailure(one, StoreUnavailable)
        self.assertEqual(await self.store.events(Query()), [])
        await self.store.write([EVENT, ALARM])
        self.assertEqual(await self.store.alarms(Query()), [ALARM])

    async def test_locked_by_somebody_else(self) -> None:
        await self.store.open()
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        failure = await self.assertFailure(self.store.add_device(PLAIN), StoreUnavailable)
        self.assertIn("locked", str(failure))
        other.execute("ROLLBACK")
        other.close()
        await self.store.add_device(PLAIN)

    async def test_write_that_is_impossible(self) -> None:
        await self.store.open()
        self.in_the_file("DROP TABLE device")
        failure = await self.assertFailure(self.store.add_device(PLAIN), StoreUnavailable)
        self.assertIn("no such table", str(failure))


class ReaderTests(_Stores):
    async def hold(self, ask: Callable[[Work], Deferred[Any]]) -> tuple[Flag, Deferred[Any]]:
        """A work that goes on, in the middle of a transaction, until the flag is set."""
        go_on = Flag()
        self.addCleanup(go_on.set)
        there: Deferred[None] = Deferred()

        def work(connection: sqlite3.Connection) -> list[Any]:
            if not connection.in_transaction:
                connection.execute("BEGIN")
            found = connection.execute("SELECT number FROM reading").fetchall()
            THREADS.callFromThread(there.callback, None)
            go_on.wait(DEADLINE_S)
            if connection is self.reader._connection:
                connection.execute("ROLLBACK")
            return found

        held = ask(work)
        await there
        return go_on, held

    async def test_a_query_does_not_delay_writes(self) -> None:
        await self.store.open()
        await self.store.write([READING])
        go_on, held = await self.hold(self.reader.ask)
        await self.store.write([EVENT, replace(READING, number=2)])
        await self.store.forget(0, 1)
        self.assertFalse(held.called)
        go_on.set()
        self.assertEqual(await held, [(1,)])
        self.assertEqual([one.number for one in await self.store.readings(Query())], [1, 2])

    async def test_a_write_does_not_delay_queries(self) -> None:
        await self.store.open()
        await self.store.write([READING])
        go_on, held = await self.hold(self.writer.submit)
        writing = self.store.write([EVENT])
        self.assertEqual(await self.store.readings(Query()), [READING])
        self.assertEqual(await self.store.events(Query()), [])
        self.assertFalse(writing.called)
        go_on.set()
        await gatherResults([held, writing])
        self.assertEqual(await self.store.events(Query()), [EVENT])

    async def test_a_query_cannot_write(self) -> None:
        await self.store.open()
        failure = await self.assertFailure(
            self.reader.ask(lambda connection: connection.execute("DELETE FROM device")), StoreUnavailable
        )
        self.assertIn("readonly", str(failure))

    async def test_the_end_does_not_wait_for_ever(self) -> None:
        self.patch(threads, "PATIENCE_S", 0.01)
        await self.store.open()
        endless = (
            "WITH RECURSIVE endless (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless) SELECT max(n) FROM endless"
        )
        asked: list[Deferred[Any]] = [
            self.reader.ask(lambda connection: connection.execute(endless).fetchall()),
            self.store.readings(Query()),
        ]
        written = self.store.write([READING])
        closing_down = self.store.close()
        for one in asked:
            await self.assertFailure(one, StoreUnavailable)
        await gatherResults([written, closing_down])
        await self.store.open()
        self.assertEqual(await self.store.readings(Query()), [READING])

    async def test_query_that_is_impossible(self) -> None:
        await self.store.open()
        self.in_the_file("DROP TABLE event")
        failure = await self.assertFailure(self.store.events(Query()), StoreUnavailable)
        self.assertIn("no such table", str(failure))


class DamageTests(_Stores):
    """Rows that no cmmd has written."""

    async def damaged(self, *statements: str) -> list[str]:
        """What the log says when such a file is opened."""
        await self.store.open()
        await self.store.add_device(PLAIN)
        await self.store.add_device(FULL)
        await self.store.write([UPLOAD, FULL_UPLOAD, ALARM, replace(ALARM, number=3), PROFILE, FULL_ALARM])
        await self.store.write([replace(PROFILE, number=2), READING, FULL_READING, EVENT, FULL_EVENT])
        await self.store.write([COMMAND, FULL_COMMAND, replace(COMMAND, number=3)])
        await self.store.close()
        self.in_the_file(*statements)
        lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "cmmd.store.sqlite.store":
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.kept = await self.store.open()
        return lines

    async def test_none(self) -> None:
        self.assertEqual(await self.damaged("SELECT 1"), [])

    async def test_what_is_read_at_the_start_is_left_out(self) -> None:
        lines = await self.damaged(
            "UPDATE device SET module_port = 'x' WHERE number = 2",
            "UPDATE last_upload SET image = 5 WHERE hostid = 'A'",
            "UPDATE alarm SET severity = 'odd' WHERE number = 1",
            "UPDATE command SET kind = 'odd' WHERE number = 3",
        )
        for named in ("device 2", "last_upload 'A'", "alarm 1", "command 3"):
            self.assertEqual(len([line for line in lines if f"{self.path}: {named} is damaged: " in line]), 1, lines)
        self.assertEqual(len(lines), 4)
        self.assertEqual([device.hostid for device in self.kept.devices], ["A"])
        self.assertEqual(self.kept.uploads, [FULL_UPLOAD])
        self.assertEqual(self.kept.alarms, [replace(ALARM, number=3)])
        self.assertEqual(self.kept.numbers.alarm, 3)
        self.assertEqual((self.kept.unfinished, self.kept.numbers.command), ([COMMAND], 3))

    async def test_truth_that_is_none(self) -> None:
        (line,) = await self.damaged(
            "UPDATE device SET enabled = 'perhaps' WHERE number = 2",
            "UPDATE command SET confirmed = 2 WHERE number = 2",
        )
        self.assertIn("device 2 is damaged: ", line)
        self.assertEqual([device.hostid for device in self.kept.devices], ["A"])
        self.assertEqual(self.kept.unfinished, [COMMAND, replace(COMMAND, number=3)])
        await self.assertFailure(self.store.commands(Query()), StoreError)

    async def test_profile_version_keeps_its_number(self) -> None:
        (line,) = await self.damaged("UPDATE point SET decimals = 'many' WHERE profile = 2 AND place = 1")
        self.assertIn(f"{self.path}: profile 2 is damaged: ", line)
        self.assertEqual(self.kept.profiles, [PROFILE, replace(PROFILE, number=2, fingerprint="", points=())])

    async def test_queries_name_what_they_came_upon(self) -> None:
        await self.damaged(
            "UPDATE event SET details = '{' WHERE number = 1",
            "UPDATE event SET details = '{\"a\": []}' WHERE number = 2",
            f"UPDATE reading SET points = x'0000803f00' WHERE number = {FULL_READING.number}",
            "UPDATE reading SET at = 'yesterday' WHERE number = 1",
            "UPDATE alarm SET acknowledged_at = 0.5 WHERE number = 2",
            "UPDATE command SET outcome = 'failed' WHERE number = 2",
        )
        for asked, named in (
            (self.store.events(Query(hostid="A")), "event 1 is damaged"),
            (self.store.events(Query(hostid=FULL.hostid)), "event 2 is damaged"),
            (self.store.readings(Query(hostid=FULL.hostid)), f"reading {FULL_READING.number} is damaged"),
            (self.store.alarms(Query()), "alarm 2 is damaged"),
            (self.store.commands(Query()), "command 2 is damaged"),
        ):
            failure = await self.assertFailure(cast("Deferred[Any]", asked), StoreError)
            self.assertNotIsInstance(failure, StoreUnavailable)
            self.assertIn(f"{self.path}: {named}: ", str(failure))
        self.assertEqual(await self.store.readings(Query(hostid="A")), [])  # yesterday is at no time

    async def test_text_that_is_none(self) -> None:
        lines = await self.damaged(
            "UPDATE device SET hostname = CAST(x'41ff42' AS TEXT) WHERE number = 1",
            "UPDATE reading SET reason = CAST(x'ff' AS TEXT) WHERE number = 1",
        )
        self.assertEqual(lines, [])
        self.assertEqual(self.kept.devices[0].hostname, "A\N{REPLACEMENT CHARACTER}B")
        await self.assertFailure(self.store.readings(Query()), StoreError)

    async def test_every_table_stands_as_its_record_says(self) -> None:
        await self.store.open()
        for table, record in (
            *(("device", PLAIN), ("reading", READING), ("last_upload", UPLOAD)),
            *(("alarm", ALARM), ("event", EVENT), ("command", COMMAND)),
        ):
            columns = [name for (name,) in self.in_the_file(f"SELECT name FROM pragma_table_info('{table}')")]
            self.assertCountEqual(columns, [field.name for field in fields(record)])


class SpaceTests(_Stores):
    """A disk that gets full: what comes then waits elsewhere, and needs room, too."""

    async def test_it_leaves_some(self) -> None:
        await self.store.open()
        await self.store.write([READING])
        self.store.leave_free(2**40)
        refused: list[Deferred[Any]] = [
            *(self.store.write([EVENT]), self.store.add_device(PLAIN), self.store.claim("me")),
        ]
        for asked in refused:
            self.assertIn("of its disk are free", str(await self.assertFailure(asked, StoreUnavailable)))
        self.assertEqual(await self.store.forget(2**60, 10), 1)
        self.store.leave_free(0)
        await self.store.write([EVENT])

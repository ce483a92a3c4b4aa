"""The store in PostgreSQL: its schema, what people find in it, its partitions, who may come in."""

import json
import os
import re
import subprocess
import sys
from calendar import timegm
from contextlib import closing
from pathlib import Path
from random import Random
from time import gmtime
from typing import Any, cast

import psycopg2
from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import provider

from cmmd.store.interface import SchemaTooNew, StoreError, StoreUnavailable
from cmmd.store.postgres import retention, schema
from cmmd.store.postgres.address import Address
from cmmd.store.postgres.opening import connect
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.postgres.tables import ALARMS, COMMANDS, EVENTS, READINGS, moment
from cmmd.store.records import Cursor, Numbers, Query, Row
from tests.daemon import environment
from tests.postgres import PASSWORD, Cluster, PostgresServer, cluster
from tests.test_store_contract import (
    ALARM,
    COMMAND,
    EVENT,
    FULL,
    FULL_BEFORE,
    FULL_BEFORE_EVIDENCE,
    FULL_COMMAND,
    FULL_COMMAND_BEFORE,
    FULL_EVENT,
    FULL_READING,
    PLAIN,
    PROFILE,
    READING,
    UPLOAD,
    readings,
)

SCHEMAS = Path(__file__).with_name("schemas")
NOVEMBER_2023 = 1_700_000_000_000
MONTH_MS = 31 * 86_400_000
EVERYTHING: list[Row] = [PROFILE, READING, UPLOAD, ALARM, EVENT, COMMAND]


class Stores(TestCase):
    """Provide a store that is not open yet, in an empty database of its own."""

    timeout = 180

    def setUp(self) -> None:
        self.cluster: Cluster = cluster()
        self.url = self.database()
        self.name = self.url.rpartition("/")[2]
        self.store = self.made()

    def database(self) -> str:
        return self.cluster.new_database()

    def made(self, url: str = "") -> PostgresStore:
        store = PostgresStore(url or self.url, reactor)
        self.addCleanup(store.close)
        return store

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """What another program finds."""
        return self.cluster.execute(statement, self.url)

    def connected(self) -> Any:
        """A connection of another program, in a transaction."""
        connection = psycopg2.connect(self.url)
        self.addCleanup(connection.close)
        return connection


class LentStores(Stores):
    """Provide a store that is not open yet, in a database that has its tables."""

    def database(self) -> str:
        url = self.cluster.lend_store()
        self.addCleanup(self.cluster.take_back_store, url)
        return url


class MigrationTests(Stores):
    at_once = 2

    def test_migrations_that_run_at_once(self) -> None:
        migrate = (
            "import sys\n"
            "from cmmd.store.postgres.address import Address\n"
            "from cmmd.store.postgres.opening import connect\n"
            "from cmmd.store.postgres.schema import migrate\n"
            "print(migrate(connect(Address(sys.argv[1])), 'it'))\n"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", migrate, self.url],
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for _ in range(self.at_once)
        ]
        said = [process.communicate(timeout=60) for process in processes]
        newest = max(schema.schemas())
        self.assertEqual(b"".join(error for _, error in said).decode(), "")
        applied = [json.loads(out) for out, _ in said]
        self.assertEqual(sorted(number for some in applied for number in some), list(range(1, newest + 1)))
        self.assertEqual(self.ask("SELECT count(*) FROM store"), [(1,)])


class SchemaTests(Stores):
    async def test_two_that_open_at_once(self) -> None:
        """Each finds what the other has made; then one of them may write."""
        stores = [self.made() for _ in range(2)]
        await Deferred.fromCoroutine(self.turn())
        kept = await gatherResults([store.open() for store in stores])
        self.assertEqual(kept[0].identity, kept[1].identity)
        written = [store.write([EVENT]) for store in stores]
        outcomes = []
        for one in written:
            try:
                await one
                outcomes.append("written")
            except StoreUnavailable:
                outcomes.append("refused")
        self.assertEqual(sorted(outcomes), ["refused", "written"])

    async def turn(self) -> None:
        """From here on the reactor runs."""
        waited: Deferred[None] = Deferred()
        reactor.callLater(0, waited.callback, None)
        await waited

    def test_version(self) -> None:
        with closing(connect(Address(self.url))) as connection:
            self.assertEqual(schema.version(connection), 0)
            self.assertEqual(schema.missing_schemas(connection, "it"), schema.schemas())
            self.assertEqual(schema.migrate(connection, "it"), list(schema.schemas()))
            self.assertEqual(schema.migrate(connection, "it"), [])
            self.assertEqual(schema.version(connection), max(schema.schemas()))

    async def test_newer_schema_is_left_alone(self) -> None:
        await self.store.open()
        await self.store.close()
        self.ask("INSERT INTO schema_version (number) VALUES (999)")
        before = self.ask("SELECT * FROM store")
        failure = await self.assertFailure(self.store.open(), SchemaTooNew)
        self.assertIn("version 999", str(failure))
        self.assertEqual(self.ask("SELECT * FROM store"), before)

    async def test_migration_that_fails_leaves_nothing_half_done(self) -> None:
        scripts = schema.schemas()
        bad = max(scripts) + 1
        scripts[bad] = "CREATE TABLE half (a text); CREATE TABLE half (a text)"
        self.patch(schema, "schemas", lambda: scripts)
        failure = await self.assertFailure(self.store.open(), StoreUnavailable)
        self.assertIn('"half" already exists', str(failure))
        self.assertEqual(self.ask("SELECT to_regclass('half'), max(number) FROM schema_version"), [(None, bad - 1)])
        del scripts[bad]
        await self.store.open()

    async def test_everything_has_a_comment(self) -> None:
        await self.store.open()
        uncommented = self.ask(
            """
            SELECT relname, NULL FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND NOT relispartition
                AND obj_description(oid, 'pg_class') IS NULL
            UNION ALL
            SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND attnum > 0
                AND col_description(pg_class.oid, attnum) IS NULL
            UNION ALL
            SELECT proname, NULL FROM pg_proc
            WHERE pronamespace = 'public'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
            """
        )
        self.assertEqual(uncommented, [])

    async def test_each_released_schema(self) -> None:
        """A dump of each, with rows of every kind, is brought up to date and read."""
        for number in range(1, max(schema.schemas()) + 1):
            url = self.cluster.new_database()
            self.cluster.execute((SCHEMAS / f"postgres-{number:04}.sql").read_text(encoding="utf-8"), url)
            store = self.made(url)
            kept = await store.open()
            command = FULL_COMMAND if number > 1 else FULL_COMMAND_BEFORE
            full = FULL_BEFORE if number < 2 else FULL_BEFORE_EVIDENCE if number < 3 else FULL
            full = full if number > 3 else replace(full, history=False)
            reading = FULL_READING if number > 3 else replace(FULL_READING, source="")
            self.assertEqual(kept.devices, [replace(full, number=1), replace(PLAIN, number=2)])
            self.assertEqual((kept.profiles, kept.uploads), ([PROFILE], [UPLOAD]))
            self.assertEqual((kept.alarms, kept.unfinished), ([ALARM], [COMMAND]))
            self.assertEqual(kept.numbers, Numbers(reading=FULL_READING.number, alarm=1, event=2, command=2))
            self.assertEqual((kept.writer, len(kept.identity)), ("spool", 32))
            self.assertEqual(await store.readings(Query()), [READING, reading])
            self.assertEqual(await store.events(Query()), [EVENT, FULL_EVENT])
            self.assertEqual(await store.commands(Query()), [COMMAND, command])
            await store.write([replace(READING, number=5), replace(FULL_READING, number=6)])
            self.assertEqual(self.cluster.execute("SELECT count(*) FROM latest", url), [(2,)])
            await store.close()

    async def test_another_schema_of_the_database(self) -> None:
        self.ask('CREATE SCHEMA "Gen Sets"')
        store = self.made(f"{self.url}?options=-csearch_path%3D%22Gen%5C%20Sets%22")
        await store.open()
        await self.store.open()  # beside it, with a lock of its own
        await store.write([READING, EVENT])
        await self.store.write([EVENT])
        self.assertEqual(await store.readings(Query()), [READING])
        self.assertEqual(self.ask('SELECT number FROM "Gen Sets".reading_197001'), [(1,)])
        self.assertEqual(await self.store.readings(Query()), [])

    async def test_what_is_no_database_for_us(self) -> None:
        latin = self.cluster.new_database("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        failure = await self.assertFailure(self.made(latin).open(), StoreError)
        self.assertNotIsInstance(failure, StoreUnavailable)
        self.assertIn("its encoding is LATIN1", str(failure))
        nowhere = self.made(f"{self.url}?options=-csearch_path%3Dnowhere")
        failure = await self.assertFailure(nowhere.open(), StoreError)
        self.assertIn("no schema", str(failure))

    async def test_who_may_not_create_tables(self) -> None:
        role = f"plain_{self.name}"
        self.ask(f"CREATE ROLE {role} LOGIN PASSWORD 'x'; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        try:
            store = PostgresStore(re.sub("//.*@", f"//{role}:x@", self.url), reactor)
            failure = await self.assertFailure(store.open(), StoreUnavailable)
            self.assertIn("permission denied", str(failure))
        finally:
            self.ask(f"DROP ROLE {role}")


class PlanTests(Stores):
    """No query looks at more rows than it has to, however many partitions there are."""

    async def filled(self) -> None:
        await self.store.open()
        every = [
            replace(READING, number=number, hostid=f"{number % 50}", at=NOVEMBER_2023 + number * 6_000_000)
            for number in range(1, 3000)
        ]
        others = [
            row
            for one in every
            for row in (
                replace(EVENT, number=one.number, hostid=one.hostid, at=one.at),
                replace(ALARM, number=one.number, hostid=one.hostid, raised_at=one.at, cleared_at=one.at),
                replace(FULL_COMMAND, number=one.number, hostid=one.hostid, accepted_at=one.at, ended_at=one.at),
            )
        ]
        await self.store.write([*every, *others, replace(COMMAND, number=9999), replace(ALARM, number=9999)])
        self.ask("ANALYZE")

    def plan(self, statement: str) -> str:
        """Where there are too few rows for an index to pay, it is taken all the same."""
        plainly = "SET enable_sort = off; SET enable_seqscan = off; SET enable_bitmapscan = off"
        return "\n".join(line for (line,) in self.ask(f"{plainly}; EXPLAIN (COSTS OFF) {statement}"))

    async def test_plans(self) -> None:
        await self.filled()
        self.check_pages()
        self.check_the_start()
        self.check_forgetting()
        await self.check_latest()

    def check_pages(self) -> None:
        middle = NOVEMBER_2023 + 1500 * 6_000_000
        time_range = Query(since=middle, until=middle + 600_000_000)
        continued = replace(time_range, after=Cursor(middle + 60_000_000, 5))
        for table in (READINGS, ALARMS, EVENTS, COMMANDS):
            for query in (Query(limit=10), time_range, continued, replace(continued, newest_first=True, limit=10)):
                for one in (query, replace(query, hostid="7")):
                    plan = self.plan(table.page(one))
                    self.assertNotRegex(plan, "Seq Scan|Sort", f"{table.page(one)}\n{plan}")
        plan = self.plan(READINGS.page(time_range))
        self.assertEqual(len(re.findall("Index Scan", plan)), 2, plan)  # two partitions of nine

    def check_the_start(self) -> None:
        self.assertIn("alarm_open", self.plan(ALARMS.select("WHERE cleared_at IS NULL ORDER BY alarm.number")))
        unfinished = self.plan(COMMANDS.select("WHERE outcome IS NULL ORDER BY command.number"))
        self.assertIn("command_unfinished", unfinished)

    def check_forgetting(self) -> None:
        for table, index in ((ALARMS, "alarm_by_end"), (EVENTS, "event_by_time"), (COMMANDS, "command_by_end")):
            plan = self.plan(table.oldest(moment(NOVEMBER_2023 + 60_000_000), 5))
            self.assertIn(index, plan)
            self.assertNotRegex(plan, "Seq Scan|Sort", plan)

    async def check_latest(self) -> None:
        await self.store.add_device(replace(PLAIN, hostid="7"))
        plan = self.plan("SELECT * FROM latest")
        self.assertIn("Limit", plan)
        self.assertNotRegex(plan, "Sort|Seq Scan on reading", plan)


class PeopleTests(LentStores):
    """What somebody with psql or Grafana finds."""

    async def filled(self) -> None:
        await self.store.open()
        await self.store.add_device(replace(FULL, hostid="A", hostname="Site A"))
        await self.store.add_device(replace(PLAIN, hostid="B"))
        await self.store.write(
            [
                PROFILE,
                replace(PROFILE, number=2, points=PROFILE.points[::-1]),
                replace(READING, at=NOVEMBER_2023, points=(1500.0, 230.5)),
                replace(READING, number=2, at=NOVEMBER_2023 + 1000, points=(1501.0, None)),
                replace(READING, number=3, at=NOVEMBER_2023 + MONTH_MS, profile=2, points=(231.5, 1502.0)),
                replace(READING, number=4, hostid="gone", at=NOVEMBER_2023, points=(1.0, 2.0)),
                replace(READING, number=5, at=NOVEMBER_2023 + 2000, profile=77, points=(1.0, 2.0)),
            ]
        )

    async def test_latest(self) -> None:
        await self.filled()
        found = self.ask(
            "SELECT hostid, hostname, moduletype, at = to_timestamp(%s), points FROM latest"
            % ((NOVEMBER_2023 + MONTH_MS) / 1000)
        )
        self.assertEqual(found, [("A", "Site A", FULL.moduletype, True, [231.5, 1502.0])])
        self.assertEqual(self.ask("SELECT point(latest, 'speed') FROM latest"), [(1502.0,)])

    async def test_points_as_rows(self) -> None:
        await self.filled()
        found = self.ask(
            "SELECT hostid, hostname, point, value, unit, title FROM reading_point ORDER BY at, point, hostid"
        )
        self.assertEqual(
            found,
            [
                ("A", "Site A", "speed", 1500.0, "r/min", "Speed"),
                ("gone", None, "speed", 1.0, "r/min", "Speed"),
                ("A", "Site A", "volts_a", 230.5, "V", "U₁"),
                ("gone", None, "volts_a", 2.0, "V", "U₁"),
                ("A", "Site A", "speed", 1501.0, "r/min", "Speed"),
                ("A", "Site A", "speed", 1502.0, "r/min", "Speed"),
                ("A", "Site A", "volts_a", 231.5, "V", "U₁"),
            ],
        )

    async def test_a_panel(self) -> None:
        await self.filled()
        found = self.ask(
            "SELECT at AS time, point(r, 'speed') AS speed, point(r, 'volts_a') AS volts, point(r, 'none')"
            " FROM reading r WHERE hostid = 'A' AND at BETWEEN '2023-01-01' AND '2024-01-01' ORDER BY at"
        )
        self.assertEqual(
            [row[1:] for row in found],
            [(1500.0, 230.5, None), (1501.0, None, None), (None, None, None), (1502.0, 231.5, None)],
        )
        by_name = "SELECT value FROM reading_point WHERE hostname = 'Site A' AND point = 'volts_a' ORDER BY at"
        self.assertEqual(self.ask(by_name), [(230.5,), (231.5,)])

    async def test_times_are_times(self) -> None:
        await self.filled()
        await self.store.write([EVENT, replace(FULL_COMMAND, ended_at=NOVEMBER_2023)])
        found = self.ask("SET TimeZone = 'UTC'; SELECT at::text FROM event")
        self.assertEqual(found, [("1970-01-01 00:00:01+00",)])


class PartitionTests(Stores):
    def partitions(self) -> list[str]:
        names = self.ask("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'reading'::regclass")
        return sorted(name for (name,) in names)

    def ahead(self) -> list[str]:
        now = gmtime()
        months = [now.tm_year * 12 + now.tm_mon - 1 + more for more in range(4)]
        return [f"reading_{month // 12:04}{month % 12 + 1:02}" for month in months]

    def in_month(self, ahead: int) -> int:
        """A time in the middle of a month, counted from this one; milliseconds."""
        now = gmtime()
        month = now.tm_year * 12 + now.tm_mon - 1 + ahead
        return timegm((month // 12, month % 12 + 1, 15, 0, 0, 0)) * 1000

    async def test_made_ahead(self) -> None:
        await self.store.open()
        self.assertEqual(self.partitions(), self.ahead())
        for name in self.ahead()[2:]:
            self.ask(f"DROP TABLE {name}")
        await self.store.forget(0, 1)
        self.assertEqual(self.partitions(), self.ahead())
        for name in self.ahead()[:2]:
            self.ask(f"DROP TABLE {name}")
        await self.store.close()
        await self.store.open()
        self.assertEqual(self.partitions(), self.ahead())

    async def test_made_when_they_are_needed(self) -> None:
        await self.store.open()
        before, after = timegm((2023, 11, 1, 0, 0, 0)) * 1000 - 1, timegm((2023, 12, 1, 0, 0, 0)) * 1000
        times = enumerate((before, before + 1, after - 1, after), start=1)
        rows = [replace(READING, number=number, at=at) for number, at in times]
        await self.store.write([EVENT, *rows])
        await self.store.write([EVENT, *rows])
        for name, numbers in (("202310", [1]), ("202311", [2, 3]), ("202312", [4])):
            found = self.ask(f"SELECT number FROM reading_{name} ORDER BY number")
            self.assertEqual([number for (number,) in found], numbers)
        self.assertEqual(await self.store.readings(Query()), rows)
        indexes = self.ask("SELECT count(*) FROM pg_indexes WHERE tablename = 'reading_202311'")
        self.assertEqual(indexes, self.ask("SELECT count(*) FROM pg_indexes WHERE tablename = 'reading'"))

    async def test_made_beside_somebody_who_reads_for_long(self) -> None:
        await self.store.open()
        other = self.connected()
        with other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM reading")  # and its transaction goes on
            await self.store.write([READING])

    async def test_old_ones_are_dropped(self) -> None:
        await self.store.open()
        rows = [replace(READING, number=number, at=NOVEMBER_2023 + number * MONTH_MS) for number in range(5)]
        many = [replace(READING, number=100 + number, at=NOVEMBER_2023 + number) for number in range(300)]
        await self.store.write([*rows, *many])
        self.assertEqual(await self.store.forget(NOVEMBER_2023 + 2 * MONTH_MS, 10), 302)
        self.assertEqual(self.partitions(), ["reading_202401", "reading_202402", "reading_202403", *self.ahead()])
        self.assertEqual(await self.store.readings(Query()), rows[2:])
        self.assertEqual(await self.store.forget(NOVEMBER_2023 + 2 * MONTH_MS + 1, 10), 1)  # this one is bitten off
        self.assertEqual(await self.store.forget(NOVEMBER_2023 + 2 * MONTH_MS + 1, 10), 0)

    async def test_this_month_and_the_coming_ones_stay(self) -> None:
        await self.store.open()
        rows = [replace(READING, number=number, at=self.in_month(number - 2)) for number in range(1, 5)]
        await self.store.write(rows)
        self.assertEqual(await self.store.forget(2**62, 1), 2)  # last month's, and one of this month
        self.assertEqual(self.partitions(), self.ahead())
        self.assertEqual([await self.store.forget(2**62, 5) for _ in range(2)], [2, 0])
        self.assertEqual(self.partitions(), self.ahead())

    async def test_somebody_reads_what_is_old(self) -> None:
        """His query goes on, nothing is deleted under him, and writes go on."""
        self.patch(retention, "LOCK_TIMEOUT_S", 0.2)
        await self.store.open()
        clock = Clock()
        assert self.store._links is not None
        self.store._links.forgetting._clock = clock
        await self.store.write([READING, replace(READING, number=2, at=NOVEMBER_2023), EVENT])
        other = self.connected()
        with other.cursor() as cursor:
            cursor.execute("SELECT number FROM reading ORDER BY number")
            self.assertEqual([await self.store.forget(NOVEMBER_2023, 10) for _ in range(2)], [1, 0])  # the event
            await self.store.write([FULL_EVENT])
            other.rollback()
            self.assertEqual(await self.store.forget(NOVEMBER_2023, 10), 1)  # another event
            clock.advance(retention.TRY_AGAIN_S)
            self.assertEqual(await self.store.forget(NOVEMBER_2023, 10), 1)
        self.assertEqual([one.number for one in await self.store.readings(Query())], [2])

    async def test_somebody_has_a_view_of_what_is_old(self) -> None:
        await self.store.open()
        await self.store.write([READING, EVENT])
        self.ask("CREATE VIEW mine AS SELECT * FROM reading_197001")
        lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "cmmd.store.postgres.retention":
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.assertEqual([await self.store.forget(NOVEMBER_2023, 10) for _ in range(2)], [1, 0])  # the event
        self.assertEqual(len(lines), 1)
        self.assertIn("reading_197001 is old and stays for now", lines[0])
        self.assertEqual(await self.store.readings(Query()), [READING])

    async def test_one_that_its_owner_keeps_elsewhere(self) -> None:
        await self.store.open()
        await self.store.write([READING])
        self.ask("ALTER TABLE reading DETACH PARTITION reading_197001")
        self.assertEqual(await self.store.forget(NOVEMBER_2023, 10), 0)
        self.assertEqual(self.ask("SELECT number FROM reading_197001"), [(1,)])
        writing: Deferred[Any] = self.store.write([replace(READING, number=2)])
        self.assertIn("no partition", str(await self.assertFailure(writing, StoreError)))
        await self.store.write([EVENT])

    async def test_years_of_any_length(self) -> None:
        await self.store.open()
        await self.store.write([replace(READING, at=2**53), replace(READING, number=2, at=-(10**13))])
        odd = [name for name in self.partitions() if name not in self.ahead()]
        self.assertEqual(odd, ["reading_165302", "reading_28739610"])
        self.assertEqual([one.number for one in await self.store.readings(Query())], [2, 1])
        for at in (-(10**14), 2**62):  # before the first year; after the last one of PostgreSQL
            writing: Deferred[Any] = self.store.write([replace(READING, number=3, at=at)])
            self.assertNotIsInstance(await self.assertFailure(writing, StoreError), StoreUnavailable)


class DamageTests(LentStores):
    """Rows that no cmmd has written."""

    async def test_they_cost_no_more_than_themselves(self) -> None:
        await self.store.open()
        await self.store.add_device(PLAIN)
        await self.store.write([ALARM, replace(ALARM, number=2), COMMAND, replace(COMMAND, number=2), EVENT, READING])
        await self.store.close()
        self.ask(
            "UPDATE alarm SET severity = 'odd' WHERE number = 1;"
            "UPDATE command SET accepted_at = 'infinity' WHERE number = 1;"
            "UPDATE event SET details = '{\"a\": []}' WHERE number = 1;"
            "UPDATE reading SET points = '{NaN}' WHERE number = 1"
        )
        lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "cmmd.store.postgres.opening":
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        kept = await self.store.open()
        self.assertEqual((kept.alarms, kept.unfinished), ([replace(ALARM, number=2)], [replace(COMMAND, number=2)]))
        self.assertEqual((kept.numbers.alarm, kept.numbers.command), (2, 2))
        self.assertEqual(len(lines), 2)
        self.assertIn("alarm 1 is damaged: Invalid enum value 'odd'", lines[0])
        for asked, named in (
            (self.store.alarms(Query()), "alarm 1 is damaged"),
            (self.store.events(Query()), "event 1 is damaged"),
            (self.store.readings(Query()), "reading 1 is damaged"),
        ):
            failure = await self.assertFailure(cast("Deferred[Any]", asked), StoreError)
            self.assertNotIsInstance(failure, StoreUnavailable)
            self.assertIn(named, str(failure))
        self.assertEqual(await self.store.commands(Query()), [replace(COMMAND, number=2)])  # the other is at no time


class WriterTests(LentStores):
    async def test_writes_share_statements(self) -> None:
        await self.store.open()
        statements: list[bytes] = []
        assert self.store._links is not None
        link = self.store._links.link
        run_query = link.runQuery

        def counted(query: Any, patience_s: float | None = None) -> Any:
            statements.append(query)
            return run_query(query, patience_s)

        link.runQuery = counted  # type: ignore[method-assign]
        await gatherResults([self.store.write([replace(EVENT, number=number)]) for number in range(1, 51)])
        await gatherResults([self.store.add_device(replace(PLAIN, hostid=f"{number}")) for number in range(50)])
        self.assertEqual(len(statements), 3)

    async def test_values_that_cannot_be_written(self) -> None:
        await self.store.open()
        many = readings(200)
        for odd, error in (
            (replace(READING, number=999, hostid="\ud800"), UnicodeEncodeError),
            (replace(READING, number=999, image=object()), TypeError),
            (replace(READING, number=2**63), StoreError),
            (replace(READING, number=999, image=None), StoreError),
            (replace(READING, number=999, inputs=2**15), StoreError),
            (replace(READING, number=999, hostid=Random(1).randbytes(5000).hex()), StoreError),  # no index takes that
            (replace(EVENT, kind=None), StoreError),
            (replace(COMMAND, requester=None), StoreError),
        ):
            before = self.store.write(many[:1])
            wrong: Deferred[Any] = self.store.write([*many[1:], odd])
            after = self.store.write([EVENT])
            await before
            failure = await self.assertFailure(wrong, error)
            self.assertNotIsInstance(failure, StoreUnavailable)
            await after
            self.assertEqual(await self.store.readings(Query()), many[:1])
            self.assertEqual(await self.store.events(Query()), [EVENT])

    async def test_a_commit_is_one(self) -> None:
        """Also where the database is set not to wait for the disk."""
        self.ask(f"ALTER DATABASE {self.name} SET synchronous_commit = off")
        await self.store.open()
        assert self.store._links is not None
        self.assertEqual(await self.store._links.link.runQuery("SHOW synchronous_commit"), [("on",)])
        self.ask(f"ALTER DATABASE {self.name} SET synchronous_commit = remote_apply")
        await self.store.close()
        await self.store.open()
        self.assertEqual(await self.store._links.link.runQuery("SHOW synchronous_commit"), [("remote_apply",)])

    async def test_end_without_a_reactor_that_runs(self) -> None:
        """A daemon that cannot start closes before the reactor runs."""
        self.successResultOf(self.store.open())
        self.successResultOf(self.store.close())

    async def test_a_reader_cannot_write(self) -> None:
        await self.store.open()
        assert self.store._links is not None
        asked: Any = self.store._links.links.runQuery("DELETE FROM device")
        self.assertIn("read-only", str(await self.assertFailure(asked, StoreUnavailable)))


class AddressTests(LentStores):
    """How to get in, and that no message has a password."""

    async def assert_refused(self, url: str, says: str, password_file: Path | None = None) -> None:
        store = PostgresStore(url, reactor, password_file)
        failure = await self.assertFailure(store.open(), StoreError)
        message = str(failure)
        self.assertIn(says, message)
        for part in ("s3cret", "wrong", PASSWORD):
            self.assertNotIn(part, message)
        self.assertNotIn("\n", message)
        await store.close()

    def with_password(self, password: str) -> str:
        return re.sub("//([^:]*):.*@", rf"//\1{password}@", self.url)

    async def test_a_password_from_a_file(self) -> None:
        file = Path(self.mktemp())
        file.write_text(f"{PASSWORD}\n", encoding="utf-8")
        store = PostgresStore(self.with_password(""), reactor, file)
        await store.open()
        await store.write([EVENT])
        await store.close()
        file.write_text("wrong", encoding="utf-8")
        await self.assert_refused(self.with_password(""), "password authentication failed", file)
        file.write_bytes(b"\xff")
        await self.assert_refused(self.with_password(""), f"{file}: not UTF-8", file)
        file.unlink()
        await self.assert_refused(self.with_password(""), f"{file}: No such file", file)

    async def test_a_password_from_the_environment(self) -> None:
        await self.assert_refused(self.with_password(""), "no password supplied")
        os.environ["PGPASSWORD"] = PASSWORD
        self.addCleanup(os.environ.pop, "PGPASSWORD")
        store = self.made(self.with_password(""))
        await store.open()
        await store.write([EVENT])

    async def test_a_password_from_pgpass(self) -> None:
        file = Path(self.mktemp())
        escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
        file.write_text(f"*:*:*:*:{escaped}\n", encoding="utf-8")
        file.chmod(0o600)
        store = self.made(f"{self.with_password('')}?passfile={file.absolute()}")
        await store.open()
        await store.write([EVENT])

    async def test_what_is_wrong(self) -> None:
        await self.assert_refused(self.with_password(":wrong"), "password authentication failed")
        await self.assert_refused(self.cluster.url("no_such_database"), '"no_such_database" does not exist')
        await self.assert_refused("postgresql://cmmd:s3cret@no.such.host.invalid/cmmd", "no.such.host.invalid")
        await self.assert_refused("postgresql://cmmd:s3cret@127.0.0.1:1/cmmd", "refused")
        await self.assert_refused("postgresql://cmmd:s3cret@/cmmd?host=/no/such/folder", "No such file")

    async def test_a_name_is_looked_up(self) -> None:
        store = self.made(self.url.replace("127.0.0.1", "localhost"))
        settings = Address(self.url.replace("127.0.0.1", "localhost")).resolved_settings()
        self.assertIn("127.0.0.1", settings["hostaddr"])
        self.assertEqual(settings["host"].split(",")[0], "localhost")
        self.assertEqual(settings["host"].count(","), settings["hostaddr"].count(","))
        await store.open()
        await store.write([EVENT])
        self.assertEqual(await store.events(Query()), [EVENT])

    def test_a_name_that_is_none(self) -> None:
        with self.assertRaises(OSError):
            Address(f"postgresql://{'a' * 100}/d").resolved_settings()

    async def test_a_unix_socket(self) -> None:
        if not isinstance(self.cluster, PostgresServer):
            return
        folder = self.cluster.socket_folder
        settings = Address(f"postgresql://cmmd@/{self.name}?host={folder}").resolved_settings()
        self.assertEqual((settings["host"], "hostaddr" in settings), (str(folder), False))

    def test_who_we_say_we_are(self) -> None:
        settings = Address("postgresql://h/d?application_name=other&sslmode=require&client_encoding=latin1").settings()
        self.assertEqual((settings["application_name"], settings["sslmode"]), ("other", "require"))
        self.assertEqual(settings["client_encoding"], "UTF8")
        self.assertEqual(Address("postgresql://h/d").settings()["application_name"], "cmmd")

    def test_urls_that_are_none(self) -> None:
        for url in (
            "postgresql://user:s3cr et@host/d?nonsense=s3cret",
            "postgresql://user:s3cret@host:port/d",
            "postgresql://user:1/s3cret@host/d",
            "postgresql://user:s3cret/4@host/d",
            "postgresql://user:s3cret%zz@host/d",
            "postgresql://user:s3cret%00@host/d",
            "postgresql://[s3cret/d",
            "postgresql://user:x@s3cret@host/d",
        ):
            with self.assertRaises(ValueError) as caught:
                Address(url)
            self.assertNotIn("s3cret", str(caught.exception), url)
            self.assertNotIn("\n", str(caught.exception))

    def test_names(self) -> None:
        for url, name in (
            ("postgresql://user:s3cret@host:5433/d", "postgresql://host:5433/d"),
            ("postgres://user:s3cret@host/d?password=s3cret", "postgresql://host/d"),
            ("postgresql:///d", "postgresql:///d"),
            ("postgresql://a:1,b:2/d", "postgresql://a,b:1,2/d"),
        ):
            self.patch(os, "environ", {name: value for name, value in os.environ.items() if name != "PGHOST"})
            self.assertEqual(Address(url).name, name)


class MomentTests(TestCase):
    def test_times_as_sql(self) -> None:
        for at, said in (
            (0, "1970-01-01 00:00:00.000+00"),
            (-1, "1969-12-31 23:59:59.999+00"),
            (1_709_208_000_007, "2024-02-29 12:00:00.007+00"),
            (253_402_300_800_000, "10000-01-01 00:00:00.000+00"),
            (2**53, "287396-10-12 08:59:00.992+00"),
            (-62_135_596_800_000, "0001-01-01 00:00:00.000+00"),
            (-62_135_596_800_001, "-infinity"),
            (2**63 - 1, "infinity"),
        ):
            self.assertEqual(moment(at), f"timestamptz '{said}'")


class LendingTests(TestCase):
    """Stores of the shared server that tests use one after the other."""

    async def test_a_used_one_is_like_a_new_one(self) -> None:
        new, used = (cluster().new_database() for _ in range(2))
        contents = [await self.contents(new, []), await self.contents(used, EVERYTHING)]
        self.assertNotEqual(*contents)
        cluster().execute(f"ALTER DATABASE {used.rpartition('/')[2]} SET TimeZone = 'Asia/Tokyo'")
        cluster().take_back_store(used)
        self.assertEqual(cluster().lend_store(), used)
        self.assertEqual(await self.contents(used, []), contents[0])
        self.assertNotEqual(cluster().execute("SHOW TimeZone", used), [("Asia/Tokyo",)])
        cluster().take_back_store(used)

    async def contents(self, url: str, rows: list[Row]) -> dict[str, list[Any]]:
        """Write rows to a store, and read all its tables."""
        store = PostgresStore(url, reactor)
        await store.open()
        if rows:
            await store.add_device(PLAIN)
            await store.write(rows)
            await store.claim("somebody")
        await store.close()
        tables = cluster().execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND relname <> 'schema_version'",
            url,
        )
        found = {name: sorted(cluster().execute(f"SELECT * FROM {name}", url)) for (name,) in tables}
        found["store"] = [row[1:] for row in found["store"]]  # the identity is one of its own
        return found

"""The store in PostgreSQL when the server goes, hangs, comes back, or somebody else has it."""

import os
from functools import partial
from itertools import count, pairwise
from typing import Any, cast

import psycopg2
from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import provider

from cmmd.store.interface import DuplicateDevice, StoreError, StoreUnavailable
from cmmd.store.postgres import connection, opening
from cmmd.store.postgres.errors import Rejected, Unavailable, as_store_error, one_line
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import Query, Row
from tests.postgres import PASSWORD, stoppable_server
from tests.test_store_contract import EVENT, FULL, PLAIN, READING, readings

DEADLINE_S = 180.0

CLOCK = cast("IReactorTime", reactor)


def pause(seconds: float) -> Deferred[None]:
    return deferLater(CLOCK, seconds, lambda: None)


class Outages(TestCase):
    timeout = DEADLINE_S

    def setUp(self) -> None:
        self.patch(connection, "LONGEST_PAUSE_S", 0.3)
        self.server = stoppable_server()
        self.start()
        self.url = self.database()
        self.name = self.url.rpartition("/")[2]
        self.lines: list[str] = []
        self.store = self.make()

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            self.observe(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def start(self) -> None:
        self.server.thaw()
        if not self.server.runs:
            self.server.start()

    def database(self) -> str:
        self.addCleanup(self.take_back)
        return self.server.lend_store()

    def take_back(self) -> None:
        self.start()
        self.server.take_back_store(self.url)

    def make(self, url: str = "") -> PostgresStore:
        store = PostgresStore(url or self.url, reactor)
        self.addCleanup(store.close)
        return store

    def observe(self, event: LogEvent) -> None:
        """Nothing is worth more than a debug line here: the layer above says what is the matter."""
        if event["log_level"] > LogLevel.debug and event.get("log_namespace", "").startswith(("cmmd.store", "txpost")):
            self.lines.append(formatEvent(event))

    def tearDown(self) -> None:
        self.assertEqual(self.lines, [])

    async def opened(self) -> PostgresStore:
        await self.store.open()
        await self.store.write([READING])
        await self.store.readings(Query())
        return self.store

    async def assert_away(self, call: Deferred[Any]) -> str:
        failure = await self.assertFailure(call, StoreUnavailable)
        message = str(failure)
        self.assertNotIn("\n", message)
        self.assertNotIn(PASSWORD, message)
        self.assertNotIn("s3cret", message)
        return message

    async def until_it_takes(self, store: PostgresStore, within_s: float = 20.0) -> float:
        """Seconds until it takes writes and queries again."""
        started = CLOCK.seconds()
        while True:
            try:
                await store.write([EVENT])
                await store.events(Query())
            except StoreUnavailable:
                if CLOCK.seconds() - started > within_s:
                    raise
                await pause(0.05)
            else:
                return CLOCK.seconds() - started

    async def until_written(self, store: PostgresStore, row: Row, within_s: float = 20.0) -> None:
        started = CLOCK.seconds()
        while True:
            try:
                await store.write([row])
            except StoreUnavailable:
                if CLOCK.seconds() - started > within_s:
                    raise
                await pause(0.05)
            else:
                return


class StopTests(Outages):
    async def test_stopped_while_idle(self) -> None:
        for mode in ("immediate", "fast"):
            store = await self.opened()
            self.server.stop(mode)
            await pause(0.1)
            await self.assert_away(store.write([EVENT]))
            await self.assert_away(store.readings(Query()))
            await self.assert_away(store.add_device(PLAIN))
            await self.assert_away(store.forget(10**15, 10))
            await self.assert_away(store.claim("me"))
            self.server.start()
            await self.until_it_takes(store)
            self.assertEqual(await store.readings(Query()), [READING])
            await store.close()

    async def test_stopped_during_writes(self) -> None:
        store = await self.opened()
        numbers = iter(range(2, 10**9))
        kept: list[int] = []
        failed: list[Any] = []
        going_on = True

        async def write() -> None:
            while going_on:
                rows = readings(50, first=next(numbers) * 100)
                try:
                    await store.write(rows)
                except StoreUnavailable as error:
                    failed.append(error)
                    await pause(0.02)
                else:
                    kept.extend(row.number for row in rows)

        writers = [Deferred.fromCoroutine(write()) for _ in range(4)]
        for mode in ("immediate", "fast", "kill"):
            await pause(0.3)
            if mode == "kill":
                self.server.kill()
            else:
                self.server.stop(mode)
            await pause(0.2)
            self.server.start()
            await self.until_it_takes(store)
        going_on = False
        await gatherResults(writers)
        self.assertTrue(failed)
        found = {number for (number,) in self.server.execute("SELECT number FROM reading", self.url)}
        self.assertEqual(set(kept) - found, set())
        self.assertGreater(len(kept), 100)

    async def test_one_session_is_ended(self) -> None:
        """Nobody notices when it can be had again at once."""
        store = await self.opened()
        ended = self.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cmmd'"
        )
        self.assertGreaterEqual(len(ended), 2)
        await pause(0.05)
        asked: list[Deferred[Any]] = [store.write([EVENT]), store.readings(Query()), store.events(Query())]
        await gatherResults(asked)
        self.assertEqual(await store.events(Query()), [EVENT])

    async def test_the_reactor_watches_what_nobody_else_closes(self) -> None:
        store = await self.opened()
        assert store._links is not None
        link = store._links.link
        theirs, ours = link._connection.fileno(), link.fileno()
        self.assertNotEqual(theirs, ours)
        self.assertTrue(os.path.sameopenfile(theirs, ours))
        await store.close()
        self.assertEqual(link.fileno(), -1)
        with self.assertRaises(OSError):
            os.fstat(ours)

    async def test_closed_during_an_outage(self) -> None:
        store = await self.opened()
        self.server.stop("immediate")
        asked: list[Deferred[Any]] = [store.write([EVENT]), store.write([READING])]
        await pause(0.7)  # it tries to connect, and will again
        asked.append(store.write([EVENT]))
        closed = store.close()
        for one in asked:
            await self.assert_away(one)
        await closed
        self.assertIn("not open", await self.assert_away(store.write([EVENT])))

    async def test_start_without_a_server(self) -> None:
        self.server.stop()
        self.assertIn("refused", await self.assert_away(self.store.open()))
        await self.store.close()
        self.server.start()
        await self.store.open()
        await self.store.write([EVENT])

    async def test_stopped_between_opening_and_the_first_call(self) -> None:
        await self.store.open()
        self.server.stop("immediate")
        await self.assert_away(self.store.write([EVENT]))
        self.server.start()
        await self.until_it_takes(self.store)


class AnyTimeTests(Outages):
    happenings: tuple[str, ...] = ("end", "freeze", "immediate", "end")
    """What comes over the server, one after the other."""

    async def test_anything_at_any_time(self) -> None:
        """Whatever happens to it: what was confirmed is there, once, and nothing but refusals is heard of it."""
        self.patch(connection, "PATIENCE_S", 1.0)
        self.patch(connection, "CONNECT_S", 1.0)
        store = await self.opened()
        kept: set[int] = set()
        added: dict[str, int] = {}
        going_on = True

        async def write() -> None:
            while going_on:
                rows = readings(20, first=next(numbers) * 100)
                try:
                    await store.write(rows)
                    kept.update(row.number for row in rows)
                    await store.readings(Query(limit=20, newest_first=True))
                except StoreUnavailable:
                    await pause(0.02)

        async def add() -> None:
            while going_on:
                device = replace(PLAIN, hostid=f"{len(added)}")
                try:
                    added[device.hostid] = (await store.add_device(device)).number
                except StoreUnavailable:
                    await pause(0.02)

        numbers = count(2)
        working = [Deferred.fromCoroutine(one) for one in (write(), write(), add())]
        end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cmmd'"
        for what in self.happenings:
            await pause(0.25)
            if what == "end":
                await deferToThread(self.server.execute, end_sessions)
            elif what == "freeze":
                self.server.freeze()
                await pause(1.2)
                self.server.thaw()
            else:
                await deferToThread(self.server.kill if what == "kill" else partial(self.server.stop, what))
                await pause(0.2)
                await deferToThread(self.server.start)
        going_on = False
        await gatherResults(working)
        await self.until_it_takes(store)
        await store.close()
        there = {device.hostid: device.number for device in (await store.open()).devices}
        self.assertEqual({hostid: there[hostid] for hostid in added}, added)
        found = {number for (number,) in self.server.execute("SELECT number FROM reading", self.url)}
        self.assertEqual(kept - found, set())
        self.assertTrue(kept)


class HangTests(Outages):
    """It is there and says nothing: a frozen machine, a network that swallows all."""

    def be_impatient(self, patience_s: float = 0.5) -> None:
        self.patch(connection, "PATIENCE_S", patience_s)
        self.patch(connection, "CONNECT_S", patience_s)

    async def test_calls_end_in_time_and_the_reactor_goes_on(self) -> None:
        self.be_impatient(1.0)
        store = await self.opened()
        self.server.freeze()
        ticks: list[float] = []
        asked: list[Deferred[Any]] = [
            store.write([EVENT]),
            store.readings(Query()),
            store.readings(Query()),
            store.readings(Query()),
        ]
        while not all(one.called for one in asked):
            ticks.append(CLOCK.seconds())
            await pause(0.01)
        self.assertLess(max(after - before for before, after in pairwise(ticks)), 0.7)
        self.assertIn("no answer within", await self.assert_away(asked[0]))
        for one in asked[1:]:
            await self.assert_away(one)
        await pause(2.0)
        self.assertIn("no connection within", await self.assert_away(store.write([EVENT])))
        self.server.thaw()
        await self.until_it_takes(store)
        self.assertEqual(await store.readings(Query()), [READING])

    async def test_closed_while_it_hangs(self) -> None:
        self.be_impatient()
        store = await self.opened()
        self.server.freeze()
        asked: list[Deferred[Any]] = [store.write([EVENT]), store.readings(Query())]
        closed: list[Deferred[Any]] = [store.close(), store.close()]
        await gatherResults([*closed, *map(self.assert_away_later, asked)])

    def assert_away_later(self, call: Deferred[Any]) -> Deferred[str]:
        return Deferred.fromCoroutine(self.assert_away(call))

    async def test_a_large_batch_into_a_server_that_hangs(self) -> None:
        self.be_impatient()
        store = await self.opened()
        self.server.freeze()
        large = [replace(row, image=bytes(100_000)) for row in readings(100, first=2)]
        await self.assert_away(store.write(large))
        self.server.thaw()
        await self.until_it_takes(store)
        await store.write(large[:3])

    async def test_opening_does_not_wait_for_ever(self) -> None:
        self.patch(opening, "CONNECT_S", 1)
        self.server.freeze()
        started = CLOCK.seconds()
        await self.assert_away(self.store.open())
        await pause(0)
        await self.assert_away(self.store.open())  # in a thread, as the reactor runs
        self.assertLess(CLOCK.seconds() - started, DEADLINE_S)

    async def test_opening_what_is_locked(self) -> None:
        self.patch(opening, "READ_S", 0.5)
        await self.store.open()
        await self.store.close()
        other = psycopg2.connect(self.url)
        self.addCleanup(other.close)
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE store")
        self.assertIn("no answer within 0.5 s", await self.assert_away(self.store.open()))
        other.rollback()
        await self.store.open()

    async def test_a_statement_that_takes_too_long(self) -> None:
        """The server gives it up, and the connection stays."""
        store = await self.opened()
        (pid,) = self.writer_pids()
        other = self.in_the_way()
        assert store._links is not None
        await store._links.link.runQuery("SET statement_timeout = '200ms'")
        self.assertIn("too long", await self.assert_away(store.write([EVENT])))
        await store.write([replace(READING, number=2)])
        other.rollback()
        await store.write([EVENT])
        self.assertEqual(self.writer_pids(), [pid])

    def in_the_way(self) -> Any:
        """A transaction for whose end our write of EVENT has to wait."""
        other = psycopg2.connect(self.url)
        self.addCleanup(other.close)
        with other.cursor() as cursor:
            cursor.execute("INSERT INTO event VALUES (1, now(), '', '', '{}')")
        return other

    def writer_pids(self) -> list[int]:
        found = self.server.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted", self.url)
        return [pid for (pid,) in found]

    async def test_a_session_that_was_cut_off_makes_room(self) -> None:
        """The server does not know yet that we have closed the connection: we end what is left of it."""
        store = await self.opened()
        (pid,) = self.writer_pids()
        self.in_the_way()
        self.patch(connection, "PATIENCE_S", 0.3)
        await self.assert_away(store.write([EVENT]))
        self.patch(connection, "PATIENCE_S", 5.0)
        await self.until_written(store, replace(READING, number=2), within_s=6.0)
        self.assertNotEqual(self.writer_pids(), [pid])


class LockTests(Outages):
    async def test_another_one_writes(self) -> None:
        self.patch(opening, "LOCK_PATIENCE_S", 0.3)
        await self.opened()
        other = self.make()
        failure = await self.assertFailure(other.open(), StoreError)
        self.assertNotIsInstance(failure, StoreUnavailable)
        self.assertRegex(
            str(failure), r"another cmmd writes to it: server process \d+, connected from 127.0.0.1 since 20"
        )
        await self.store.write([EVENT])
        await self.store.close()
        await other.open()
        await other.write([EVENT])

    async def test_one_that_goes_makes_room(self) -> None:
        await self.opened()
        other = self.make()
        CLOCK.callLater(0.5, self.store.close)
        await pause(0)
        await other.open()
        await other.write([EVENT])

    async def test_another_one_has_been_here_since(self) -> None:
        store = await self.opened()
        self.server.stop("immediate")
        self.server.start()
        self.server.execute("UPDATE store SET openings = openings + 1", self.url)  # before we are back
        for _ in range(2):
            await pause(0.5)
            message = await self.assert_away(store.write([EVENT]))
            self.assertIn("another cmmd has written to it since; start cmmd again", message)
        self.assertEqual(await store.events(Query()), [])
        await store.close()
        await store.open()
        await store.write([replace(EVENT, number=2)])

    async def test_two_that_opened_before_either_wrote(self) -> None:
        other = self.make()
        await self.store.open()
        await other.open()
        await other.write([EVENT])
        await self.assert_away(self.store.write([EVENT]))


class LostAnswerTests(Outages):
    async def test_a_device_whose_addition_was_not_confirmed(self) -> None:
        """It is there; to add it again must not find it there."""
        store = await self.opened()
        await store.add_device(FULL)
        assert store._links is not None
        link = store._links.link
        run_query = link.runQuery

        def lose_the_answer(query: bytes, *more: Any) -> Deferred[Any]:
            link.runQuery = run_query  # type: ignore[method-assign]
            return run_query(query, *more).addCallback(lambda _: (_ for _ in ()).throw(StoreUnavailable("lost")))

        link.runQuery = lose_the_answer  # type: ignore[method-assign,assignment]
        await self.assert_away(store.add_device(PLAIN))
        changed = replace(PLAIN, hostname="new")
        added = await store.add_device(changed)
        self.assertEqual(added, replace(changed, number=2))
        await self.assertFailure(store.add_device(PLAIN), DuplicateDevice)
        await store.close()
        self.assertEqual((await store.open()).devices, [replace(FULL, number=1), added])


class OtherTroubleTests(Outages):
    def database(self) -> str:
        """Make one that is not used again: these tests spoil it."""
        self.addCleanup(self.start)
        return self.server.new_database()

    async def test_read_only(self) -> None:
        store = await self.opened()
        name = self.name
        self.server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        assert store._links is not None
        await store._links.link.runQuery("SET default_transaction_read_only = on")
        self.assertIn("read-only", await self.assert_away(store.write([EVENT])))
        await store._links.link.runQuery("SET default_transaction_read_only = off")
        await store.write([EVENT])

    async def test_too_many_connections(self) -> None:
        name = self.name
        self.server.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 1; CREATE ROLE plain_{name} LOGIN PASSWORD 'x'")
        self.server.execute(f"ALTER DATABASE {name} OWNER TO plain_{name}")
        store = self.make(f"postgresql://plain_{name}:x@127.0.0.1:{self.server.port}/{name}")
        await store.open()
        await self.until_written(store, EVENT)  # the session that opened it needs a moment to go
        self.assertIn("too many connections", await self.assert_away(store.events(Query())))
        await store.write([READING])
        await store.close()

    async def test_a_table_that_is_gone(self) -> None:
        store = await self.opened()
        self.server.execute("DROP TABLE event", self.url)
        self.assertIn('relation "event" does not exist', await self.assert_away(store.write([EVENT])))
        self.assertIn('relation "event" does not exist', await self.assert_away(store.events(Query())))
        await store.write([READING])


class ErrorTests(SynchronousTestCase):
    """What is the values' fault, and what is not."""

    def meaning(self, sqlstate: str | None) -> tuple[type, str]:
        error = type("Error", (psycopg2.Error,), {"pgcode": sqlstate})("\n  something\nLINE 1: ...\n")
        found = as_store_error(error, "it")
        return type(found), str(found)

    def test_codes(self) -> None:
        for sqlstate in ("22003", "22P05", "23502", "23505", "23514", "54000"):
            self.assertEqual(self.meaning(sqlstate), (Rejected, "it: something"))
        for other in (
            *("53100", "53200", "53300", "57P01", "57P02", "57P03", "57014", "25006", "42501", "42P01", "40P01"),
            *("55P03", "58030", "XX000", None),
        ):
            self.assertEqual(self.meaning(other), (Unavailable, "it: something"))

    def test_one_line(self) -> None:
        self.assertEqual(one_line(psycopg2.Error()), "Error")
        self.assertEqual(one_line(OSError(2, "No such file or directory", "/a")), "/a: No such file or directory")
        self.assertEqual(one_line(OSError(111, "Connection refused")), "Connection refused")

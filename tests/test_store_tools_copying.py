"""Copies of stores: everything comes over, whatever interrupts it; what is not the same is named; what is refused."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from cmmd.store.interface import MOST_A_PAGE, IStore, Snapshot, StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.postgres.sessions import WHO_HOLDS_IT
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import Alarm, Command, Cursor, Detail, Event, Numbers, Outcome, Query, Reading, Row
from cmmd.store.sqlite.store import SQLiteStore
from cmmd.store.tools import copying
from cmmd.store.tools.copying import Copied, CopyRefused, Step, copy, source_of
from tests.postgres import cluster
from tests.test_store_contract import (
    ALARM,
    COMMAND,
    EVENT,
    FULL,
    FULL_ALARM,
    FULL_COMMAND,
    FULL_EVENT,
    FULL_READING,
    FULL_UPLOAD,
    PLAIN,
    PROFILE,
    READING,
    UPLOAD,
)

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object  # trial would run these themselves

SMALL_PAGE = 7
FORGOTTEN = Numbers(reading=2**53 + 5, alarm=500, event=600, command=700)
"""The highest numbers, of rows that are not there any more."""

POINTS = (0.1, None, -0.0, 3.0, 1e30, -1e-40, 65535.0, 16777217.0)


def rows(many: int) -> list[Row]:
    """Everything that there can be, and so many of what there are many of: several of a time, and some out of order."""
    outcomes: Sequence[Outcome | None] = (*get_args(Outcome), None)
    profiles: list[Row] = [replace(PROFILE, number=number, points=PROFILE.points * number) for number in (12, 1, 7)]
    devices: list[Row] = [
        replace(FULL, number=9),
        replace(PLAIN, number=3),
        replace(PLAIN, number=4, hostid="電話 'é'"),
    ]
    readings: list[Row] = [
        replace(READING, number=n, at=1000 * (n // 3) - 5 * (n % 2), hostid="AB"[n % 2], points=POINTS[: n % 9])
        for n in range(1, many)
    ]
    alarms: list[Row] = [
        replace(ALARM if n % 3 else FULL_ALARM, number=n, raised_at=n // 2 - 7, title=f"Öl {n}") for n in range(1, many)
    ]
    commands: list[Row] = [
        replace(
            FULL_COMMAND if outcomes[n % 6] else COMMAND,
            number=n,
            accepted_at=n // 4,
            outcome=outcomes[n % 6],
            confirmed=(True, False, None)[n % 3],
        )
        for n in range(1, many)
    ]
    events: list[Row] = [replace(FULL_EVENT if n % 2 else EVENT, number=n, at=n // 5) for n in range(1, many)]
    numbers: dict[str, Detail] = {
        "zero": 0.0,
        "whole": 3.0,
        "large": 1e16,
        "larger": 1e300,
        "small": -2.5e-8,
        "a": 1,
        "": "",
        "true": True,
    }
    last = replace(EVENT, number=many, details=numbers)
    return [
        *(*profiles, *devices, UPLOAD, FULL_UPLOAD, *readings, FULL_READING, *alarms, *commands, *events),
        *(last, FORGOTTEN),
    ]


class _Proxy:
    """A store before another one."""

    def __init__(self, store: IStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Failing(_Proxy):
    """Fails at the nth write: before it is carried out, or when it has been."""

    def __init__(self, store: IStore, writes: int, *, carried_out: bool) -> None:
        super().__init__(store)
        self.left = writes
        self._carried_out = carried_out

    async def _fail(self, rows: Sequence[Row]) -> None:
        if self._carried_out:
            await self._store.write(rows)
        raise StoreUnavailable("gone")

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        self.left -= 1
        return Deferred.fromCoroutine(self._fail(rows)) if self.left < 0 else self._store.write(rows)


class Changing(_Proxy):
    """Writes something else than it is given."""

    def __init__(self, store: IStore, change: Callable[[Row], list[Row]]) -> None:
        super().__init__(store)
        self._change = change

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        return self._store.write([changed for row in rows for changed in self._change(row)])


def proxy(store: _Proxy) -> IStore:
    return cast("IStore", store)


class Copies(_Base):
    """Copy between two stores that do not exist yet; a mixin for the tests of each pair."""

    make_source: Callable[[], IStore]
    make_target: Callable[[], IStore]
    every = 1
    """At which of all places something happens in a test: where a copy takes long, not at each."""
    page_sizes: tuple[int, ...] = (SMALL_PAGE, MOST_A_PAGE)

    def small_pages(self) -> None:
        self.patch(copying, "MOST_A_PAGE", SMALL_PAGE)

    async def filled(self, some: Sequence[Row]) -> IStore:
        store = self.make_source()
        await self.put(store, some)
        return store

    async def put(self, store: IStore, some: Sequence[Row]) -> None:
        await store.open()
        await store.write(some)
        await store.close()

    async def all_of(self, store: IStore) -> tuple[Snapshot, list[Any]]:
        """Everything that a store has."""
        kept = await store.open()
        kept.uploads.sort(key=lambda upload: upload.hostid)
        found: list[Any] = []
        finds: list[tuple[Any, Callable[[Any], int]]] = [
            (store.readings, lambda one: one.at),
            (store.alarms, lambda one: one.raised_at),
            (store.events, lambda one: one.at),
            (store.commands, lambda one: one.accepted_at),
        ]
        for find, at in finds:
            page = await find(Query(limit=MOST_A_PAGE))
            while page:
                found += page
                page = await find(Query(limit=MOST_A_PAGE, after=Cursor(at(page[-1]), page[-1].number)))
        await store.close()
        return kept, found

    async def assert_copy(self, source: IStore, target: IStore) -> None:
        """The target has what the source has, and everybody may use it."""
        (kept, found), (there, copied) = await self.all_of(source), await self.all_of(target)
        self.assertEqual(copied, found)
        self.assertEqual(there, replace(kept, identity=there.identity, writer=""))
        self.assertNotEqual(there.identity, kept.identity)

    async def copied(self, source: IStore, target: IStore) -> Copied:
        return await copy(source, target, lambda _: None)

    async def refused(self, source: IStore, target: IStore, why: str) -> None:
        before = await self.all_of(target)
        failure = await self.assertFailure(Deferred.fromCoroutine(self.copied(source, target)), CopyRefused)
        self.assertIn(why, str(failure))
        self.assertEqual(await self.all_of(target), before)


class RoundTrips(Copies):
    """Copy everything there and back, with one interruption: what each pair of stores has to show."""

    async def test_everything(self) -> None:
        source, target = await self.filled(rows(2 * MOST_A_PAGE + 3)), self.make_target()
        copied = await self.copied(source, target)
        self.assertEqual([one.difference for one in copied.kinds], [None] * 8)
        self.assertEqual((copied.same, copied.continued), (True, False))
        counts = {one.kind: one.target for one in copied.kinds}
        timed = {"alarms": 2002, "commands": 2002, "events": 2003, "readings": 2003}
        self.assertEqual(counts, {"numbers": 1, "profiles": 3, "devices": 3, "uploads": 2, **timed})
        for one in copied.kinds:
            self.assertEqual((one.source, one.source_hash), (one.target, one.target_hash))
        await self.assert_copy(source, target)

    async def test_and_back(self) -> None:
        source, target = await self.filled(rows(20)), self.make_target()
        first = await self.copied(source, target)
        back = MemoryStore()
        again = await self.copied(target, back)
        self.assertEqual(again.kinds, first.kinds)
        await self.assert_copy(source, back)

    async def test_copy_of_another(self) -> None:
        source, other, target = await self.filled(rows(5)), await self.filled(rows(6)), self.make_target()
        failing = proxy(Failing(target, 5, carried_out=True))
        await self.assertFailure(Deferred.fromCoroutine(self.copied(source, failing)), StoreUnavailable)
        await self.refused(other, target, "of another store")
        await self.refused(target, self.make_target(), "an unfinished copy itself")
        self.assertTrue((await self.copied(source, target)).same)


class Places(Copies):
    """Interrupt a copy at each place."""

    async def test_interrupted_at_each_batch(self) -> None:
        self.small_pages()
        source = await self.filled(rows(2 * SMALL_PAGE + 2))
        identity = (await self.all_of(source))[0].identity
        writes = 0
        for writes in count(0, self.every):
            target = self.make_target()
            failing = Failing(target, writes, carried_out=bool(writes % 2))
            try:
                await self.copied(source, proxy(failing))
            except StoreUnavailable:
                pass
            else:
                break
            there = await target.open()
            await target.close()
            self.assertEqual(source_of(there.writer), identity)
            copied = await self.copied(source, target)
            self.assertEqual((copied.same, copied.continued), (True, writes > 0))
            await self.assert_copy(source, target)
        self.assertIn(writes - (1 + 3 + 4 * 3), range(self.every))

    async def test_cancelled_at_each_step(self) -> None:
        self.small_pages()
        source = await self.filled(rows(SMALL_PAGE + 2))
        for steps in count(1, self.every):
            target = self.make_target()
            told: list[Step] = []
            running: list[Deferred[Copied]] = []

            def tell(step: Step, steps: int = steps, told: list[Step] = told, running: Any = running) -> None:
                told.append(step)
                if len(told) == steps:
                    cast("Any", reactor).callLater(0, running[0].cancel)

            running.append(Deferred.fromCoroutine(later(copy(source, target, tell))))
            try:
                copied = await running[0]
            except CancelledError:
                copied = await self.copied(source, target)
            self.assertTrue(copied.same)
            await self.assert_copy(source, target)
            if len(told) < steps:
                break


class Mishaps(Copies):
    """Copy what changes, differs or is refused."""

    async def test_nothing(self) -> None:
        source, target = self.make_source(), self.make_target()
        copied = await self.copied(source, target)
        self.assertTrue(copied.same)
        await self.assert_copy(source, target)

    async def test_numbers_come_first(self) -> None:
        source, target = await self.filled(rows(5)), self.make_target()
        await self.assertFailure(
            Deferred.fromCoroutine(self.copied(source, proxy(Failing(target, 1, carried_out=False)))), StoreUnavailable
        )
        self.assertEqual((await target.open()).numbers, FORGOTTEN)
        await target.close()

    async def test_source_that_was_used_in_between(self) -> None:
        self.small_pages()
        source, target = await self.filled(rows(20)), self.make_target()
        failing = proxy(Failing(target, 14, carried_out=True))
        await self.assertFailure(Deferred.fromCoroutine(self.copied(source, failing)), StoreUnavailable)
        changes: list[Row] = [
            replace(FULL, number=9, hostname="new"),
            replace(PLAIN, number=10, hostid="C"),
            replace(UPLOAD, upload=99),
            replace(ALARM, number=1, cleared_at=5),
            replace(ALARM, number=900),
            replace(FULL_COMMAND, number=5, accepted_at=1, outcome="lost"),
            replace(READING, number=2**53 + 9, at=2**53),
            replace(EVENT, number=901, at=2**53),
        ]
        await self.put(source, changes)
        copied = await self.copied(source, target)
        self.assertEqual((copied.same, copied.continued), (True, True))
        await self.assert_copy(source, target)

    # --- what is told ------------------------------------------------------------------------------------------------

    async def test_steps(self) -> None:
        source, target = await self.filled(rows(MOST_A_PAGE + 2)), self.make_target()
        steps: list[Step] = []
        await copy(source, target, steps.append)
        self.assertLessEqual(max(step.records for step in steps), MOST_A_PAGE)
        for phase in ("copying", "comparing"):
            for kind, records in (("devices", 3), ("readings", MOST_A_PAGE + 2), ("commands", MOST_A_PAGE + 1)):
                told = [step.records for step in steps if (step.phase, step.kind) == (phase, kind)]
                self.assertEqual(sum(told), records)

    async def test_differences(self) -> None:
        def missing(row: Row) -> list[Row]:
            return [] if isinstance(row, Event) and row.number == 10 else [row]

        def more(row: Row) -> list[Row]:
            return [row, replace(row, number=800)] if isinstance(row, Alarm) and row.number == 10 else [row]

        def changed(row: Row) -> list[Row]:
            if isinstance(row, Reading) and row.number == 13:
                return [replace(row, points=(0.1000001, *row.points[1:]), inputs=3)]
            if isinstance(row, Command) and row.number == 13:
                return [replace(row, reply="other")]
            return [row]

        def other_device(row: Row) -> list[Row]:
            return [replace(row, hostname="x")] if row == replace(PLAIN, number=3) else [row]

        def no_upload(row: Row) -> list[Row]:
            return [] if row == UPLOAD else [row]

        def raised(row: Row) -> list[Row]:
            return [replace(row, alarm=row.alarm + 1)] if isinstance(row, Numbers) else [row]

        cases: list[tuple[Callable[[Row], list[Row]], dict[str, str]]] = [
            (missing, {"events": "number 10 is missing"}),
            (more, {"alarms": "number 800 should not be there", "numbers": "it differs in alarm"}),
            (changed, {"readings": "number 13 differs in inputs, points", "commands": "number 13 differs in reply"}),
            (other_device, {"devices": "number 3 differs in hostname"}),
            (no_upload, {"uploads": "A is missing"}),
            (raised, {"numbers": "it differs in alarm"}),
        ]
        source = await self.filled(rows(20))
        for page in self.page_sizes:
            self.patch(copying, "MOST_A_PAGE", page)
            for change, differences in cases:
                target = self.make_target()
                copied = await self.copied(source, proxy(Changing(target, change)))
                self.assertEqual(
                    {one.kind: one.difference for one in copied.kinds if one.difference is not None}, differences
                )
                self.assertFalse(copied.same)
                for one in copied.kinds:
                    self.assertEqual(one.source_hash != one.target_hash, one.difference is not None)
                self.assertIsNotNone(source_of((await target.open()).writer))
                await target.close()

    async def test_lost_at_the_end(self) -> None:
        """What is missing behind everything else is brought by the same again."""
        source, target = await self.filled(rows(20)), self.make_target()

        def cut(row: Row) -> list[Row]:
            return [] if row == FULL_READING else [row]

        copied = await self.copied(source, proxy(Changing(target, cut)))
        named = {one.kind: one.difference for one in copied.kinds if one.difference is not None}
        self.assertEqual(named, {"readings": f"number {2**53} is missing"})
        self.assertTrue((await self.copied(source, target)).same)

    # --- what is refused ---------------------------------------------------------------------------------------------

    async def test_not_empty(self) -> None:
        source = await self.filled(rows(5))
        some: list[Row] = [replace(PLAIN, number=1), PROFILE, UPLOAD, READING, ALARM, EVENT, COMMAND, Numbers(event=1)]
        for row in some:
            target = self.make_target()
            await self.put(target, [row])
            await self.refused(source, target, "not empty")

    async def test_copied_already(self) -> None:
        source, target = await self.filled(rows(5)), self.make_target()
        await self.copied(source, target)
        await self.refused(source, target, "not empty")

    async def test_itself(self) -> None:
        store = await self.filled(rows(5))
        await self.refused(store, store, "the same store")


async def later(copying: Any) -> Any:
    """Begin in the next turn of the reactor, when who wants to cancel it knows it."""
    turn: Deferred[None] = Deferred()
    cast("Any", reactor).callLater(0, turn.callback, None)
    await turn
    return await copying


class Makes(TestCase):
    """Make the stores of each kind."""

    timeout = 300

    def new_memory(self) -> IStore:
        return MemoryStore()

    def new_sqlite(self) -> IStore:
        store = SQLiteStore(Path(self.mktemp()), cast("IReactorFromThreads", reactor))
        self.addCleanup(store.close)
        return store

    def new_postgres(self) -> IStore:
        url = cluster().lend_store()
        self.addCleanup(cluster().take_back_store, url)
        store = PostgresStore(url, reactor)
        self.addCleanup(store.close)
        return store


class MemoryToMemory(RoundTrips, Places, Mishaps, Makes):
    def setUp(self) -> None:
        self.make_source = self.make_target = self.new_memory


class MemoryToSQLite(RoundTrips, Makes):
    def setUp(self) -> None:
        self.make_source, self.make_target = self.new_memory, self.new_sqlite


class SQLiteToSQLite(RoundTrips, Places, Mishaps, Makes):
    every = 4

    def setUp(self) -> None:
        self.make_source = self.make_target = self.new_sqlite


class SQLiteToPostgres(RoundTrips, Makes):
    def setUp(self) -> None:
        self.make_source, self.make_target = self.new_sqlite, self.new_postgres


class PostgresToSQLite(RoundTrips, Makes):
    def setUp(self) -> None:
        self.make_source, self.make_target = self.new_postgres, self.new_sqlite

    async def test_nobody_else_writes_to_the_source(self) -> None:
        url = cluster().lend_store()
        self.addCleanup(cluster().take_back_store, url)
        source = PostgresStore(url, reactor)
        await self.put(source, rows(5))
        held: list[bool] = []
        await copy(source, self.new_sqlite(), lambda _: held.append(bool(cluster().execute(WHO_HOLDS_IT, url))))
        self.assertGreater(len(held), 10)
        self.assertTrue(all(held))
        self.assertEqual(cluster().execute(WHO_HOLDS_IT, url), [])


class PostgresToPostgres(RoundTrips, Makes):
    def setUp(self) -> None:
        self.make_source = self.make_target = self.new_postgres

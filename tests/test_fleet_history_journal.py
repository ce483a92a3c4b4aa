"""The journal: batches by time and number, in order; what happens when the store is away."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.history import journal
from cmmd.fleet.history.journal import BATCH_S, FIRST_RETRY_S, LONGEST_RETRY_S, MOST_IN_BATCH, RECORD_S, Journal
from cmmd.store.interface import StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Alarm, Event, LastUpload, ProfileVersion, Reading, Row
from tests.support import Longest


def event(number: int) -> Event:
    return Event(number=number, at=number, hostid="A", kind="online", details={})


def reading(number: int) -> Reading:
    return Reading(number=number, hostid="A", at=number, reason="first", profile=1, image=b"\1", points=())


def alarm(number: int, raised_at: int) -> Alarm:
    return Alarm(number=number, hostid="A", signal="x", title="X", severity="warning", raised_at=raised_at)


def last(hostid: str, upload: int) -> LastUpload:
    return LastUpload(hostid=hostid, upload=upload, at=0, unit=None, kept_at=None, image=b"\1")


class Recorder(MemoryStore):
    """Notes what is written, and does what the test says.

    :ivar held: batches that wait; None: they do not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Row]] = []
        self.held: list[Deferred[None]] | None = None
        self.error: Exception | None = None
        self.poison: Row | None = None

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        self.batches.append(list(rows))
        written: Deferred[None] = Deferred()
        if self.error is not None:
            written.errback(self.error)
        elif self.poison in rows:
            written.errback(TypeError("poison"))
        elif self.held is not None:
            self.held.append(written)
        else:
            return succeed(None)
        return written


class JournalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Recorder()
        self.journal = Journal(self.store, self.clock, Longest())

    def numbers(self) -> list[list[int]]:
        return [
            [getattr(row, "upload" if isinstance(row, LastUpload) else "number") for row in batch]
            for batch in self.store.batches
        ]

    def test_what_comes_within_a_moment_goes_together(self) -> None:
        durable = [self.journal.add_durable(reading(1))]
        self.clock.advance(BATCH_S / 2)
        self.journal.add(event(2))
        durable.append(self.journal.add_durable(reading(3)))
        self.assertEqual((self.numbers(), len(self.journal)), ([], 3))
        self.assertNoResult(durable[0])
        self.clock.advance(BATCH_S / 2)
        self.assertEqual((self.numbers(), len(self.journal)), ([[1, 2, 3]], 0))
        for one in durable:
            self.successResultOf(one)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_full_batch_goes_at_once(self) -> None:
        for number in range(MOST_IN_BATCH):
            self.journal.add(event(number))
        self.assertEqual(self.numbers(), [list(range(MOST_IN_BATCH))])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_batch_at_a_time(self) -> None:
        self.store.held = []
        for number in range(MOST_IN_BATCH * 2 + 10):
            self.journal.add(event(number))
        self.assertEqual(len(self.store.batches), 1)
        self.clock.advance(10)
        self.assertEqual(len(self.store.batches), 1)
        self.store.held.pop().callback(None)
        self.assertEqual(list(map(len, self.store.batches)), [MOST_IN_BATCH] * 2)
        self.store.held.pop().callback(None)
        self.assertEqual(len(self.store.batches), 2, "the rest waits for others")
        self.clock.advance(BATCH_S)
        self.assertEqual([number for batch in self.numbers() for number in batch], list(range(MOST_IN_BATCH * 2 + 10)))

    def test_how_long_the_store_takes_is_measured(self) -> None:
        self.store.held = []
        self.journal.add(event(1))
        self.clock.advance(BATCH_S)
        self.clock.advance(0.25)
        self.assertEqual(sum(self.journal.write_seconds.counts), 0)
        self.store.held.pop().errback(StoreUnavailable("away"))
        seconds = self.journal.write_seconds
        self.assertEqual((sum(seconds.counts), round(seconds.total, 6)), (1, 0.25))

    def test_durable_when_the_store_says_so(self) -> None:
        self.store.held = []
        durable = self.journal.add_durable(reading(1))
        self.clock.advance(BATCH_S)
        self.assertNoResult(durable)
        self.store.held.pop().callback(None)
        self.successResultOf(durable)

    def test_recorded_when_all_that_came_before_is_durable(self) -> None:
        self.assertTrue(self.successResultOf(self.journal.recorded()))
        self.store.held = []
        self.journal.add(alarm(1, 1))
        first = self.journal.recorded()
        self.assertEqual(self.numbers(), [[1]], "at once")
        self.journal.add(alarm(1, 2))
        self.journal.add(event(2))
        second = self.journal.recorded()
        self.assertNoResult(first)
        self.store.held.pop().callback(None)
        self.assertTrue(self.successResultOf(first))
        self.assertNoResult(second)
        self.assertEqual(self.numbers()[1:], [[2, 1]], "directly behind it")
        self.journal.add(event(3))
        self.store.held.pop().callback(None)
        self.assertTrue(self.successResultOf(second), "what came later does not count")
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() > BATCH_S], [])

    def test_recorded_behind_what_one_who_was_told_has_added(self) -> None:
        self.store.held = []
        second: list[Deferred[bool]] = []

        def add(recorded: bool) -> bool:
            self.journal.add(event(2))
            second.append(self.journal.recorded())
            return recorded

        self.journal.add(event(1))
        first = self.journal.recorded().addCallback(add)
        self.store.held.pop().callback(None)
        self.assertTrue(self.successResultOf(first))
        self.assertEqual(self.numbers(), [[1], [2]], "directly behind it")
        self.assertNoResult(second[0])
        self.store.held.pop().callback(None)
        self.assertTrue(self.successResultOf(second[0]))

    def test_recorded_counts_what_was_replaced(self) -> None:
        """A row that waits, and is replaced by a newer one, is durable when that is."""
        self.store.held = []
        self.journal.add(event(1))
        self.clock.advance(BATCH_S)
        self.journal.add(alarm(7, 1))
        recorded = self.journal.recorded()
        self.journal.add(alarm(7, 2))
        self.store.held.pop().callback(None)
        self.assertNoResult(recorded)
        self.store.held.pop().callback(None)
        self.assertTrue(self.successResultOf(recorded))
        self.assertEqual(self.numbers(), [[1], [7]])

    def test_recorded_behind_many(self) -> None:
        self.store.held = []
        for number in range(3 * MOST_IN_BATCH):
            self.journal.add(event(number))
        recorded = self.journal.recorded()
        for _ in range(3):
            self.assertNoResult(recorded)
            self.store.held.pop().callback(None)
        self.assertTrue(self.successResultOf(recorded))

    def test_not_recorded_where_the_store_is_away_or_hangs(self) -> None:
        self.store.held = []
        self.journal.add(event(1))
        hanging = self.journal.recorded()
        self.clock.advance(RECORD_S)
        self.assertFalse(self.successResultOf(hanging))
        self.journal.add(alarm(1, 1))
        self.assertFalse(self.successResultOf(self.journal.recorded()), "that is known")
        self.store.held.pop().errback(StoreUnavailable("away"))
        self.assertFalse(self.successResultOf(self.journal.recorded()))
        self.store.held = None
        self.clock.advance(LONGEST_RETRY_S)
        self.assertTrue(self.successResultOf(self.journal.recorded()))
        self.assertEqual([sorted(batch) for batch in self.numbers()[1:]], [[1, 1]])
        self.store.held = []
        self.journal.add(alarm(1, 2))
        refused = self.journal.recorded()
        self.store.held.pop().errback(StoreUnavailable("away"))
        self.assertFalse(self.successResultOf(refused))

    def test_recorded_where_an_older_row_waits_for_the_store(self) -> None:
        """The newer one that has come meanwhile takes over its place: who waits for the older one waits for it."""
        self.store.held = []
        self.journal.add(alarm(1, 1))
        self.clock.advance(BATCH_S)
        self.journal.add(alarm(2, 1))
        self.journal.add(alarm(1, 2))
        self.store.held.pop().errback(StoreUnavailable("away"))
        self.store.held = None
        self.clock.advance(LONGEST_RETRY_S)
        self.assertEqual(self.numbers(), [[1], [1, 2]])
        self.assertTrue(self.successResultOf(self.journal.recorded()))

    def test_never_recorded(self) -> None:
        """A row that no store can take; and an event for which there is no room."""
        self.store.held = []
        self.store.poison = event(2)
        self.journal.add(event(1))
        before = self.journal.recorded()
        self.journal.add(event(2))
        itself = self.journal.recorded()
        self.store.held.pop().callback(None)
        self.assertTrue(self.successResultOf(before))
        self.assertFalse(self.successResultOf(itself))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.patch(journal, "MOST_WAITING", 0)
        self.journal.add(event(3))
        self.assertFalse(self.successResultOf(self.journal.recorded()))

    def test_drain(self) -> None:
        self.successResultOf(self.journal.drain())
        self.store.held = []
        for number in range(MOST_IN_BATCH + 1):
            self.journal.add(event(number))
        drained = self.journal.drain()
        self.store.held.pop().callback(None)
        self.assertNoResult(drained)
        self.store.held.pop().callback(None)
        self.successResultOf(drained)
        self.assertEqual(list(map(len, self.store.batches)), [MOST_IN_BATCH, 1])

    def test_the_store_is_away(self) -> None:
        """Readings are refused at once; the rest is kept, in order, and written when it is back."""
        self.store.error = StoreUnavailable("disk full")
        self.journal.add(event(1))
        durable = self.journal.add_durable(reading(2))
        self.journal.add(event(3))
        self.clock.advance(BATCH_S)
        self.failureResultOf(durable, StoreUnavailable)
        self.assertFalse(self.journal.up)
        self.failureResultOf(self.journal.add_durable(reading(4)), StoreUnavailable)
        self.journal.add(event(5))
        self.clock.advance(FIRST_RETRY_S)
        self.assertEqual(self.numbers(), [[1, 2, 3], [1, 3, 5]])
        self.store.error = None
        self.clock.advance(FIRST_RETRY_S)
        self.assertFalse(self.journal.up, "attempts become rarer")
        self.clock.advance(FIRST_RETRY_S)
        self.assertTrue(self.journal.up)
        self.assertEqual(self.numbers()[2:], [[1, 3, 5]])
        durable = self.journal.add_durable(reading(6))
        self.clock.advance(BATCH_S)
        self.successResultOf(durable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_back_though_nothing_waits(self) -> None:
        """All that was refused were readings: nothing is left to try with."""
        self.store.error = StoreUnavailable("disk full")
        durable = self.journal.add_durable(reading(1))
        self.clock.advance(BATCH_S)
        self.failureResultOf(durable, StoreUnavailable)
        self.clock.advance(FIRST_RETRY_S)
        self.assertFalse(self.journal.up, "it is still away")
        self.store.error = None
        self.clock.advance(FIRST_RETRY_S)
        self.assertFalse(self.journal.up, "attempts become rarer")
        self.clock.advance(FIRST_RETRY_S)
        self.assertTrue(self.journal.up)
        self.assertEqual(self.numbers(), [[1], [], []])
        durable = self.journal.add_durable(reading(2))
        self.clock.advance(BATCH_S)
        self.successResultOf(durable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_urgent(self) -> None:
        self.store.held = []
        self.journal.add(event(1))
        self.journal.add_durable(reading(2), urgent=True)
        self.assertEqual(self.numbers(), [[1, 2]], "nobody is waited for")
        durable = self.journal.add_durable(reading(3), urgent=True)
        self.store.held.pop().callback(None)
        self.assertEqual(self.numbers(), [[1, 2], [3]])
        self.store.held.pop().callback(None)
        self.successResultOf(durable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_stays(self) -> None:
        self.store.error = StoreUnavailable("away")
        durable = self.journal.add_durable(event(1), urgent=True, stays=True)
        self.failureResultOf(durable, StoreUnavailable)
        self.failureResultOf(self.journal.add_durable(event(2), stays=True), StoreUnavailable)
        self.store.error = None
        self.clock.advance(FIRST_RETRY_S)
        self.assertEqual(self.numbers(), [[1], [1, 2]])

    def test_attempts_end_at_every_half_minute(self) -> None:
        self.store.error = StoreUnavailable("disk full")
        self.journal.add(event(1))
        self.clock.pump([1.0] * 300)
        attempts = len(self.store.batches)
        self.clock.pump([1.0] * 300)
        self.assertEqual(len(self.store.batches) - attempts, 300 / LONGEST_RETRY_S)

    def test_what_waits_is_bounded(self) -> None:
        self.store.held = []
        for number in range(MOST_IN_BATCH):
            self.journal.add(event(number))
        self.patch(journal, "MOST_WAITING", 20)
        held = self.store.held.pop()
        for number in range(20):
            self.journal.add(event(number))
        self.failureResultOf(self.journal.add_durable(reading(1)), StoreUnavailable)
        self.journal.add(event(99))
        self.assertEqual((len(self.journal), self.journal.lost), (20, 1))
        held.callback(None)
        self.clock.advance(BATCH_S)
        self.assertEqual(self.numbers()[1], list(range(20)))

    def test_what_replaces_another_always_has_room(self) -> None:
        self.patch(journal, "MOST_WAITING", 0)
        self.store.error = StoreUnavailable("disk full")
        for upload in range(50):
            self.journal.add(last("A", upload))
            self.journal.add(alarm(7, upload))
            self.journal.add(ProfileVersion(number=upload, name="x", fingerprint="", points=()))
        self.clock.advance(BATCH_S)
        self.assertEqual(len(self.journal), 52)
        self.assertEqual(self.journal.lost, 0)
        self.store.error = None
        self.clock.advance(FIRST_RETRY_S)
        rows = self.store.batches[-1]
        self.assertEqual(len(rows), 52)
        self.assertIn(last("A", 49), rows)
        self.assertIn(alarm(7, 49), rows)

    def test_a_newer_one_that_came_while_the_store_was_asked(self) -> None:
        self.store.held = []
        self.journal.add(last("A", 1))
        self.clock.advance(BATCH_S)
        self.journal.add(last("A", 2))
        self.store.held.pop().errback(StoreUnavailable("away"))
        self.store.held = None
        self.clock.advance(FIRST_RETRY_S)
        self.assertEqual(self.store.batches[1:], [[last("A", 2)]])

    def test_what_is_lost_at_the_end_is_said(self) -> None:
        self.store.error = StoreUnavailable("disk full")
        self.journal.add(event(1))
        self.journal.add(alarm(1, 1))
        with capturedLogs() as logged:
            self.successResultOf(self.journal.stop())
        self.assertIn("which is lost: 1 Alarm, 1 Event", formatEvent(logged[-1]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_only_the_newest_upload_of_a_device_waits_for_the_store(self) -> None:
        self.store.error = StoreUnavailable("disk full")
        for row in (last("A", 1), event(2), last("B", 3), last("A", 4)):
            self.journal.add(row)
        self.clock.advance(BATCH_S)
        self.store.error = None
        self.clock.advance(FIRST_RETRY_S)
        self.assertEqual(self.numbers()[1], [2, 4, 3], "in the place of the older one")

    def test_a_row_that_no_store_can_take_harms_no_other(self) -> None:
        self.store.poison = event(2)
        durable = [self.journal.add_durable(reading(1))]
        self.journal.add(event(2))
        durable.append(self.journal.add_durable(reading(3)))
        self.clock.advance(BATCH_S)
        self.assertEqual(self.numbers(), [[1, 2, 3], [1], [2], [3]])
        for one in durable:
            self.successResultOf(one)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertTrue(self.journal.up)
        self.store.poison = reading(4)
        refused = self.journal.add_durable(reading(4))
        self.clock.advance(BATCH_S)
        self.failureResultOf(refused, StoreUnavailable)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_the_store_goes_while_rows_are_written_one_by_one(self) -> None:
        class Leaves(Recorder):
            def write(self, rows: Sequence[Row]) -> Deferred[None]:
                written = super().write(rows)
                if rows == [self.poison]:
                    self.error = StoreUnavailable("away")
                return written

        self.store = Leaves()
        self.journal = Journal(self.store, self.clock, Longest())
        self.store.poison = event(2)
        for number in (1, 2, 3, 4):
            self.journal.add(event(number))
        self.clock.advance(BATCH_S)
        self.assertEqual(self.numbers(), [[1, 2, 3, 4], [1], [2], [3]])
        self.assertEqual(len(self.journal), 2)
        self.store.error = None
        self.clock.advance(FIRST_RETRY_S)
        self.assertEqual(self.numbers()[4:], [[3, 4]])
        self.flushLoggedErrors(TypeError)

    def test_drained_though_the_store_is_away(self) -> None:
        """An orderly end does not wait for a database."""
        self.store.error = StoreUnavailable("away")
        self.journal.add(event(1))
        self.successResultOf(self.journal.drain())
        self.journal.add(event(2))
        self.successResultOf(self.journal.drain())
        self.assertEqual(len(self.journal), 2)

"""Retention: what is too old goes in small bites, and nothing else."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.history.retention import BITE, PAUSE_S, PERIOD_S, Retention
from cmmd.store.interface import StoreUnavailable
from cmmd.store.memory import MemoryStore

DAY_S = 86_400


class Hungry(MemoryStore):
    """Has so many old records.

    :ivar asked: what was asked: before, limit.
    """

    def __init__(self, old: int) -> None:
        super().__init__()
        self.old = old
        self.asked: list[tuple[int, int]] = []
        self.answer: Callable[[], Deferred[int]] | None = None

    def forget(self, before: int, limit: int) -> Deferred[int]:
        self.asked.append((before, limit))
        if self.answer is not None:
            return self.answer()
        bite = min(limit, self.old)
        self.old -= bite
        return succeed(bite)


class RetentionTests(SynchronousTestCase):
    def started(
        self, store: Hungry, newest_at: int | None = None, now: Callable[[], float] | None = None
    ) -> tuple[Retention, Clock]:
        clock = Clock()
        clock.advance(1000 * DAY_S)
        retention = Retention(
            store, days=400, newest_at=newest_at, now=now or clock.seconds, monotonic=clock.seconds, clock=clock
        )
        retention.startService()
        return retention, clock

    def test_bite_by_bite(self) -> None:
        store = Hungry(2 * BITE + 7)
        retention, clock = self.started(store)
        self.assertEqual(store.asked, [(600 * DAY_S * 1000, BITE)])
        clock.pump([PAUSE_S] * 10)
        self.assertEqual((len(store.asked), store.old), (4, 0))
        clock.advance(PERIOD_S)
        self.assertEqual(len(store.asked), 5)
        retention.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_to_stop_between_two_bites(self) -> None:
        store = Hungry(100 * BITE)
        retention, clock = self.started(store)
        clock.advance(PAUSE_S)
        retention.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(len(store.asked), 2)

    def test_to_stop_during_a_bite(self) -> None:
        store = Hungry(BITE)
        waiting: Deferred[int] = Deferred()
        store.answer = lambda: waiting
        retention, clock = self.started(store)
        retention.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_the_store_is_away(self) -> None:
        store = Hungry(10)
        store.answer = lambda: fail(StoreUnavailable("disk full"))
        retention, clock = self.started(store)
        store.answer = None
        clock.advance(PERIOD_S)
        self.assertEqual(store.old, 0)
        clock.advance(PAUSE_S)
        retention.stopService()

    def test_our_bug_is_told_and_it_goes_on(self) -> None:
        store = Hungry(10)
        store.answer = lambda: fail(TypeError("bug"))
        retention, clock = self.started(store)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        store.answer = None
        clock.advance(PERIOD_S)
        self.assertEqual(store.old, 0)
        clock.advance(PAUSE_S)
        retention.stopService()

    def test_a_clock_that_is_set(self) -> None:
        """Whatever it was before: nothing is deleted until it has been right for a day."""
        wrong = [0.0]
        store = Hungry(10)
        clock = Clock()
        clock.advance(1000 * DAY_S)
        retention = Retention(
            store,
            days=400,
            newest_at=None,
            now=lambda: clock.seconds() + wrong[0],
            monotonic=clock.seconds,
            clock=clock,
        )
        wrong[0] = 401 * DAY_S
        retention.startService()
        self.assertEqual(store.asked, [])
        clock.advance(PERIOD_S)
        wrong[0] = 0
        clock.pump([PERIOD_S] * 144)
        self.assertEqual(store.asked, [])
        clock.pump([PERIOD_S] * 2)
        self.assertEqual(store.asked[0], (int((clock.seconds() - 400 * DAY_S) * 1000 - PERIOD_S * 1000), BITE))
        clock.advance(PAUSE_S)
        retention.stopService()

    def test_long_before_the_start_or_in_the_future(self) -> None:
        for newest_at, waits in (
            (None, False),
            (1000 * DAY_S, False),
            (999 * DAY_S + 1, False),
            (999 * DAY_S - 1, True),
            (975 * DAY_S, True),
            (1001 * DAY_S, True),
        ):
            store = Hungry(0)
            retention, clock = self.started(store, None if newest_at is None else newest_at * 1000)
            clock.advance(0)
            self.assertEqual(store.asked == [], waits, newest_at)
            clock.advance(DAY_S + PERIOD_S)
            self.assertGreater(len(store.asked), 0)
            retention.stopService()

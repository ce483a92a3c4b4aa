"""Retention: what is too old goes in small bites, and nothing else."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.retention import BITE, PAUSE_S, PERIOD_S, Retention
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
    def started(self, store: Hungry) -> tuple[Retention, Clock]:
        clock = Clock()
        clock.advance(1000 * DAY_S)
        retention = Retention(store, days=400, now=clock.seconds, clock=clock)
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

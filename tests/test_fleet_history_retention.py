"""Retention: what is too old goes in small bites, and nothing else."""

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.history.retention import BITE, FILE, PAUSE_S, PERIOD_S, Retention
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
    def setUp(self) -> None:
        self.state = self.made_state()

    def made_state(self) -> Path:
        state = Path(self.mktemp())
        state.mkdir()
        return state

    def started(
        self, store: Hungry, newest_at: int | None = None, now: Callable[[], float] | None = None
    ) -> tuple[Retention, Clock]:
        clock = Clock()
        clock.advance(1000 * DAY_S)
        retention = Retention(
            store,
            state=self.state,
            days=400,
            newest_at=newest_at,
            now=now or clock.seconds,
            monotonic=clock.seconds,
            clock=clock,
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
            state=self.state,
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
        clock.pump([PERIOD_S, 143 * PERIOD_S])
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
            self.state = self.made_state()
            store = Hungry(0)
            retention, clock = self.started(store, None if newest_at is None else newest_at * 1000)
            clock.advance(0)
            self.assertEqual(store.asked == [], waits, newest_at)
            clock.advance(DAY_S + PERIOD_S)
            self.assertGreater(len(store.asked), 0)
            retention.stopService()

    def start(self, store: Hungry, at: float, newest_at: float, *runs_s: float, stops: bool = True) -> list[int]:
        """Run for so long, from when the clock shows so; without a stop as after a power cut.

        :return: how often the store was asked at the start, and after each part.
        """
        clock = Clock()
        retention = Retention(
            store,
            state=self.state,
            days=400,
            newest_at=int(newest_at * 1000),
            now=lambda: at + clock.seconds(),
            monotonic=clock.seconds,
            clock=clock,
        )
        retention.startService()
        asked = [len(store.asked)]
        for run_s in runs_s:
            clock.advance(run_s)
            asked.append(len(store.asked))
        if stops:
            retention.stopService()
        return asked

    def test_restarts_under_a_wrong_clock(self) -> None:
        """A device uploads in the first run. A day is served in sum before anything is deleted; then it is trusted."""
        for stops in (True, False):
            self.state = self.made_state()
            store = Hungry(0)
            wrong = 1025 * DAY_S
            self.assertEqual(self.start(store, wrong, 1000 * DAY_S, 2 * PERIOD_S, stops=stops), [0, 0])
            newest_at = wrong + PERIOD_S
            second = wrong + 3 * PERIOD_S
            self.assertEqual(self.start(store, second, newest_at, 10 * PERIOD_S, stops=stops), [0, 0])
            third = second + 11 * PERIOD_S
            rest_s = DAY_S - 12 * PERIOD_S
            self.assertEqual(self.start(store, third, newest_at, rest_s - 1, PERIOD_S, stops=stops), [0, 0, 1])
            self.assertFalse((self.state / FILE).exists())
            self.assertEqual(self.start(store, third + rest_s + PERIOD_S, third + rest_s), [2], "trusted")

    def test_the_rest_is_not_begun_anew_though_no_device_uploads(self) -> None:
        store = Hungry(0)
        newest_at = 1000 * DAY_S
        at = 1025.0 * DAY_S
        for _ in range(4):
            self.assertEqual(self.start(store, at, newest_at, DAY_S / 4 - 1), [0, 0])
            at += DAY_S / 4
        self.assertEqual(self.start(store, at, newest_at, PERIOD_S), [0, 1])

    def test_the_clock_is_set_again_while_cmmd_does_not_run(self) -> None:
        for set_by in (25 * DAY_S, -25 * DAY_S):
            self.state = self.made_state()
            store = Hungry(0)
            at = 1025 * DAY_S
            self.start(store, at, 1000 * DAY_S, DAY_S - PERIOD_S)
            again = at + DAY_S + set_by
            self.assertEqual(self.start(store, again, again - 1, DAY_S - 1, 1), [0, 0, 1])

    def test_set_shortly_before_the_end(self) -> None:
        wrong = [0.0]
        store = Hungry(0)
        retention, _ = self.started(store, None, lambda: 1000 * DAY_S + wrong[0])
        wrong[0] = 25 * DAY_S
        retention.stopService()
        asked = len(store.asked)
        self.assertEqual(self.start(store, 1025 * DAY_S + 10, 1025 * DAY_S, PERIOD_S), [asked, asked])

    def test_a_file_that_cannot_be_read_is_doubt(self) -> None:
        for text in ("", "{}", '{"patience_s": "x", "at": 0}'):
            (self.state / FILE).write_text(text)
            store = Hungry(0)
            self.assertEqual(self.start(store, 1000 * DAY_S, 1000 * DAY_S, DAY_S - 1, 1), [0, 0, 1])

    def test_a_file_that_cannot_be_written(self) -> None:
        """The doubt stays in memory, and one line says that a restart forgets it."""
        self.state = self.state / "missing"
        store = Hungry(0)
        with capturedLogs() as captured:
            self.assertEqual(self.start(store, 1025 * DAY_S, 1000 * DAY_S, DAY_S - 1, 1), [0, 0, 1])
        self.assertEqual(len([one for one in captured if "a restart may" in (one["log_format"] or "")]), 1)

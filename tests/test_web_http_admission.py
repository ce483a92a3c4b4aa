"""The time that HTTP connections get in one turn of the reactor."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.web.http.admission import TURN_S, ReadingBudget


class Turns(Clock):
    """A clock that moves while something works, and does what was called for in a turn not before the next one."""

    def advance(self, amount: float) -> None:
        due, self.calls = self.calls, []
        for call in due:
            call.called = 1
            call.func(*call.args, **call.kw)
        self.rightNow += amount


class Slow:
    """A connection whose requests take time."""

    def __init__(self, clock: Clock, seconds: float, done: list["Slow"]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._done = done
        self.receives = True

    def read_held(self) -> None:
        self._clock.rightNow += self._seconds
        self._done.append(self)

    def wait(self) -> None:
        self.receives = False

    def read_on(self) -> None:
        self.receives = True


class BudgetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Turns()
        self.budget = ReadingBudget(self.clock)
        self.done: list[Slow] = []

    def slow(self, seconds: float) -> Slow:
        return Slow(self.clock, seconds, self.done)

    def turn(self) -> int:
        """One turn of the reactor; the connections that were served in it."""
        before = len(self.done)
        self.clock.advance(0)
        return len(self.done) - before

    def test_little_work_is_done_at_once(self) -> None:
        for _ in range(10):
            self.budget.read(self.slow(TURN_S / 20))
        self.assertEqual(len(self.done), 10)
        self.assertTrue(all(one.receives for one in self.done))

    def test_a_turn_ends_when_its_budget_is_spent(self) -> None:
        crowd = [self.slow(TURN_S * 0.4) for _ in range(300)]
        for one in crowd:
            self.budget.read(one)
        self.assertEqual(len(self.done), 3)
        self.assertEqual([one.receives for one in crowd], [True] * 3 + [False] * 297)
        self.assertEqual([self.turn() for _ in range(99)], [3] * 99)
        self.assertEqual(self.done, crowd)
        self.assertTrue(all(one.receives for one in crowd))

    def test_who_comes_later_waits_behind_those_who_wait(self) -> None:
        crowd = [self.slow(TURN_S * 2) for _ in range(3)]
        for one in crowd:
            self.budget.read(one)
        self.budget.read(crowd[1])  # waits already
        self.turn()
        self.budget.read(crowd[0])
        self.turn()
        self.turn()
        self.assertEqual(self.done, [*crowd, crowd[0]])

    def test_nothing_is_left_when_all_is_read(self) -> None:
        self.budget.read(self.slow(TURN_S))
        self.turn()
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_is_forgotten_reads_nothing(self) -> None:
        crowd = [self.slow(TURN_S * 2) for _ in range(3)]
        for one in crowd:
            self.budget.read(one)
        self.budget.forget(crowd[1])
        self.budget.forget(crowd[0])
        self.turn()
        self.assertEqual(self.done, [crowd[0], crowd[2]])
